"""Words and codes that clients and their tests match on: what is refused, and how."""

from __future__ import annotations

import io
import json
import tarfile
import time
from contextlib import closing
from typing import Any
from unittest.mock import ANY

import docker
import pytest
from tests.conformance.api.http import ask, container, demultiplex
from tests.daemon import Daemon

JSON = {"Content-Type": "application/json"}


def host(**fields: Any) -> dict[str, Any]:
    return {"Image": "busybox", "HostConfig": fields}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "invalid JSON: got EOF while reading request body"),
        (b"{", "invalid JSON: unexpected EOF"),
        (b"{}{}", "unexpected content after JSON"),
        ({}, "config cannot be empty in order to create a container"),
        (host(Links=["nosuch"]), "could not get container for nosuch: No such container: nosuch"),
        (host(Links=["a:b:c"]), "bad format for links: a:b:c"),
        (host(VolumesFrom=[""]), "volumes-from specification cannot be an empty string"),
        (host(VolumesFrom=["nosuch"]), "No such container: nosuch"),
        (
            host(PortBindings={"80/tcp": [{"HostPort": "x"}]}),
            'invalid port specification: "x"',
        ),
        (
            host(Mounts=[{"Type": "odd", "Target": "/x"}]),
            'invalid mount config for type "odd": mount type unknown',
        ),
        (
            host(Mounts=[{"Type": "volume", "Source": "/abs", "Target": "/x"}]),
            'create /abs: "/abs" includes invalid characters for a local volume name',
        ),
        (
            host(NanoCpus=100, CpuPeriod=100),
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ),
        (host(CpusetCpus="odd"), "Invalid value odd for cpuset cpus: invalid format: odd"),
        ({"Image": "busybox", "HostConfig": []}, "cannot unmarshal array"),
    ],
)
def test_create_refuses_in_known_words(engine: Daemon, body: Any, text: str) -> None:
    answer = ask(engine, "POST", "/containers/create", body, JSON)
    assert answer.status == 400
    assert text in answer.message


@pytest.mark.parametrize(
    ("platform", "text"),
    [
        ("linux/", '"" is an invalid component of "linux/": platform specifier component must'),
        ("a/b/c/d", '"a/b/c/d": cannot parse platform specifier: invalid argument'),
    ],
)
def test_platforms_that_are_none(engine: Daemon, platform: str, text: str) -> None:
    answer = ask(
        engine, "POST", "/containers/create", {"Image": "busybox", "Cmd": ["x"]}, platform=platform
    )
    assert (answer.status, text in answer.message) == (400, True), answer.message


def test_the_log_driver_none_takes_any_option(engine: Daemon) -> None:
    config = {"LogConfig": {"Type": "none", "Config": {"max-file": "3"}}}
    with container(engine, start=False, HostConfig=config):
        pass


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", "resize?h=a&w=1", None, 400, 'invalid resize height "a": invalid syntax'),
        ("POST", "resize?h=1", None, 400, 'invalid resize width "": invalid syntax'),
        ("POST", "resize?h=1&w=9999999999", None, 400, "value out of range"),
        ("POST", "stop?t=odd", None, 400, 'strconv.Atoi: parsing "odd": invalid syntax'),
        ("POST", "wait?condition=odd", None, 400, 'invalid condition: "odd"'),
        ("POST", "attach?stream=1&detachKeys=xx", None, 400, "Invalid detach keys (xx) provided"),
        ("POST", "exec", {"Cmd": "true"}, 400, "cannot unmarshal string"),
        ("POST", "exec", {}, 400, "No exec command specified"),
        ("POST", "rename?name=", None, 400, "Neither old nor new names may be empty"),
        (
            *("POST", "rename?name=a", None, 400),
            "Error when allocating new name: Invalid container name (/a), only",
        ),
        ("POST", "kill?signal=ODD", None, 400, "invalid signal: ODD"),
    ],
)
@pytest.mark.parametrize("name", ["there", "nosuch"])
def test_bad_parameters_are_told_first(
    engine: Daemon, refused: str, name: str, method: str, path: str, body: Any, status: int,
    text: str,
) -> None:  # fmt: skip
    if name == "nosuch" and ("name=a" in path or "t=odd" in path):
        text, status = "", 400 if "t=odd" in path else 404
    target = refused if name == "there" else name
    answer = ask(engine, method, f"/containers/{target}/{path}", body)
    assert answer.status == status
    assert text in answer.message


@pytest.fixture(scope="module")
def refused(engine: Daemon) -> Any:
    with container(engine, start=False) as container_id:
        yield container_id


def test_a_container_that_changed_nothing_has_no_changes(engine: Daemon) -> None:
    with container(engine, "true") as container_id:
        ask(engine, "POST", f"/containers/{container_id}/wait")
        assert ask(engine, "GET", f"/containers/{container_id}/changes").data is None


def test_a_signal_wakes_a_paused_container(engine: Daemon) -> None:
    with container(engine) as container_id:
        assert ask(engine, "POST", f"/containers/{container_id}/pause").status == 204
        assert ask(engine, "POST", f"/containers/{container_id}/kill", signal="WINCH").status == 204
        state = ask(engine, "GET", f"/containers/{container_id}/json").data["State"]
        assert (state["Status"], state["Paused"]) == ("running", False)


def test_an_image_s_config_has_its_fields_even_when_they_are_empty(engine: Daemon) -> None:
    shown = ask(engine, "GET", "/images/busybox/json").data["Config"]
    assert shown == {
        "Cmd": ["sh"], "Entrypoint": None, "Env": ["PATH=/bin"], "Labels": None, "OnBuild": None,
        "User": "", "Volumes": None, "WorkingDir": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", "/commit", None, 400, 'invalid name or ID supplied: ""'),
        ("POST", "/networks/bridge/connect", {}, 400, 'invalid name or ID supplied: ""'),
        (
            *("POST", "/images/busybox/tag?repo=sha256&tag=1", None, 400),
            "refusing to create an ambiguous tag using digest algorithm as name",
        ),
    ],
)
def test_what_names_nothing_is_refused(
    engine: Daemon, method: str, path: str, body: Any, status: int, text: str
) -> None:
    answer = ask(engine, method, path, body)
    assert (answer.status, answer.message) == (status, text)


@pytest.mark.parametrize("archive", [b"", b"garbage"])
def test_load_tells_failures_in_its_stream(engine: Daemon, archive: bytes) -> None:
    headers = {"Content-Type": "application/x-tar"}
    answer = ask(engine, "POST", "/images/load", archive, headers)
    assert answer.status == 200
    last = answer.lines[-1]
    assert last["error"] == last["errorDetail"]["message"]


def test_push_of_nothing_fails_in_its_stream(engine: Daemon) -> None:
    answer = ask(engine, "POST", "/images/nosuch/push", None, {"X-Registry-Auth": "e30="})
    assert answer.status == 200
    assert answer.lines[0]["status"] == "The push refers to repository [docker.io/library/nosuch]"
    assert answer.lines[1]["error"] == "An image does not exist locally with the tag: nosuch"
    answer = ask(engine, "POST", "/images/busybox/push", tag="nosuch")
    assert answer.lines[1]["error"] == "tag does not exist: busybox:nosuch"


def test_pull_of_what_cannot_be_reached_fails_by_its_status(engine: Daemon) -> None:
    answer = ask(engine, "POST", "/images/create", fromImage="localhost:1/nosuch", tag="x")
    assert answer.status >= 400
    assert "connection refused" in answer.message


def test_prune_leaves_volumes_with_options(engine: Daemon) -> None:
    options = {"type": "tmpfs", "device": "tmpfs"}
    ask(engine, "POST", "/volumes/create", {"Name": "with-options", "DriverOpts": options})
    ask(engine, "POST", "/volumes/create", {"Name": "without-options"})
    pruned = ask(engine, "POST", "/volumes/prune", filters='{"all":["1"]}').data
    assert pruned["VolumesDeleted"] == ["without-options"]
    assert ask(engine, "DELETE", "/volumes/with-options").status == 204
    assert ask(engine, "POST", "/volumes/prune").data["VolumesDeleted"] == []


def test_publish_filters_by_the_host_s_port_and_expose_by_the_container_s(engine: Daemon) -> None:
    host_config = {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "48761"}]}}
    with container(engine, HostConfig=host_config, ExposedPorts={"81/tcp": {}}) as container_id:
        expected = {
            ("publish", "48761"): [container_id],
            ("publish", "48760-48770/tcp"): [container_id],
            ("publish", "80"): [],
            ("publish", "48761/udp"): [],
            ("expose", "80"): [container_id],
            ("expose", "81"): [container_id],
            ("expose", "48761"): [],
        }
        for (name, value), ids in expected.items():
            rows = ask(engine, "GET", "/containers/json", filters={name: [value]}).data
            assert [row["Id"] for row in rows] == ids, (name, value)


def test_an_exec_s_terminal_can_be_sized_as_soon_as_its_client_is_connected(engine: Daemon) -> None:
    client = docker.APIClient(base_url=f"unix://{engine.socket}", version="auto")
    with closing(client), container(engine) as container_id:
        exec_id = client.exec_create(container_id, ["sh"], stdin=True, tty=True)["Id"]
        with closing(client.exec_start(exec_id, tty=True, socket=True)) as stream:
            client.exec_resize(exec_id, height=21, width=43)
            stream._sock.sendall(b"stty size; exit\n")
            output = b""
            while piece := stream._sock.recv(4096):
                output += piece
        assert b"21 43" in output


def test_no_address_on_the_network_none(engine: Daemon) -> None:
    body = {
        **host(NetworkMode="none"),
        "NetworkingConfig": {
            "EndpointsConfig": {"none": {"IPAMConfig": {"IPv4Address": "1.2.3.4"}}}
        },
    }
    answer = ask(engine, "POST", "/containers/create", body)
    assert answer.status == 400
    assert "user specified IP address is supported on user defined networks only" in answer.message


def test_events_tell_what_dockerd_tells(engine: Daemon) -> None:
    since = time.time()
    with container(engine, name="told", HostConfig={"Binds": ["told-vol:/x:ro"]}) as container_id:
        path = f"/containers/{container_id}"
        ask(engine, "GET", f"{path}/top")
        ask(engine, "POST", f"{path}/exec", {"Cmd": ["true"]})
        ask(engine, "POST", "/commit", container=container_id, repo="told", tag="1")
        image = ask(engine, "GET", "/images/told:1/json").data["Id"]
        archive = ask(engine, "GET", "/images/told:1/get").body
        ask(engine, "POST", "/images/load", archive, {"Content-Type": "application/x-tar"})
    ask(engine, "DELETE", "/images/told:1")
    ask(engine, "DELETE", "/volumes/told-vol")
    ask(engine, "POST", "/images/prune", filters={"label": ["nosuch"]})
    query = {"since": f"{since:.9f}", "until": f"{time.time():.9f}"}
    events = ask(engine, "GET", "/events", **query).lines
    name, by_name = {"container": container_id}, {"name": "told", "image": "busybox"}
    mounted = {"destination": "/x", "read/write": "false", "propagation": "", "driver": "local"}
    assert [(one["Type"], one["Action"], one["Actor"]["Attributes"]) for one in events] == [
        ("volume", "create", {"driver": "local"}),
        ("container", "create", by_name),
        ("volume", "mount", {**mounted, **name}),
        ("network", "connect", {**name, "name": "bridge", "type": "bridge"}),
        ("container", "start", by_name),
        ("container", "top", by_name),
        ("container", "exec_create: true ", {**by_name, "execID": ANY}),
        ("container", "pause", by_name),
        ("image", "tag", {"name": "told:1"}),
        ("container", "commit", {**by_name, "imageID": image, "imageRef": "told:1", "comment": ""}),
        ("container", "unpause", by_name),
        ("image", "save", {"name": image}),
        ("image", "load", {"name": image}),
        ("container", "kill", {**by_name, "signal": "9"}),
        ("network", "disconnect", {**name, "name": "bridge", "type": "bridge"}),
        ("volume", "unmount", {"driver": "local", **name}),
        ("container", "die", {**by_name, "exitCode": "137", "execDuration": ANY}),
        ("container", "destroy", by_name),
        ("image", "untag", {"name": image}),
        ("image", "delete", {"name": image}),
        ("volume", "destroy", {"driver": "local"}),
        ("image", "prune", {"reclaimed": "0"}),
    ]
    assert (events[1]["status"], events[1]["from"]) == ("create", "busybox")
    assert not {"id", "from"} & events[-1].keys()


@pytest.mark.parametrize("bind", ["/etc/hostname:/etc", "/etc:/etc/passwd", "/etc:/bin/sh/x"])
@pytest.mark.parametrize("network", ["bridge", "none"])
def test_a_directory_on_a_file_is_explained(engine: Daemon, bind: str, network: str) -> None:
    config = {"Binds": [bind], "NetworkMode": network}
    with container(engine, start=False, HostConfig=config) as container_id:
        answer = ask(engine, "POST", f"/containers/{container_id}/start")
        assert answer.status == 400
        assert "Are you trying to mount a directory onto a file (or vice-versa)?" in answer.message
        state = ask(engine, "GET", f"/containers/{container_id}/json").data["State"]
        assert (state["Status"], state["ExitCode"]) == ("created", 127)
        assert state["Error"] == answer.message


def test_containers_can_tell_that_they_are_containers(engine: Daemon) -> None:
    script = "ls -a /.dockerenv; readlink /etc/mtab; id -G"
    with container(engine, "sh", "-c", script) as container_id:
        path = f"/containers/{container_id}"
        assert ask(engine, "POST", f"{path}/wait").data["StatusCode"] == 0
        output = b"".join(
            data for _, data in demultiplex(ask(engine, "GET", f"{path}/logs", stdout="1").body)
        )
        assert output == b"/.dockerenv\n/proc/mounts\n0\n"
        assert ask(engine, "GET", f"{path}/changes").data is None
        assert ask(engine, "GET", f"{path}/json", size="1").data["SizeRw"] == 0
        image = ask(engine, "POST", "/commit", container=container_id).data["Id"]
    archive = ask(engine, "GET", f"/images/{image}/get").body
    ask(engine, "DELETE", f"/images/{image}")
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        last = json.load(opened.extractfile("manifest.json"))[0]["Layers"][-1]  # type: ignore[arg-type]
        layer = opened.extractfile(last).read()  # type: ignore[union-attr]
    with tarfile.open(fileobj=io.BytesIO(layer)) as opened:
        assert opened.getnames() in ([], ["etc"])
