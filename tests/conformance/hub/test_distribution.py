"""The OCI distribution specification 1.1, requirement by requirement."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import aiohttp
import pytest

REPO = "/v2/conformance/one"
OTHER = "/v2/conformance/two"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"

Client = aiohttp.ClientSession


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def descriptor(content: bytes, media_type: str, algorithm: str = "sha256") -> dict[str, Any]:
    return {
        "mediaType": media_type,
        "digest": digest_of(content, algorithm),
        "size": len(content),
    }


async def push_blob(client: Client, content: bytes, repo: str = REPO, algo: str = "sha256") -> str:
    digest = digest_of(content, algo)
    async with client.post(f"{repo}/blobs/uploads/", params={"digest": digest}, data=content) as r:
        assert r.status == 201, await r.text()
    return digest


async def push_image(client: Client, tag: str, **extra: Any) -> tuple[bytes, str]:
    config, layer = b'{"os":"linux","architecture":"amd64"}', os.urandom(100)
    await push_blob(client, config)
    await push_blob(client, layer)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(config, CONFIG),
            "layers": [descriptor(layer, LAYER)],
            **extra,
        }
    ).encode()
    async with client.put(
        f"{REPO}/manifests/{tag}", data=manifest, headers={"Content-Type": MANIFEST}
    ) as answer:
        assert answer.status == 201, await answer.text()
        assert answer.headers["Docker-Content-Digest"] == digest_of(manifest)
    return manifest, digest_of(manifest)


async def error_code(answer: aiohttp.ClientResponse) -> str:
    body = await answer.json()
    assert set(body) == {"errors"}
    assert isinstance(body["errors"][0]["message"], str)
    return str(body["errors"][0]["code"])


async def test_base_endpoint_names_the_api_version(client: Client) -> None:
    for path in ("/v2/", "/v2"):
        async with client.get(path) as answer:
            assert answer.status == 200
            assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
class TestBlobs:
    async def check(self, client: Client, content: bytes, location: str, algorithm: str) -> None:
        digest = digest_of(content, algorithm)
        assert location == f"{REPO}/blobs/{digest}"
        async with client.head(location) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Length"] == str(len(content))
            assert answer.headers["Docker-Content-Digest"] == digest
        async with client.get(location) as answer:
            assert answer.status == 200
            assert await answer.read() == content
            assert answer.headers["Docker-Content-Digest"] == digest

    async def test_monolithic_post(self, client: Client, algorithm: str) -> None:
        content = os.urandom(700)
        digest = digest_of(content, algorithm)
        async with client.post(
            f"{REPO}/blobs/uploads/", params={"digest": digest}, data=content
        ) as answer:
            assert answer.status == 201
            location = answer.headers["Location"]
        await self.check(client, content, location, algorithm)

    @pytest.mark.parametrize("content", [b"", b"{}", os.urandom(3_000_000)])
    async def test_post_then_put(self, client: Client, algorithm: str, content: bytes) -> None:
        async with client.post(f"{REPO}/blobs/uploads/") as answer:
            assert answer.status == 202
            location = answer.headers["Location"]
        async with client.put(
            location, params={"digest": digest_of(content, algorithm)}, data=content
        ) as answer:
            assert answer.status == 201
            location = answer.headers["Location"]
        await self.check(client, content, location, algorithm)

    @pytest.mark.parametrize("last_in_put", [True, False])
    @pytest.mark.parametrize("disorder", [True, False])
    async def test_chunks(
        self, client: Client, algorithm: str, last_in_put: bool, disorder: bool
    ) -> None:
        content = os.urandom(3000)
        parts = [(0, 1024), (1024, 2048), (2048, 3000)]
        async with client.post(f"{REPO}/blobs/uploads/") as answer:
            location = answer.headers["Location"]
        for start, end in parts:
            if disorder:
                async with client.patch(
                    location, data=b"x", headers={"Content-Range": f"{end + 7}-{end + 7}"}
                ) as answer:
                    assert answer.status == 416
                    location = answer.headers["Location"]
                async with client.get(location) as answer:
                    assert answer.status == 204
                    assert answer.headers["Range"] == f"0-{max(start - 1, 0)}"
                    location = answer.headers["Location"]
            headers = {"Content-Range": f"{start}-{end - 1}"}
            if last_in_put and end == len(content):
                break
            async with client.patch(location, data=content[start:end], headers=headers) as answer:
                assert answer.status == 202
                assert answer.headers["Range"] == f"0-{end - 1}"
                location = answer.headers["Location"]
        body = content[2048:] if last_in_put else b""
        headers = {"Content-Range": "2048-2999"} if last_in_put else {}
        digest = digest_of(content, algorithm)
        async with client.put(
            location, params={"digest": digest}, data=body, headers=headers
        ) as answer:
            assert answer.status == 201
            location = answer.headers["Location"]
        await self.check(client, content, location, algorithm)

    async def test_stream_of_unknown_length(self, client: Client, algorithm: str) -> None:
        parts = [os.urandom(200_000) for _ in range(10)]

        async def stream() -> Any:
            for part in parts:
                yield part

        async with client.post(f"{REPO}/blobs/uploads/") as answer:
            location = answer.headers["Location"]
        async with client.patch(location, data=stream()) as answer:
            assert answer.status == 202
            location = answer.headers["Location"]
        content = b"".join(parts)
        async with client.put(location, params={"digest": digest_of(content, algorithm)}) as answer:
            assert answer.status == 201
            location = answer.headers["Location"]
        await self.check(client, content, location, algorithm)

    async def test_mount_from_a_named_and_from_any_repository(
        self, client: Client, algorithm: str
    ) -> None:
        for source in ({"from": "conformance/two"}, {}):
            content = os.urandom(64)
            digest = await push_blob(client, content, OTHER, algorithm)
            async with client.post(
                f"{REPO}/blobs/uploads/", params={"mount": digest, **source}
            ) as answer:
                assert answer.status == 201
                location = answer.headers["Location"]
            await self.check(client, content, location, algorithm)

    async def test_mount_of_a_missing_blob_starts_an_upload(
        self, client: Client, algorithm: str
    ) -> None:
        content = os.urandom(64)
        digest = digest_of(content, algorithm)
        async with client.post(
            f"{REPO}/blobs/uploads/", params={"mount": digest, "from": "conformance/two"}
        ) as answer:
            assert answer.status == 202
            location = answer.headers["Location"]
        async with client.put(location, params={"digest": digest}, data=content) as answer:
            assert answer.status == 201

    async def test_wrong_digest_is_refused_on_every_way(
        self, client: Client, algorithm: str
    ) -> None:
        wrong = digest_of(b"something else", algorithm)
        async with client.post(
            f"{REPO}/blobs/uploads/", params={"digest": wrong}, data=b"content"
        ) as answer:
            assert answer.status == 400
            assert await error_code(answer) == "DIGEST_INVALID"
        async with client.post(f"{REPO}/blobs/uploads/") as answer:
            location = answer.headers["Location"]
        async with client.patch(location, data=b"content") as answer:
            location = answer.headers["Location"]
        async with client.put(location, params={"digest": wrong}) as answer:
            assert answer.status == 400
            assert await error_code(answer) == "DIGEST_INVALID"
        async with client.head(f"{REPO}/blobs/{wrong}") as answer:
            assert answer.status == 404

    @pytest.mark.parametrize(
        ("header", "first", "last"),
        [
            ("bytes=500-1499", 500, 1499),
            ("bytes=500-", 500, 2047),
            ("bytes=-500", 1548, 2047),
            ("bytes=2000-5000", 2000, 2047),
        ],
    )
    async def test_ranges(
        self, client: Client, algorithm: str, header: str, first: int, last: int
    ) -> None:
        content = os.urandom(2048)
        digest = await push_blob(client, content, REPO, algorithm)
        async with client.get(f"{REPO}/blobs/{digest}", headers={"Range": header}) as answer:
            assert answer.status == 206
            assert answer.headers["Content-Range"] == f"bytes {first}-{last}/2048"
            assert answer.headers["Content-Length"] == str(last - first + 1)
            assert await answer.read() == content[first : last + 1]

    @pytest.mark.parametrize("header", ["bytes=500-0", "bytes=5000-10000", "bytes=-0"])
    async def test_ranges_outside(self, client: Client, algorithm: str, header: str) -> None:
        digest = await push_blob(client, os.urandom(2048), REPO, algorithm)
        async with client.get(f"{REPO}/blobs/{digest}", headers={"Range": header}) as answer:
            assert answer.status == 416
            assert answer.headers["Content-Range"] == "bytes */2048"

    async def test_delete(self, client: Client, algorithm: str) -> None:
        digest = await push_blob(client, b"gone soon", REPO, algorithm)
        async with client.delete(f"{REPO}/blobs/{digest}") as answer:
            assert answer.status == 202
        for method in (client.get, client.head, client.delete):
            async with method(f"{REPO}/blobs/{digest}") as answer:
                assert answer.status == 404


async def test_upload_can_be_cancelled(client: Client) -> None:
    async with client.post(f"{REPO}/blobs/uploads/") as answer:
        location = answer.headers["Location"]
    async with client.patch(location, data=b"some") as answer:
        assert answer.status == 202
    async with client.delete(location) as answer:
        assert answer.status == 204
    for call in (client.get(location), client.patch(location, data=b"x"), client.delete(location)):
        async with call as answer:
            assert answer.status == 404
            assert await error_code(answer) == "BLOB_UPLOAD_UNKNOWN"


async def test_content_length_must_match_content_range(client: Client) -> None:
    async with client.post(f"{REPO}/blobs/uploads/") as answer:
        location = answer.headers["Location"]
    async with client.patch(location, data=b"four", headers={"Content-Range": "0-9"}) as answer:
        assert answer.status == 400
        assert await error_code(answer) == "SIZE_INVALID"


async def test_manifest_by_tag_and_digest(client: Client) -> None:
    manifest, digest = await push_image(client, "latest")
    for reference in ("latest", digest):
        for method in (client.head, client.get):
            async with method(f"{REPO}/manifests/{reference}") as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"] == MANIFEST
                assert answer.headers["Content-Length"] == str(len(manifest))
                assert answer.headers["Docker-Content-Digest"] == digest
                assert await answer.read() == (manifest if method == client.get else b"")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_manifest_by_digest_with_tag_parameters(client: Client, algorithm: str) -> None:
    manifest = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
    digest = digest_of(manifest, algorithm)
    async with client.put(
        f"{REPO}/manifests/{digest}",
        params=[("tag", "a"), ("tag", "b")],
        data=manifest,
        headers={"Content-Type": INDEX},
    ) as answer:
        assert answer.status == 201
        assert answer.headers.getall("OCI-Tag") == ["a", "b"]
        assert answer.headers["Location"] == f"{REPO}/manifests/{digest}"
    async with client.get(f"{REPO}/manifests/b") as answer:
        assert answer.headers["Docker-Content-Digest"] == digest


async def test_manifest_with_the_wrong_digest(client: Client) -> None:
    manifest, digest = await push_image(client, "latest")
    for reference in (digest, "sha256:baddigeststring"):
        async with client.put(
            f"{REPO}/manifests/{reference}",
            data=manifest + b"  ",
            headers={"Content-Type": MANIFEST},
        ) as answer:
            assert answer.status == 400
            assert await error_code(answer) == "DIGEST_INVALID"


async def test_manifest_needs_its_blobs(client: Client) -> None:
    await push_blob(client, b"{}")
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(b"{}", EMPTY),
            "layers": [descriptor(b"never pushed", LAYER)],
        }
    )
    async with client.put(
        f"{REPO}/manifests/bad", data=manifest, headers={"Content-Type": MANIFEST}
    ) as answer:
        assert answer.status == 400
        assert await error_code(answer) == "MANIFEST_BLOB_UNKNOWN"
    async with client.head(f"{REPO}/manifests/bad") as answer:
        assert answer.status == 404


async def test_layers_with_urls_may_be_missing(client: Client) -> None:
    await push_blob(client, b"{}")
    media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    layer = {**descriptor(b"elsewhere", media_type), "urls": ["https://store.example.com/x"]}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(b"{}", EMPTY),
        "layers": [layer],
    }
    async with client.put(
        f"{REPO}/manifests/foreign",
        data=json.dumps(manifest),
        headers={"Content-Type": MANIFEST},
    ) as answer:
        assert answer.status == 201


async def test_nested_and_sparse_indexes(client: Client) -> None:
    image, digest = await push_image(client, "image")
    inner = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                {**descriptor(image, MANIFEST), "platform": {"os": "linux"}},
                descriptor(b"not here", MANIFEST),
            ],
        }
    ).encode()
    outer = json.dumps(
        {"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(inner, INDEX)]}
    ).encode()
    for tag, content in (("inner", inner), ("outer", outer)):
        async with client.put(
            f"{REPO}/manifests/{tag}", data=content, headers={"Content-Type": INDEX}
        ) as answer:
            assert answer.status == 201
    assert digest == digest_of(image)


async def test_large_manifest_up_to_four_mebibytes(client: Client) -> None:
    notes = {f"note-{i}": "A" * 10_000 for i in range(390)}
    manifest, _ = await push_image(client, "large", annotations=notes)
    assert 3_900_000 < len(manifest) < 4 * 1024 * 1024
    notes |= {f"more-{i}": "A" * 10_000 for i in range(40)}
    body = json.dumps(
        {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": notes}
    )
    async with client.put(
        f"{REPO}/manifests/huge", data=body, headers={"Content-Type": INDEX}
    ) as answer:
        assert answer.status == 413
        assert await error_code(answer) == "SIZE_INVALID"


async def test_delete_of_tag_and_manifest_is_immediate(client: Client) -> None:
    _, digest = await push_image(client, "one")
    async with client.delete(f"{REPO}/manifests/one") as answer:
        assert answer.status == 202
    async with client.head(f"{REPO}/manifests/one") as answer:
        assert answer.status == 404
    async with client.head(f"{REPO}/manifests/{digest}") as answer:
        assert answer.status == 200
    async with client.delete(f"{REPO}/manifests/{digest}") as answer:
        assert answer.status == 202
    for method in (client.head, client.delete):
        async with method(f"{REPO}/manifests/{digest}") as answer:
            assert answer.status == 404


async def test_tag_list_is_sorted_and_paged(client: Client) -> None:
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
    tags = ["b", "a1", "a", "Z", "c_1", "c-1", "0"]
    for tag in tags:
        async with client.put(
            f"{REPO}/manifests/{tag}", data=index, headers={"Content-Type": INDEX}
        ) as answer:
            assert answer.status == 201
    async with client.get(f"{REPO}/tags/list") as answer:
        assert await answer.json() == {"name": "conformance/one", "tags": sorted(tags)}
        assert "Link" not in answer.headers
    seen: list[str] = []
    path = f"{REPO}/tags/list?n=3"
    pages = 0
    while path:
        async with client.get(path) as answer:
            seen += (await answer.json())["tags"]
            link = answer.headers.get("Link", "")
            path = link.partition(">")[0].lstrip("<")
            assert not link or link.endswith('>; rel="next"')
            pages += 1
    assert seen == sorted(tags)
    assert pages == 3
    async with client.get(f"{REPO}/tags/list", params={"last": "a1"}) as answer:
        assert (await answer.json())["tags"] == ["b", "c-1", "c_1"]
    async with client.get(f"{REPO}/tags/list", params={"n": "0"}) as answer:
        assert (await answer.json())["tags"] == []
    async with client.get(f"{REPO}/tags/list", params={"last": "zzz", "n": "5"}) as answer:
        assert (await answer.json())["tags"] == []


async def test_referrers(client: Client) -> None:
    subject_bytes, subject = await push_image(client, "subject")
    link = descriptor(subject_bytes, MANIFEST)
    _, one = await push_image(
        client, "sbom", subject=link, artifactType="application/sbom", annotations={"a": "b"}
    )
    _, two = await push_image(client, "sig", subject=link)
    async with client.get(f"{REPO}/referrers/{subject}") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == INDEX
        body = await answer.json(content_type=INDEX)
    assert (body["schemaVersion"], body["mediaType"]) == (2, INDEX)
    by_digest = {entry["digest"]: entry for entry in body["manifests"]}
    assert set(by_digest) == {one, two}
    assert by_digest[one]["artifactType"] == "application/sbom"
    assert by_digest[one]["annotations"] == {"a": "b"}
    assert by_digest[two]["artifactType"] == CONFIG
    async with client.get(
        f"{REPO}/referrers/{subject}", params={"artifactType": "application/sbom"}
    ) as answer:
        assert answer.headers["OCI-Filters-Applied"] == "artifactType"
        body = await answer.json(content_type=INDEX)
        assert [entry["digest"] for entry in body["manifests"]] == [one]


async def test_referrers_outlive_their_subject_and_go_when_deleted(client: Client) -> None:
    subject_bytes, subject = await push_image(client, "subject")
    _, referrer = await push_image(client, "sbom", subject=descriptor(subject_bytes, MANIFEST))

    async def referrers() -> list[str]:
        async with client.get(f"{REPO}/referrers/{subject}") as answer:
            assert answer.status == 200
            body = await answer.json(content_type=INDEX)
        return [entry["digest"] for entry in body["manifests"]]

    async with client.delete(f"{REPO}/manifests/{subject}") as answer:
        assert answer.status == 202
    assert await referrers() == [referrer]
    async with client.delete(f"{REPO}/manifests/{referrer}") as answer:
        assert answer.status == 202
    assert await referrers() == []


async def test_an_index_can_refer_to_a_subject(client: Client) -> None:
    subject_bytes, subject = await push_image(client, "subject")
    index = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [],
            "artifactType": "application/list",
            "subject": descriptor(subject_bytes, MANIFEST),
        }
    ).encode()
    async with client.put(
        f"{REPO}/manifests/{digest_of(index)}", data=index, headers={"Content-Type": INDEX}
    ) as answer:
        assert answer.status == 201
        assert answer.headers["OCI-Subject"] == subject
    async with client.get(f"{REPO}/referrers/{subject}") as answer:
        (entry,) = (await answer.json(content_type=INDEX))["manifests"]
    assert (entry["mediaType"], entry["artifactType"]) == (INDEX, "application/list")


async def test_a_chunk_sent_twice_is_out_of_order(client: Client) -> None:
    async with client.post(f"{REPO}/blobs/uploads/") as answer:
        location = answer.headers["Location"]
    for status in (202, 416):
        headers = {"Content-Range": "0-3", "Content-Type": "application/octet-stream"}
        async with client.patch(location, data=b"four", headers=headers) as answer:
            assert answer.status == status
            location = answer.headers["Location"]
            assert answer.headers["Range"] == "0-3"


async def test_a_put_without_digest_is_refused_and_the_upload_stays(client: Client) -> None:
    async with client.post(f"{REPO}/blobs/uploads/") as answer:
        location = answer.headers["Location"]
    async with client.put(location, data=b"content") as answer:
        assert answer.status == 400
        assert await error_code(answer) == "DIGEST_INVALID"
    digest = digest_of(b"content")
    async with client.put(location, params={"digest": digest}, data=b"content") as answer:
        assert answer.status == 201


async def test_put_with_subject_names_it_even_when_it_is_missing(client: Client) -> None:
    missing = descriptor(b"missing", MANIFEST)
    config = b"{}"
    await push_blob(client, config)
    body = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(config, EMPTY),
        "layers": [],
        "subject": missing,
    }
    async with client.put(
        f"{REPO}/manifests/x", data=json.dumps(body), headers={"Content-Type": MANIFEST}
    ) as answer:
        assert answer.status == 201
        assert answer.headers["OCI-Subject"] == missing["digest"]


async def test_referrers_of_nothing_are_an_empty_index(client: Client) -> None:
    async with client.get(f"/v2/not/yet/referrers/{digest_of(b'x')}") as answer:
        assert answer.status == 200
        assert (await answer.json(content_type=INDEX))["manifests"] == []


async def test_missing_things_are_404_with_their_codes(client: Client) -> None:
    await push_image(client, "here")
    for path, code in (
        (f"{REPO}/manifests/nope", "MANIFEST_UNKNOWN"),
        (f"{REPO}/manifests/{digest_of(b'n')}", "MANIFEST_UNKNOWN"),
        (f"{REPO}/blobs/{digest_of(b'n')}", "BLOB_UNKNOWN"),
        ("/v2/no/such/tags/list", "NAME_UNKNOWN"),
    ):
        async with client.get(path) as answer:
            assert answer.status == 404, path
            assert await error_code(answer) == code


async def test_malformed_names_are_refused(client: Client) -> None:
    for path, status in (
        ("/v2/UPPER/case/tags/list", 400),
        ("/v2/a//b/tags/list", 400),
        (f"{REPO}/manifests/.dot", 400),
        (f"{REPO}/blobs/sha256:xyz", 400),
        (f"{REPO}/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", 400),
        (f"{REPO}/referrers/sha256:short", 400),
    ):
        async with client.get(path) as answer:
            assert answer.status == status, path
            await error_code(answer)


async def test_catalog_pages_and_keeps_names_that_prefix_others(client: Client) -> None:
    names = ["a/b", "a/b-c", "a/b/c", "a/bc", "library/x"]
    for name in names:
        await push_blob(client, b"{}", f"/v2/{name}")
    async with client.get("/v2/_catalog") as answer:
        assert (await answer.json())["repositories"] == ["a/b", "a/b-c", "a/b/c", "a/bc", "x"]
    async with client.get("/v2/_catalog", params={"n": "2"}) as answer:
        assert (await answer.json())["repositories"] == ["a/b", "a/b-c"]
        assert answer.headers["Link"] == '</v2/_catalog?n=2&last=a%2Fb-c>; rel="next"'


async def test_names_without_a_slash_are_official(client: Client) -> None:
    digest = await push_blob(client, b"official", "/v2/mysql")
    async with client.head(f"/v2/library/mysql/blobs/{digest}") as answer:
        assert answer.status == 200


async def test_manifest_confusion_is_refused(client: Client) -> None:
    await push_blob(client, b"{}")
    both = {
        "schemaVersion": 2,
        "config": descriptor(b"{}", EMPTY),
        "layers": [],
        "manifests": [],
    }
    for body, media_type in (
        (both, MANIFEST),
        ({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}, MANIFEST),
        ({"schemaVersion": 2, "layers": []}, MANIFEST),
        ([], MANIFEST),
    ):
        async with client.put(
            f"{REPO}/manifests/x", data=json.dumps(body), headers={"Content-Type": media_type}
        ) as answer:
            assert answer.status == 400
            assert await error_code(answer) == "MANIFEST_INVALID"
