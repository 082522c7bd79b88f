"""Requests that reach for the host through the runtime: cgroups, /proc, our own folders."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.daemon import Daemon
from tests.images import busybox_archive

from wherry.linux.cgroups import Cgroup, discover

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

PARENT = f"wherry-escape-{os.getpid()}"


def attempt(engine: Daemon, command: list[str], **host: Any) -> tuple[int, str]:
    """Create, start, wait: last status of the API, and output or message."""
    body = {"Image": "busybox", "Cmd": command, "HostConfig": host}
    status, answer = engine.request("POST", "/containers/create?name=attempt", body)
    if status != 201:
        return status, answer.decode()
    try:
        status, answer = engine.request("POST", "/containers/attempt/start")
        if status == 204:
            engine.json("POST", "/containers/attempt/wait")
            answer = engine.request("GET", "/containers/attempt/logs?stdout=1&stderr=1")[1]
        assert b"internal error" not in answer
        return status, answer.decode(errors="replace")
    finally:
        engine.json("DELETE", "/containers/attempt?force=1&v=1")


@pytest.fixture
def parent() -> Iterator[str]:
    yield PARENT
    Cgroup(PARENT).remove()
    assert not [point for point in discover().hierarchies() if Path(point, "..", PARENT).exists()]
    assert not Path("/", PARENT).exists()


@pytest.mark.parametrize("way", ["../../../../{}", "/../../../../../{}", "{}/../../../../{}"])
def test_a_cgroup_parent_stays_in_its_hierarchy(engine: Daemon, parent: str, way: str) -> None:
    asked = way.format(parent, parent)
    script = ["cat", "/proc/self/cgroup"]
    status, output = attempt(engine, script, CgroupParent=asked, CgroupnsMode="host")
    assert status == 204
    assert f":/{parent}/" in output
    query = f"/build?cgroupparent={asked}&t={parent}&version=1"
    tar = dockerfile(b"FROM busybox\nRUN true\n")
    status, answer = engine.request(
        "POST", query, tar, {"Content-Type": "application/x-tar", "Content-Length": str(len(tar))}
    )
    assert (status, b"errorDetail" in answer) == (200, False), answer
    engine.json("DELETE", f"/images/{parent}?force=1")


def dockerfile(text: bytes) -> bytes:
    """A build context of one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return buffer.getvalue()


@pytest.mark.parametrize("asked", ["a\0b", "a\nb"])
def test_a_cgroup_parent_that_cannot_be(engine: Daemon, asked: str) -> None:
    status, message = attempt(engine, ["true"], CgroupParent=asked)
    assert status == 400, message


@pytest.mark.parametrize("place", ["/proc", "/proc//sys", "/proc/../proc/self", "/proc/1/attr"])
def test_nothing_is_mounted_on_proc_or_inside(engine: Daemon, tmp_path: Path, place: str) -> None:
    for host in (
        {"Binds": [f"{tmp_path}:{place}"]},
        {"Tmpfs": {place: ""}},
        {"Mounts": [{"Type": "volume", "Target": place}]},
        {"Binds": [f"{tmp_path}:{place}"], "Privileged": True},
    ):
        status, message = attempt(engine, ["true"], **host)
        assert status >= 400 and "cannot be mounted because it is" in message


def test_binds_of_the_data_root_are_slaves_of_it(engine: Daemon, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(engine.data_root)
    for source in ("/", engine.folder, engine.data_root, engine.data_root / "containers", link):
        script = "grep ' /at ' /proc/self/mountinfo"
        body = {"Image": "busybox", "Cmd": ["sh", "-c", script]}
        made = engine.json(
            "POST", "/containers/create", {**body, "HostConfig": {"Binds": [f"{source}:/at"]}}
        )
        (mount,) = engine.json("GET", f"/containers/{made['Id']}/json")["Mounts"]
        assert mount["Propagation"] == "rslave"
        engine.json("DELETE", f"/containers/{made['Id']}")
        status, output = attempt(engine, body["Cmd"], Binds=[f"{source}:/at:rslave,ro"])
        assert status == 204 and " /at " in output
        for asked in ("private", "rprivate", "shared", "slave"):
            for host in (
                {"Binds": [f"{source}:/at:{asked}"]},
                {
                    "Mounts": [
                        {
                            "Type": "bind",
                            "Source": str(source),
                            "Target": "/at",
                            "BindOptions": {"Propagation": asked},
                        }
                    ]
                },
            ):
                status, message = attempt(engine, ["true"], **host)
                assert status == 400
                assert "when mount source is within the daemon root" in message
    status, _ = attempt(engine, ["true"], Binds=[f"{tmp_path}:/at:private"])
    assert status == 204


def test_two_engines_share_no_host_ids(engine: Daemon) -> None:
    seen = set[int]()
    with Daemon() as other:
        other.json("POST", "/images/load", busybox_archive().read_bytes())
        for daemon in (engine, other, engine, other):
            daemon.docker("run", "-d", "--name", f"ids{len(seen)}", "busybox", "sleep", "600")
            output = daemon.docker("exec", f"ids{len(seen)}", "cat", "/proc/self/uid_map").stdout
            seen.add(int(output.split()[1]))
        other.kill()  # its containers live on, and so does their claim
        assert int(attempt(engine, ["cat", "/proc/self/uid_map"])[1].split()[-2]) not in seen
        other.start()
        assert other.docker("exec", "ids1", "cat", "/proc/self/uid_map").stdout
    for number in (0, 2):
        engine.json("DELETE", f"/containers/ids{number}?force=1")
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("mode", "name", "words"),
    [
        ("NetworkMode", "net.ipv4.ip_default_ttl", "host network namespace"),
        ("IpcMode", "kernel.msgmax", "hosts ipc namespace"),
    ],
)
def test_a_sysctl_does_not_reach_the_host_through_another_container(
    engine: Daemon, mode: str, name: str, words: str
) -> None:
    value = Path("/proc/sys", name.replace(".", "/")).read_text().strip()
    body = {"Image": "busybox", "Cmd": ["sleep", "600"], "HostConfig": {mode: "host"}}
    donor = engine.json("POST", "/containers/create", body)["Id"]
    engine.json("POST", f"/containers/{donor}/start")
    host = {mode: f"container:{donor}", "Sysctls": {name: value}, "UsernsMode": "host"}
    status, message = attempt(engine, ["true"], **host)
    engine.json("DELETE", f"/containers/{donor}?force=1")
    assert status >= 400 and words in message


HUGE = "9" * 5_000
ODD = "\u00b2"  # a digit for str.isdigit, and no number


@pytest.mark.parametrize("kind", ["expose", "publish"])
@pytest.mark.parametrize("value", [ODD, HUGE, f"1-{ODD}", f"1-{HUGE}", f"0-{'9' * 18}"])
def test_ranges_of_ports_in_filters(engine: Daemon, kind: str, value: str) -> None:
    """The last one is a range that nobody should count through."""
    status, answer = engine.request(
        "POST", "/containers/create", {"Image": "busybox", "ExposedPorts": {"80/tcp": {}}}
    )
    assert status == 201
    made = json.loads(answer)["Id"]
    try:
        filters = quote(json.dumps({kind: [value]}))
        status, answer = engine.request("GET", f"/containers/json?all=1&filters={filters}")
        assert status == (200 if value.startswith("0-") else 400), answer
    finally:
        engine.request("DELETE", f"/containers/{made}")


@pytest.mark.parametrize("text", [ODD, HUGE])
def test_digits_that_are_no_numbers(engine: Daemon, text: str) -> None:
    for host in (
        {"LogConfig": {"Type": "json-file", "Config": {"max-file": text}}},
        {"LogConfig": {"Type": "syslog", "Config": {"syslog-facility": text}}},
        {"LogConfig": {"Type": "json-file", "Config": {"max-size": text}}},
        {"DeviceCgroupRules": [f"c {text}:* rwm"]},
        {"CpusetCpus": f"0-{text}"},
        {"CpusetCpus": ",".join(["0-4096"] * 10_000)},
        {"SecurityOpt": ["seccomp=" + "[" * 60_000]},
        {"PortBindings": {f"{text}/tcp": [{}]}},
    ):
        body = {"Image": "busybox", "HostConfig": host}
        status, answer = engine.request("POST", "/containers/create", body)
        assert status == 400, (host, answer)
    stars = quote(json.dumps({"stars": [text]}))
    status, answer = engine.request("GET", f"/images/search?term=x&filters={stars}")
    assert status == 400, answer
