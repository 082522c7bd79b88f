"""What clients of older API versions are told, and what their requests mean."""

from __future__ import annotations

from typing import Any

import pytest

from wherry.api import adapt
from wherry.api.versions import Version

ROW = {"RepoTags": [], "RepoDigests": [], "Size": 7, "Containers": 2}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((1, 51), {"Containers": 2}),
        ((1, 50), {"Containers": -1}),
        ((1, 43), {"RepoTags": [], "VirtualSize": 7}),
        ((1, 42), {"RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"]}),
    ],
)
def test_a_row_of_images(version: Version, expected: dict[str, Any]) -> None:
    row = adapt.image_row(dict(ROW), version)
    assert expected.items() <= row.items()


def test_an_image_with_a_digest_alone_is_not_called_none() -> None:
    row = adapt.image_row({**ROW, "RepoDigests": ["a@sha256:1"]}, (1, 24))
    assert (row["RepoTags"], row["RepoDigests"]) == ([], ["a@sha256:1"])


@pytest.mark.parametrize(
    ("version", "has", "lacks"),
    [
        ((1, 51), {"Config"}, {"Container", "VirtualSize", "Created"}),
        ((1, 44), {"Container", "ContainerConfig"}, {"VirtualSize", "Created"}),
        ((1, 24), {"Container", "ContainerConfig", "VirtualSize", "Created"}, set()),
    ],
)
def test_an_image(version: Version, has: set[str], lacks: set[str]) -> None:
    view = adapt.image({"Config": {"User": "u"}, "Size": 1}, version)
    assert has <= view.keys()
    assert not lacks & view.keys()


def test_an_image_s_config_had_the_fields_of_a_container_s() -> None:
    old = adapt.image({"Config": {"User": "u"}}, (1, 49))["Config"]
    assert (old["User"], old["Hostname"], old["Tty"]) == ("u", "", False)
    assert adapt.image({"Config": {"User": "u"}}, (1, 50))["Config"] == {"User": "u"}


def test_aliases_had_the_short_id_and_the_hostname() -> None:
    def aliases(version: Version) -> Any:
        view = {
            "Id": "0123456789abcdef",
            "Config": {"Hostname": "box"},
            "HostConfig": {},
            "NetworkSettings": {"Networks": {"net": {"Aliases": ["a"]}, "bridge": {}}},
        }
        networks = adapt.container(view, version)["NetworkSettings"]["Networks"]
        assert "Aliases" not in networks["bridge"]
        return networks["net"]["Aliases"]

    assert aliases((1, 44)) == ["a", "0123456789ab", "box"]
    assert aliases((1, 45)) == ["a"]


@pytest.mark.parametrize(
    ("version", "given", "expected"),
    [
        ((1, 39), {}, {"HostConfig": {"IpcMode": "shareable", "CgroupnsMode": "host"}}),
        ((1, 40), {}, {"HostConfig": {"CgroupnsMode": "host"}}),
        ((1, 41), {}, {}),
        ((1, 41), {"HostConfig": {"KernelMemory": 1}}, {"HostConfig": {}}),
        ((1, 43), {"Healthcheck": {"StartInterval": 5}}, {"Healthcheck": {}}),
        ((1, 44), {"Healthcheck": {"StartInterval": 5}}, {"Healthcheck": {"StartInterval": 5}}),
        ((1, 24), {"HostConfig": []}, {"HostConfig": []}),
    ],
)
def test_a_create_request(
    version: Version, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    made = adapt.create_request(given, version)
    assert {key: value for key, value in made.items() if value} == {
        key: value for key, value in expected.items() if value
    }


@pytest.mark.parametrize(("version", "shown"), [((1, 48), True), ((1, 49), False)])
def test_info_told_what_was_expected(version: Version, shown: bool) -> None:
    commits = {name: {"ID": "x"} for name in ("ContainerdCommit", "RuncCommit", "InitCommit")}
    view = adapt.info({**commits, "RegistryConfig": {}, "SecurityOptions": []}, version)
    assert ("Expected" in view["RuncCommit"]) is shown
    assert ("AllowNondistributableArtifactsCIDRs" in view["RegistryConfig"]) is shown


def test_an_image_told_what_container_it_was_made_of() -> None:
    made = {"Config": {}, "Container": "c1", "ContainerConfig": {"Image": "base"}}
    old = adapt.image(dict(made), (1, 44))
    assert (old["Container"], old["ContainerConfig"]["Image"]) == ("c1", "base")
    assert old["ContainerConfig"]["Cmd"] is None
    assert adapt.image(dict(made), (1, 45)).keys() == {"Config"}
