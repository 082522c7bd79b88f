# ruff: noqa: E501  (Dockerfiles read better in single lines)
"""What a Dockerfile, its context and its archives may try, and must not reach."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tests.daemon import Daemon
from tests.images import busybox_archive

from wherry.builder.fetch import GitSource
from wherry.errors import InvalidParameter

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def engine() -> Iterator[Daemon]:
    with Daemon() as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        yield daemon


@pytest.fixture
def sentinel() -> Iterator[Path]:
    """A file of the host that no build may read, change or remove."""
    path = Path(f"/var/tmp/wherry-sentinel-{uuid.uuid4().hex}")
    path.write_text("of the host")
    yield path
    assert path.read_text() == "of the host"
    path.unlink()


def build(engine: Daemon, files: dict[str, str | bytes], **query: str) -> tuple[str, str]:
    """(what the build said, its error)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return post(engine, out.getvalue(), **query)


def post(engine: Daemon, body: bytes, **query: str) -> tuple[str, str]:
    status, answer = engine.request(
        "POST", f"/build?{urlencode(query)}", body, {"Content-Type": "application/x-tar"}
    )
    if status != 200:
        return "", json.loads(answer)["message"]
    lines = [json.loads(line) for line in answer.splitlines() if line.strip()]
    return "".join(line.get("stream", "") for line in lines), lines[-1].get("error", "")


@pytest.mark.parametrize(
    "link", ["/", "../../../../..", "/var/tmp", "/proc/self/root", "/proc/1/root"]
)
@pytest.mark.parametrize("kind", ["cache", "bind"])
def test_the_source_of_a_mount_stays_where_it_is(
    engine: Daemon, sentinel: Path, link: str, kind: str
) -> None:
    """CVE-2024-23651: a link in a cache, or in a stage, as the source of the next mount."""
    name = uuid.uuid4().hex
    if kind == "cache":
        first = f"FROM busybox\nRUN --mount=type=cache,id={name},target=/c ln -s {link} /c/out\n"
        mount = f"type=cache,id={name},source=out,target=/x"
    else:
        first = f"FROM busybox AS first\nRUN mkdir /c && ln -s {link} /c/out\nFROM busybox\n"
        mount = "type=bind,from=first,source=/c/out,target=/x,rw"
    look = f"find /x -maxdepth 4 -name {sentinel.name} | grep . ; rm -f /x{sentinel} /x/{sentinel.name}"
    said, _ = build(engine, {"Dockerfile": f"{first}RUN --mount={mount} {look}; true\n"})
    assert f"/{sentinel.name}\n" not in said


def test_mount_points_are_taken_away_in_the_image_only(engine: Daemon, sentinel: Path) -> None:
    """CVE-2024-23652: the place of a mount point becomes a link before it is cleaned up."""
    target = f"/work{sentinel}"
    said, error = build(
        engine,
        {
            "f": "",
            "Dockerfile": "FROM busybox\n"
            f"RUN --mount=type=bind,source=f,target={target} --mount=type=tmpfs,target=/work/empty"
            " cat /proc/mounts | grep -c /work\n"
            "RUN test ! -e /work/var && ln -s / /work\n"
            f"RUN --mount=type=bind,source=f,target={target} true\n",
        },
    )
    assert "Successfully built" in said, error


@pytest.mark.parametrize("query", [{}, {"allow": "network.host"}, {"allow": "SECURITY.insecure"}])
def test_privileges_need_an_entitlement(engine: Daemon, query: dict[str, str]) -> None:
    """CVE-2024-23653."""
    dockerfile = "FROM busybox\nRUN --security=insecure mount -t tmpfs x /mnt\n"
    _, error = build(engine, {"Dockerfile": dockerfile}, **query)
    assert "security.insecure is not allowed" in error


@pytest.mark.parametrize("query", [{}, {"allow": "security.insecure"}, {"networkmode": "none"}])
def test_the_hosts_network_needs_an_entitlement(engine: Daemon, query: dict[str, str]) -> None:
    """CVE-2024-23653, and its kind: no Dockerfile takes what its client did not grant."""
    files = {"Dockerfile": "FROM busybox\nRUN --network=host cat /proc/self/uid_map\n"}
    said, error = build(engine, files, **query)
    assert "network.host is not allowed" in error
    assert "4294967295" not in said


@pytest.mark.parametrize("query", [{"allow": "network.host"}, {"networkmode": "host"}])
def test_the_client_may_grant_the_hosts_network(engine: Daemon, query: dict[str, str]) -> None:
    files = {"Dockerfile": "FROM busybox\nRUN --network=host cat /proc/self/uid_map\n"}
    said, error = build(engine, files, nocache="1", **query)
    assert "Successfully built" in said, error


def test_the_command_line_grants_it(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN --network=host true\n")
    command = [sys.executable, "-m", "wherry", "-H", f"unix://{engine.socket}", "build"]
    refused = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert refused.returncode == 1
    assert "network.host is not allowed" in refused.stderr
    granted = [*command, "--allow", "network.host", str(tmp_path)]
    subprocess.run(granted, check=True, capture_output=True)


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder of the host that stays as it is."""
    folder = Path(f"/var/tmp/wherry-outside-{uuid.uuid4().hex}")
    folder.mkdir(mode=0o700)
    (folder / "kept").write_text("of the host")
    yield folder
    assert [path.name for path in folder.iterdir()] == ["kept"]
    assert (folder / "kept").read_text() == "of the host"
    (folder / "kept").unlink()
    folder.rmdir()


def test_a_cache_is_not_filled_while_a_command_is_in_it(engine: Daemon, outside: Path) -> None:
    """CVE-2024-23651: a directory that is being filled becomes a link."""
    mount = f"--mount=type=cache,id={uuid.uuid4().hex},target=/c,from=seed,source=/s"
    swap = f"for i in $(seq 5000); do [ -d /c/a ] && break; done; mv /c/a /c/moved; ln -s {outside} /c/a"
    said, error = build(
        engine,
        {
            "Dockerfile": "FROM busybox AS seed\n"
            "RUN mkdir -p /s/a && cd /s/a && for i in $(seq 4000); do echo x > f$i; done\n"
            f"FROM busybox AS attack\nRUN {mount} {swap}; echo > /attacked\n"
            f"FROM busybox\nRUN {mount} ls /c/moved/ | wc -l\n"
            "COPY --from=attack /attacked /\n"
        },
    )
    assert "Successfully built" in said, error


def test_pruning_a_cache_leaves_what_links_lead_to(engine: Daemon, outside: Path) -> None:
    """CVE-2024-23652, and its kind: directories become links while a cache is being removed."""
    mount = f"--mount=type=cache,id={uuid.uuid4().hex},target=/c"
    fill = "for i in $(seq 1500); do mkdir /c/d$i; done"
    swap = f"for d in /c/d*; do mv $d /c/q; ln -s {outside} $d; rm -rf /c/q; done"
    build(engine, {"Dockerfile": f"FROM busybox\nRUN {mount} {fill}\n"})
    with ThreadPoolExecutor() as pool:
        attack = pool.submit(
            build, engine, {"Dockerfile": f"FROM busybox\nRUN {mount} {swap}; true\n"}
        )
        while not attack.done():
            assert engine.request("POST", "/build/prune?all=1")[0] == 200
        said, error = attack.result()
    assert "Successfully built" in said, error
    assert engine.request("POST", "/build/prune?all=1")[0] == 200


def test_depth_stops_no_build(engine: Daemon) -> None:
    """Directories in directories, deeper than Python recurses: made, copied, mounted, removed."""
    deep = "i=0; while [ $i -lt 1500 ]; do mkdir d && cd d && i=$((i+1)); done; echo x > f"
    cache = f"--mount=type=cache,id={uuid.uuid4().hex},target=/c"
    said, error = build(
        engine,
        {
            "f": "",
            "Dockerfile": "FROM busybox AS deep\n"
            f"RUN mkdir /a && cd /a && {deep}\n"
            "FROM busybox\n"
            f"RUN --mount=type=bind,target=/m,rw cd /m && {deep}\n"
            f"RUN {cache} cd /c && {deep}\n"
            "RUN --mount=type=bind,from=deep,source=/a,target=/m,rw test -d /m/d/d/d\n"
            "COPY --from=deep /a /b\n"
            "RUN find /b | wc -l\n",
        },
    )
    assert "Successfully built" in said, error
    assert "1502" in said
    status, answer = engine.request("POST", "/build/prune?all=1")
    assert status == 200, answer


def test_depth_stops_no_build_with_times_of_its_own(engine: Daemon) -> None:
    """Deeper than a path may name, and every time of it is set back."""
    deep = "i=0; while [ $i -lt 2040 ]; do mkdir d; cd d; i=$((i+1)); done; echo x > f"
    said, error = build(
        engine,
        {"Dockerfile": f"FROM busybox\nRUN mkdir /a && cd /a && {deep}\nRUN stat -c %Y /a/d/d/d\n"},
        buildargs=json.dumps({"SOURCE_DATE_EPOCH": "1000000000"}),
    )
    assert "Successfully built" in said, error
    assert "\n1000000000\n" in said


def hostile_archive(sentinel: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:

        def add(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = kind, link, 0o644
            tar.addfile(member)

        add(f"../../../../../..{sentinel}")
        add(str(sentinel))
        add("out", tarfile.SYMTYPE, "/var/tmp")
        add(f"out/{sentinel.name}")
        add("up", tarfile.SYMTYPE, "../../../../../../../var/tmp")
        add(f"up/{sentinel.name}")
    return out.getvalue()


def test_archives_unpack_into_the_image_only(engine: Daemon, sentinel: Path) -> None:
    said, error = build(
        engine,
        {
            "a.tar": hostile_archive(sentinel),
            "Dockerfile": "FROM busybox\nADD a.tar /target/\nRUN find / -xdev -name 'wherry-sent*'\n",
        },
    )
    assert error or "Successfully built" in said


def test_a_hard_link_of_an_archive_is_not_the_hosts_file(engine: Daemon, sentinel: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = tarfile.LNKTYPE, str(sentinel)
        tar.addfile(member)
    dockerfile = "FROM busybox\nADD a.tar /\nRUN cat /link\n"
    said, error = build(engine, {"a.tar": out.getvalue(), "Dockerfile": dockerfile})
    assert "of the host" not in said
    assert error


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0" * 512,
        b"not a tar" * 100,
        b"\x1f\x8b\x08" + b"\0" * 100,
        b"\x28\xb5\x2f\xfd" + b"\xff" * 100,
        tarfile.TarInfo("x").tobuf() * 3 + b"x" * 100,
    ],
)
def test_damaged_contexts_are_refused(engine: Daemon, body: bytes) -> None:
    said, error = post(engine, body)
    assert error and "Traceback" not in error
    assert not said


def test_a_file_that_claims_to_be_huge_costs_nothing(engine: Daemon) -> None:
    member = tarfile.TarInfo("huge")
    member.size = 1 << 50
    _, error = post(engine, member.tobuf(format=tarfile.GNU_FORMAT) + b"x" * 5000)
    assert "truncated" in error or "larger than" in error


@pytest.mark.parametrize(
    "remote",
    [
        "--upload-pack=touch /tmp/x.git",
        "-oProxyCommand=x.git",
        "git@host:x.git#--output=/etc/passwd",
        "https://h/x.git#..",
        "https://h/x.git#a b",
        "https://h/x.git#$(id)",
        "ext::sh -c id.git",
        "file:///etc.git",
    ],
)
def test_addresses_are_no_options_of_git(engine: Daemon, remote: str) -> None:
    with pytest.raises(InvalidParameter):
        GitSource.parse(remote)
    _, error = post(engine, b"", remote=remote)
    assert error


def test_a_killed_daemon_leaves_no_build(engine: Daemon) -> None:
    """SIGKILL amid a RUN: the next start sweeps, the next build works."""
    body = io.BytesIO()
    data = b"FROM busybox\nRUN echo begun; sleep 300\n"
    with tarfile.open(fileobj=body, mode="w") as tar:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(engine.socket)
        client.sendall(
            b"POST /build HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body.getvalue()) + body.getvalue()
        )
        seen = b""
        while b"begun" not in seen.split(b"Running in")[-1]:
            seen += client.recv(4096)
        engine.kill()
    engine.start()
    roots = engine.data_root / "roots" / "overlay"
    deadline = time.monotonic() + 60
    while any(roots.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(roots.iterdir()) == []
    assert [path.name for path in (engine.data_root / "builder").iterdir()] == ["caches"]
    said, _ = build(engine, {"Dockerfile": "FROM busybox\nRUN echo works\n"})
    assert "works\n" in said


HUNGRY = {
    "stars in a variable": "FROM busybox\nENV A=" + "a" * 2000 + "\nENV B=${A#" + "*a" * 40 + "*b}\n",
    "values of values": "FROM scratch\nENV A=aaaaaaaaaa\n" + "ENV A=$A$A$A$A$A$A$A$A$A$A\n" * 12,
    "instructions": "FROM scratch\n" + "ENV A=1\n" * 500,
    "values in labels": "FROM scratch\nARG A=" + "a" * 15000 + "\n"
    + "".join(f"LABEL l{number}=$A$A$A$A$A$A$A$A\n" for number in range(3000)),
    "braces": "FROM scratch\nENV A=" + "${A:-" * 5000 + "x" + "}" * 5000 + "\n",
    "stars in a source": "FROM scratch\nCOPY " + "*a" * 40 + "*b /\n",
    "links in a source": "FROM scratch\nCOPY " + "*/" * 40 + "* /\n",
}  # fmt: skip


@pytest.mark.parametrize("case", HUNGRY)
def test_a_dockerfile_does_not_keep_the_engine_busy(engine: Daemon, case: str) -> None:
    """Every one of these once held the whole engine, or all memory, for longer than a life."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in {
            "Dockerfile": HUNGRY[case],
            ".dockerignore": "**/" * 50 + "b\n" + "*a" * 40 + "*b\n",
            "a" * 90: "",
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content.encode()))
        for number in range(10):
            member = tarfile.TarInfo(f"l{number}")
            member.type, member.linkname = tarfile.SYMTYPE, "."
            tar.addfile(member)
    _, error = post(engine, out.getvalue())
    assert engine.request("GET", "/_ping")[0] == 200
    refused = case not in ("stars in a variable", "instructions", "links in a source")
    assert bool(error) == refused, error
