"""Words and codes that clients and their tests match on: what is refused, and how."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conformance.api.http import ask, container
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
