"""Answers print as the structs in which Docker's client holds them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wherry.cli.commands.inspect import missing, prepared
from wherry.cli.gostructs import go_time, typed
from wherry.cli.gotemplate import Template

CONTAINER: dict[str, Any] = {
    "State": {"Status": "running", "Running": True, "Pid": 7, "StartedAt": "s", "FinishedAt": "f",
              "Health": {"Status": "starting", "FailingStreak": 0, "Log": []}},
    "Mounts": [{"Type": "bind", "Source": "/tmp", "Destination": "/b", "Mode": "ro", "RW": False,
                "Propagation": "rprivate"},
               {"Type": "volume", "Name": "v", "Source": "/s", "Destination": "/v",
                "Driver": "local", "Mode": "z", "RW": True, "Propagation": ""}],
    "HostConfig": {
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
        "Ulimits": [{"Name": "nofile", "Hard": 6, "Soft": 5}],
        "Mounts": [{"Type": "tmpfs", "Target": "/t"}],
        "Memory": 5,
    },
    "Config": {"Hostname": "h", "Cmd": ["sleep", "60"], "Image": "busybox", "Env": ["X=1"],
               "ExposedPorts": {"80/tcp": {}}, "Labels": {"a": "b"}, "Entrypoint": None,
               "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_500_000_000}},
    "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "::", "HostPort": "8080"}], "9/udp": None}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (".HostConfig.RestartPolicy", "{on-failure 3}"),
        (".HostConfig.LogConfig", "{json-file map[max-size:1m]}"),
        (".HostConfig.PortBindings", "map[80/tcp:[{ 8080}]]"),
        (".HostConfig.Ulimits", "[nofile=5:6]"),
        (".HostConfig.Mounts", "[{tmpfs  /t false  <nil> <nil> <nil> <nil> <nil>}]"),
        (".HostConfig.Memory", "5"),
        (".NetworkSettings.Ports", "map[80/tcp:[{:: 8080}] 9/udp:[]]"),
        (".State", "{running true false false false false 7 0  s f {starting 0 []}}"),
        (".State.Health", "{starting 0 []}"),
        (".Mounts", "[{bind  /tmp /b  ro false rprivate} {volume v /s /v local z true }]"),
        ("(index .Mounts 1).Name", "v"),
        (".Config.Healthcheck", "{[CMD true] 1.5s 0s 0s 0s 0}"),
        (".Config.ExposedPorts", "map[80/tcp:{}]"),
        (
            ".Config",
            "{h   false false false map[80/tcp:{}] false false false [X=1] [sleep 60]"
            " {[CMD true] 1.5s 0s 0s 0s 0} false busybox map[]  [] false  [] map[a:b]  <nil> []}",
        ),
        ('range .Mounts}}{{.Destination}} {{end}}{{""', "/b /v "),
    ],
)
def test_structs_of_a_container(source: str, expected: str) -> None:
    data = typed(prepared(CONTAINER), "container")
    assert Template("{{" + source + "}}").render(data, missing) == expected


def test_json_and_missing_fields_stay_as_they_were() -> None:
    data = typed(prepared(CONTAINER), "container")
    shown = Template("{{json .HostConfig.RestartPolicy}}").render(data, missing)
    assert json.loads(shown) == CONTAINER["HostConfig"]["RestartPolicy"]
    assert Template("{{.Config.StopSignal}}").render(data, missing) == ""
    absent = prepared({"CapAdd": None, "CapDrop": [], "Labels": None})
    ulimits = typed(prepared({"HostConfig": {"Ulimits": None}}), "container")
    assert Template("{{json .}}").render(ulimits, missing) == '{"HostConfig":{"Ulimits":null}}'
    assert Template("{{.CapAdd}}{{len .CapAdd}}{{.Labels}}").render(absent, missing) == "[]0map[]"
    shown = Template("{{json .CapAdd}} {{json .}}").render(absent, missing)
    assert shown == 'null {"CapAdd":null,"CapDrop":[],"Labels":null}'


def test_networks_and_times() -> None:
    network = {
        "Name": "n", "Id": "1", "Created": "2026-01-02T03:04:05.1200Z", "Scope": "local",
        "Driver": "bridge", "EnableIPv4": True, "Options": {}, "Labels": None,
        "IPAM": {"Driver": "default", "Options": None, "Config": [{"Subnet": "10.0.0.0/8"}]},
        "Containers": {"c": {"Name": "x", "IPv4Address": "10.0.0.2/8"}},
    }  # fmt: skip
    assert Template("{{.}}").render(typed(prepared(network), "network"), missing) == (
        "{n 1 2026-01-02 03:04:05.12 +0000 UTC local bridge true false"
        " {default map[] [{10.0.0.0/8   map[]}]} false false false {} false"
        " map[c:{x   10.0.0.2/8 }] map[] map[] [] map[]}"
    )
    assert go_time("2026-01-02T03:04:05Z") == "2026-01-02 03:04:05 +0000 UTC"
