"""The container operations, one case for each parameter of each (``/containers``)."""

from __future__ import annotations

import io
import re
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.api.http import ask, container, demultiplex, wait
from tests.daemon import Daemon


def listed(engine: Daemon, **query: Any) -> list[str]:
    """Names that a listing gives."""
    answer = ask(engine, "GET", "/containers/json", **query)
    assert answer.status == 200, answer.body
    return [row["Names"][0][1:] for row in answer.data]


# --- list


def test_list_shows_running_ones_and_all(engine: Daemon) -> None:
    with container(engine, name="up"), container(engine, name="down", start=False):
        assert listed(engine) == ["up"]
        assert listed(engine, all="1") == ["down", "up"]
        assert listed(engine, all="true", limit="1") == ["down"]
        assert listed(engine, limit="1") == ["down"]


def test_list_row(engine: Daemon) -> None:
    with container(engine, "sleep", "60", name="row", Labels={"k": "v"}):
        [row] = ask(engine, "GET", "/containers/json", size="1").data
        assert row["Names"] == ["/row"]
        assert row["Image"] == "busybox"
        assert row["ImageID"].startswith("sha256:")
        assert row["Command"] == "sleep 60"
        assert row["State"] == "running"
        assert re.match(r"Up .*", row["Status"])
        assert row["Labels"] == {"k": "v"}
        assert row["Ports"] == []
        assert row["Mounts"] == []
        assert abs(row["Created"] - time.time()) < 60
        assert row["SizeRootFs"] > 0
        assert "NetworkMode" in row["HostConfig"]
        [unsized] = ask(engine, "GET", "/containers/json").data
        assert "SizeRootFs" not in unsized


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"name": ["fil"]}, ["filter-b", "filter-a"]),
        ({"name": {"^/filter-a$": True}}, ["filter-a"]),
        ({"label": ["k"]}, ["filter-b", "filter-a"]),
        ({"label": ["k=1"]}, ["filter-a"]),
        ({"label": {"k=1": True, "only": True}}, ["filter-a"]),
        ({"label": ["k=1", "k=2"]}, []),
        ({"status": ["created"]}, ["filter-b"]),
        ({"status": ["running", "created"]}, ["filter-b", "filter-a"]),
        ({"ancestor": ["busybox:latest"]}, ["filter-b", "filter-a"]),
        ({"ancestor": ["other"]}, []),
        ({"before": ["filter-b"]}, ["filter-a"]),
        ({"since": ["filter-a"]}, ["filter-b"]),
        ({"volume": ["/data"]}, ["filter-b"]),
        ({"exited": ["0"]}, []),
        ({"health": ["none"]}, ["filter-b", "filter-a"]),
        ({"is-task": ["true"]}, []),
        ({"expose": ["81"]}, ["filter-a"]),
        ({"expose": ["80-90/tcp"]}, ["filter-a"]),
        ({"publish": ["81"]}, []),
    ],
)
def test_list_filters(engine: Daemon, filters: Any, names: list[str]) -> None:
    with (
        container(
            engine, name="filter-a", Labels={"k": "1", "only": ""}, ExposedPorts={"81/tcp": {}}
        ),
        container(engine, name="filter-b", start=False, Labels={"k": "2"}, Volumes={"/data": {}}),
    ):
        assert listed(engine, all="1", filters=filters) == names


def test_list_by_id(engine: Daemon) -> None:
    with container(engine, name="by-id") as first, container(engine, name="other-id"):
        assert listed(engine, filters={"id": [first[:10]]}) == ["by-id"]


@pytest.mark.parametrize(
    "filters", ['{"nosuch":["x"]}', '{"status":["nosuch"]}', "{bad", '{"exited":["x"]}']
)
def test_list_refuses_bad_filters(engine: Daemon, filters: str) -> None:
    assert ask(engine, "GET", "/containers/json", filters=filters).status in (400, 500)


# --- create and inspect


def test_create_gives_id_and_warnings(engine: Daemon) -> None:
    answer = ask(engine, "POST", "/containers/create", {"Image": "busybox"}, name="made")
    assert answer.status == 201
    assert re.fullmatch("[0-9a-f]{64}", answer.data["Id"])
    assert answer.data["Warnings"] == []
    assert ask(engine, "DELETE", "/containers/made").status == 204


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"Image": "nosuch:1"}, 404, "No such image: nosuch:1"),
        ({"Image": "busybox", "HostConfig": {"Memory": 1}}, 400, "memory limit"),
        ({"Image": "busybox", "HostConfig": {"NetworkMode": "container:nosuch"}}, 201, ""),
        ({"Image": "busybox", "HostConfig": {"PortBindings": {"x": []}}}, 400, ""),
        ({"Image": "busybox", "Env": ["=x"]}, 400, "invalid environment variable"),
        ({"Image": "busybox", "StopSignal": "NOSUCH"}, 400, "nvalid signal: NOSUCH"),
        ({"Image": "busybox", "HostConfig": {"Binds": ["x"]}}, 400, "invalid volume spec"),
        ({"Image": "busybox", "Cmd": 3}, 400, ""),
        ({"Image": 3}, 400, ""),
        ({"Image": "busybox", "HostConfig": {"RestartPolicy": {"Name": "x"}}}, 400, "restart"),
    ],
)
def test_create_refuses(engine: Daemon, body: Any, status: int, text: str) -> None:
    answer = ask(engine, "POST", "/containers/create", body)
    assert answer.status == status, answer.body
    if status == 201:
        ask(engine, "DELETE", f"/containers/{answer.data['Id']}")
    else:
        assert text.lower() in answer.message.lower()


def test_create_name_taken(engine: Daemon) -> None:
    with container(engine, name="taken", start=False) as first:
        answer = ask(engine, "POST", "/containers/create", {"Image": "busybox"}, name="taken")
        assert answer.status == 409
        assert answer.message == (
            f'Conflict. The container name "/taken" is already in use by container "{first}". You'
            " have to remove (or rename) that container to be able to reuse that name."
        )


def test_create_platform(engine: Daemon) -> None:
    answer = ask(
        engine, "POST", "/containers/create", {"Image": "busybox"}, name="plat", platform="linux"
    )
    assert answer.status == 201
    ask(engine, "DELETE", "/containers/plat")
    wrong = ask(engine, "POST", "/containers/create", {"Image": "busybox"}, platform="windows")
    assert wrong.status in (400, 404)


def test_inspect_has_every_field(engine: Daemon) -> None:
    with container(engine, name="full") as container_id:
        view = ask(engine, "GET", "/containers/full/json", size="1").data
        assert set(view) >= {
            "Id", "Created", "Path", "Args", "State", "Image", "ResolvConfPath", "HostnamePath",
            "HostsPath", "LogPath", "Name", "RestartCount", "Driver", "Platform", "MountLabel",
            "ProcessLabel", "AppArmorProfile", "ExecIDs", "HostConfig", "GraphDriver", "Mounts",
            "Config", "NetworkSettings", "SizeRw", "SizeRootFs",
        }  # fmt: skip
        assert view["Id"] == container_id
        assert view["Name"] == "/full"
        assert (view["Path"], view["Args"]) == ("sleep", ["60"])
        state = view["State"]
        assert set(state) >= {
            "Status", "Running", "Paused", "Restarting", "OOMKilled", "Dead", "Pid", "ExitCode",
            "Error", "StartedAt", "FinishedAt",
        }  # fmt: skip
        assert state["Running"] is True
        assert state["Pid"] > 1
        assert state["FinishedAt"] == "0001-01-01T00:00:00Z"
        assert view["Config"]["Hostname"] == container_id[:12]
        assert "SizeRw" not in ask(engine, "GET", "/containers/full/json").data


@pytest.mark.parametrize("length", [64, 12, 4])
def test_objects_are_found_by_id_prefix(engine: Daemon, length: int) -> None:
    with container(engine, start=False) as container_id:
        answer = ask(engine, "GET", f"/containers/{container_id[:length]}/json")
        assert answer.data["Id"] == container_id


# --- life


def test_start_stop_are_idempotent(engine: Daemon) -> None:
    with container(engine, "sh", "-c", "trap 'exit 5' TERM; sleep 60 & wait") as container_id:
        assert ask(engine, "POST", f"/containers/{container_id}/start").status == 304
        time.sleep(0.2)
        assert ask(engine, "POST", f"/containers/{container_id}/stop", t="10").status == 204
        assert ask(engine, "POST", f"/containers/{container_id}/stop").status == 304
        state = ask(engine, "GET", f"/containers/{container_id}/json").data["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 5)


def test_stop_kills_after_its_time(engine: Daemon) -> None:
    with container(engine) as container_id:
        began = time.monotonic()
        assert ask(engine, "POST", f"/containers/{container_id}/stop", t="1").status == 204
        assert 0.9 < time.monotonic() - began < 9
        state = ask(engine, "GET", f"/containers/{container_id}/json").data["State"]
        assert state["ExitCode"] == 137


def test_restart(engine: Daemon) -> None:
    with container(engine) as container_id:
        before = ask(engine, "GET", f"/containers/{container_id}/json").data["State"]["Pid"]
        assert ask(engine, "POST", f"/containers/{container_id}/restart", t="0").status == 204
        after = ask(engine, "GET", f"/containers/{container_id}/json").data["State"]
        assert after["Running"] and after["Pid"] != before


@pytest.mark.parametrize("signal", ["KILL", "SIGKILL", "9", ""])
def test_kill(engine: Daemon, signal: str) -> None:
    with container(engine) as container_id:
        query = {"signal": signal} if signal else {}
        assert ask(engine, "POST", f"/containers/{container_id}/kill", **query).status == 204
        assert wait(engine, container_id) == 137
        answer = ask(engine, "POST", f"/containers/{container_id}/kill")
        assert answer.status == 409
        assert "is not running" in answer.message


def test_kill_refuses_unknown_signals(engine: Daemon) -> None:
    with container(engine) as container_id:
        answer = ask(engine, "POST", f"/containers/{container_id}/kill", signal="NOSUCH")
        assert answer.status in (400, 500)
        assert "nvalid signal: NOSUCH" in answer.message


def test_pause_and_unpause(engine: Daemon) -> None:
    with container(engine) as container_id:
        assert ask(engine, "POST", f"/containers/{container_id}/pause").status == 204
        state = ask(engine, "GET", f"/containers/{container_id}/json").data["State"]
        assert (state["Status"], state["Paused"], state["Running"]) == ("paused", True, True)
        assert ask(engine, "POST", f"/containers/{container_id}/pause").status in (409, 500)
        assert ask(engine, "POST", f"/containers/{container_id}/unpause").status == 204
        assert ask(engine, "POST", f"/containers/{container_id}/unpause").status in (409, 500)


def test_rename(engine: Daemon) -> None:
    with container(engine, name="old-name", start=False), container(engine, name="held"):
        assert ask(engine, "POST", "/containers/old-name/rename", name="new-name").status == 204
        assert ask(engine, "GET", "/containers/old-name/json").status == 404
        assert ask(engine, "POST", "/containers/new-name/rename", name="held").status == 409
        assert ask(engine, "POST", "/containers/new-name/rename", name="a b").status in (400, 500)
        assert ask(engine, "POST", "/containers/nosuch/rename", name="x1").status == 404


@pytest.mark.parametrize("condition", ["", "not-running", "next-exit", "removed"])
def test_wait_conditions(engine: Daemon, condition: str) -> None:
    query = {"condition": condition} if condition else {}
    with container(
        engine, "sh", "-c", "sleep 0.3; exit 6", HostConfig={"AutoRemove": True}
    ) as container_id:
        answer = ask(engine, "POST", f"/containers/{container_id}/wait", **query)
        assert answer.status == 200
        assert answer.data["StatusCode"] == 6


def test_wait_for_what_has_ended(engine: Daemon) -> None:
    with container(engine, "sh", "-c", "exit 4") as container_id:
        assert wait(engine, container_id) == 4
        assert wait(engine, container_id) == 4
    assert ask(engine, "POST", "/containers/nosuch/wait").status == 404
    with container(engine) as container_id:
        assert ask(engine, "POST", f"/containers/{container_id}/wait", condition="x").status == 400


def test_remove(engine: Daemon) -> None:
    with container(engine, name="removed") as container_id:
        answer = ask(engine, "DELETE", "/containers/removed")
        assert answer.status == 409
        assert "running" in answer.message
        assert ask(engine, "DELETE", "/containers/removed", force="1").status == 204
        assert ask(engine, "GET", f"/containers/{container_id}/json").status == 404
        answer = ask(engine, "DELETE", "/containers/removed")
        assert (answer.status, answer.message) == (404, "No such container: removed")


def test_remove_with_anonymous_volumes(engine: Daemon) -> None:
    for query, left in (({}, True), ({"v": "1"}, False)):
        body = {"Image": "busybox", "Volumes": {"/data": {}}}
        container_id = ask(engine, "POST", "/containers/create", body).data["Id"]
        [mount] = ask(engine, "GET", f"/containers/{container_id}/json").data["Mounts"]
        assert mount["Type"] == "volume"
        assert ask(engine, "DELETE", f"/containers/{container_id}", **query).status == 204
        found = ask(engine, "GET", f"/volumes/{mount['Name']}").status == 200
        assert found is left
        ask(engine, "DELETE", f"/volumes/{mount['Name']}")


def test_auto_remove(engine: Daemon) -> None:
    with container(engine, "true", HostConfig={"AutoRemove": True}) as container_id:
        for _ in range(100):
            if ask(engine, "GET", f"/containers/{container_id}/json").status == 404:
                return
            time.sleep(0.05)
        pytest.fail("it was not removed")


def test_update(engine: Daemon) -> None:
    with container(engine) as container_id:
        body = {
            "Memory": 64 << 20,
            "MemorySwap": 128 << 20,
            "CpuShares": 300,
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        }
        answer = ask(engine, "POST", f"/containers/{container_id}/update", body)
        assert answer.status == 200
        assert not answer.data["Warnings"]
        config = ask(engine, "GET", f"/containers/{container_id}/json").data["HostConfig"]
        assert config["Memory"] == 64 << 20
        assert config["CpuShares"] == 300
        assert config["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
        bad = ask(engine, "POST", f"/containers/{container_id}/update", {"Memory": 5})
        assert bad.status in (400, 500)


def test_an_update_leaves_the_container_in_its_cgroup(engine: Daemon) -> None:
    with container(engine) as container_id:
        path = f"/containers/{container_id}"
        body = {"CgroupParent": "elsewhere", "Devices": [{"PathOnHost": "/dev/null"}]}
        assert ask(engine, "POST", f"{path}/update", body).status == 200
        host = ask(engine, "GET", f"{path}/json").data["HostConfig"]
        assert host["CgroupParent"] == ""
        assert not host["Devices"]
        assert ask(engine, "POST", f"{path}/pause").status == 204
        assert ask(engine, "POST", f"{path}/unpause").status == 204


def test_prune(engine: Daemon) -> None:
    with (
        container(engine, "true", name="pruned", Labels={"p": "1"}) as pruned,
        container(engine, name="kept"),
        container(engine, name="kept-by-label", start=False, Labels={"p": "2"}),
    ):
        wait(engine, pruned)
        answer = ask(engine, "POST", "/containers/prune", filters={"label": ["p=1"]})
        assert answer.data["ContainersDeleted"] == [pruned]
        assert isinstance(answer.data["SpaceReclaimed"], int)
        assert listed(engine, all="1") == ["kept-by-label", "kept"]
        none = ask(engine, "POST", "/containers/prune", filters={"until": ["1h"]})
        assert none.data["ContainersDeleted"] in (None, [])


# --- what flows out


LOG_SCRIPT = "for i in 1 2 3; do echo out $i; echo err $i >&2; sleep 0.02; done"


def test_logs_are_framed_and_selected(engine: Daemon) -> None:
    with container(engine, "sh", "-c", LOG_SCRIPT) as container_id:
        wait(engine, container_id)
        path = f"/containers/{container_id}/logs"
        both = demultiplex(ask(engine, "GET", path, stdout="1", stderr="1").body)
        assert sorted(both) == sorted(
            frame
            for number in b"123"
            for frame in (
                (1, b"out %c\n" % number),
                (2, b"err %c\n" % number),
            )
        )
        only = demultiplex(ask(engine, "GET", path, stderr="1").body)
        assert {kind for kind, _ in only} == {2}
        tail = demultiplex(ask(engine, "GET", path, stdout="1", tail="1").body)
        assert len(tail) <= 1
        assert ask(engine, "GET", path).status == 400
        stamped = demultiplex(ask(engine, "GET", path, stdout="1", timestamps="1").body)
        assert all(re.match(rb"\d{4}-\d\d-\d\dT[\d:]+\.\d{9}Z out", line) for _, line in stamped)
        moment = str(time.time() + 1000)
        assert ask(engine, "GET", path, stdout="1", since=moment).body == b""
        assert ask(engine, "GET", path, stdout="1", until="1000").body == b""
        followed = ask(engine, "GET", path, stdout="1", follow="1")
        assert [line for _, line in demultiplex(followed.body)] == [
            b"out 1\n", b"out 2\n", b"out 3\n",
        ]  # fmt: skip


def test_logs_of_a_terminal_are_raw(engine: Daemon) -> None:
    with container(engine, "echo", "hi", Tty=True) as container_id:
        wait(engine, container_id)
        answer = ask(engine, "GET", f"/containers/{container_id}/logs", stdout="1")
        assert answer.body == b"hi\r\n"


def test_logs_follow_to_the_end(engine: Daemon) -> None:
    with container(engine, "sh", "-c", "echo a; sleep 0.5; echo b") as container_id:
        answer = ask(engine, "GET", f"/containers/{container_id}/logs", stdout="1", follow="1")
        assert b"".join(line for _, line in demultiplex(answer.body)) == b"a\nb\n"


def test_top(engine: Daemon) -> None:
    with container(engine) as container_id:
        view = ask(engine, "GET", f"/containers/{container_id}/top").data
        assert view["Titles"] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
        assert [row[-1] for row in view["Processes"]] == ["sleep 60"]
        some = ask(engine, "GET", f"/containers/{container_id}/top", ps_args="-o pid,comm").data
        assert some["Titles"] == ["PID", "COMMAND"]
        assert some["Processes"][0][1] == "sleep"
        assert ask(engine, "GET", f"/containers/{container_id}/top", ps_args="aux").status == 200


def test_stats(engine: Daemon) -> None:
    with container(engine) as container_id:
        view = ask(engine, "GET", f"/containers/{container_id}/stats", stream="0").data
        assert view["cpu_stats"]["cpu_usage"]["total_usage"] >= 0
        assert view["precpu_stats"]["system_cpu_usage"] < view["cpu_stats"]["system_cpu_usage"]
        assert view["memory_stats"]["usage"] > 0
        assert view["pids_stats"]["current"] == 1
        assert view["id"] == container_id
        began = time.monotonic()
        path = f"/containers/{container_id}/stats"
        once = ask(engine, "GET", path, **{"stream": "0", "one-shot": "1"}).data
        assert time.monotonic() - began < 0.9
        assert "system_cpu_usage" not in once["precpu_stats"]


def test_changes(engine: Daemon) -> None:
    with container(engine, "sh", "-c", "touch /made; rm /etc/group") as container_id:
        wait(engine, container_id)
        found = ask(engine, "GET", f"/containers/{container_id}/changes").data
        kinds = {change["Path"]: change["Kind"] for change in found}
        assert kinds == {"/made": 1, "/etc": 0, "/etc/group": 2}


def test_export(engine: Daemon) -> None:
    with container(engine, "sh", "-c", "echo x > /made") as container_id:
        wait(engine, container_id)
        answer = ask(engine, "GET", f"/containers/{container_id}/export")
        with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
            made = archive.extractfile("made")
            assert made is not None
            assert made.read() == b"x\n"
            assert "etc/passwd" in archive.getnames()


def test_resize(engine: Daemon) -> None:
    with container(engine, "sh", "-c", "sleep 0.5; stty size", Tty=True) as container_id:
        path = f"/containers/{container_id}/resize"
        assert ask(engine, "POST", path, h="33", w="77").status == 200
        assert ask(engine, "POST", path, h="x", w="1").status == 400
        wait(engine, container_id)
        answer = ask(engine, "GET", f"/containers/{container_id}/logs", stdout="1")
        assert answer.body == b"33 77\r\n"
        assert ask(engine, "POST", path, h="1", w="1").status == 409


# --- files


def tar_of(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("running", [True, False])
def test_archive_round_trip(engine: Daemon, running: bool) -> None:
    with container(engine, start=running) as container_id:
        path = f"/containers/{container_id}/archive"
        put = ask(engine, "PUT", path, tar_of("f", b"content"), path="/tmp")
        assert put.status == 200, put.body
        stat = ask(engine, "HEAD", path, path="/tmp/f")
        assert stat.status == 200
        assert "X-Docker-Container-Path-Stat" in stat.headers
        got = ask(engine, "GET", path, path="/tmp/f")
        with tarfile.open(fileobj=io.BytesIO(got.body)) as archive:
            member = archive.extractfile("f")
            assert member is not None
            assert member.read() == b"content"
        assert ask(engine, "GET", path, path="/nosuch").status == 404
        assert ask(engine, "HEAD", path, path="/nosuch").status == 404
        assert ask(engine, "PUT", path, tar_of("f", b""), path="/nosuch").status == 404
        assert ask(engine, "PUT", path, tar_of("f", b""), path="/etc/passwd").status == 400
        assert ask(engine, "GET", path).status == 400
        clash = tar_of("tmp", b"file over folder")
        refused = ask(engine, "PUT", path, clash, path="/", noOverwriteDirNonDir="1")
        assert refused.status == 400


def test_network_files_of_a_container_that_has_ended(engine: Daemon) -> None:
    with container(engine, "true") as container_id:
        wait(engine, container_id)
        path = f"/containers/{container_id}/archive"
        for name, known in (("hostname", container_id[:12]), ("hosts", container_id[:12])):
            got = ask(engine, "GET", path, path=f"/etc/{name}")
            with tarfile.open(fileobj=io.BytesIO(got.body)) as archive:
                member = archive.extractfile(name)
                assert member is not None
                assert known in member.read().decode()


# --- commit


def test_commit(engine: Daemon) -> None:
    with container(engine, "sh", "-c", "echo x > /made") as container_id:
        wait(engine, container_id)
        answer = ask(
            engine,
            "POST",
            "/commit",
            {"Labels": {"from": "commit"}},
            container=container_id,
            repo="committed",
            tag="1",
            comment="why",
            author="who",
            pause="1",
            changes="ENV A=B",
        )
        assert answer.status == 201, answer.body
        assert answer.data["Id"].startswith("sha256:")
        view = ask(engine, "GET", "/images/committed:1/json").data
        assert (view["Comment"], view["Author"]) == ("why", "who")
        assert "A=B" in view["Config"]["Env"]
    assert ask(engine, "DELETE", "/images/committed:1").status == 200
    assert ask(engine, "POST", "/commit", container="nosuch").status == 404


# --- image mounts


IMAGE_ETC = b"group\n"
"""What is in the image's own /etc with one of the first letters d to g: not the host's."""


def image_mount(**options: Any) -> dict[str, Any]:
    mount = {"Type": "image", "Source": "content:1", "Target": "/image"}
    return {"HostConfig": {"Mounts": [{**mount, **({"ImageOptions": options} if options else {})}]}}


@pytest.fixture(scope="module")
def content(engine: Daemon) -> Iterator[None]:
    """``content:1``, of two layers: /d/file, and /d/gone that the upper layer removes."""
    with container(engine, "sh", "-c", "mkdir /d; echo lower >/d/file; echo x >/d/gone") as first:
        wait(engine, first)
        ask(engine, "POST", "/commit", container=first, repo="content", tag="0")
    script = "rm /d/gone; echo upper >/d/file; ln -s /etc /d/out; chown 1000 /d/file"
    with container(engine, "sh", "-c", script, Image="content:0") as second:
        wait(engine, second)
        ask(engine, "POST", "/commit", container=second, repo="content", tag="1")
    yield
    for tag in ("1", "0"):
        assert ask(engine, "DELETE", f"/images/content:{tag}").status == 200


@pytest.mark.parametrize("mode", ["", "host"])
def test_image_mount_shows_the_image_read_only(engine: Daemon, content: None, mode: str) -> None:
    script = "cd /image/d && ls && cat file && stat -c %u file && ! touch new && touch /other"
    body = image_mount()
    body["HostConfig"]["UsernsMode"] = mode
    with container(engine, "sh", "-c", script, **body) as made:
        wait(engine, made)
        logs = ask(engine, "GET", f"/containers/{made}/logs", stdout="1").body
        assert b"".join(text for _, text in demultiplex(logs)) == b"file\nout\nupper\n1000\n"
        [shown] = ask(engine, "GET", f"/containers/{made}/json").data["Mounts"]
        assert (shown["Type"], shown["Name"], shown["RW"]) == ("image", "content:1", False)
        # A stopped container shows it too, and keeps the image.
        got = ask(engine, "GET", f"/containers/{made}/archive", path="/image/d/file")
        assert b"upper" in got.body
        kept = ask(engine, "DELETE", "/images/content:1")
        assert (kept.status, "is using its referenced image" in kept.message) == (409, True)


@pytest.mark.parametrize(
    ("part", "seen"), [("d/file", b"upper\n"), ("d", b"file\nout\n"), ("d/out", IMAGE_ETC)]
)
def test_image_mount_of_a_part(engine: Daemon, content: None, part: str, seen: bytes) -> None:
    script = "cd /image 2>/dev/null || exec cat /image; ls -d [d-g]* out 2>/dev/null"
    with container(engine, "sh", "-c", script, **image_mount(Subpath=part)) as made:
        wait(engine, made)
        logs = ask(engine, "GET", f"/containers/{made}/logs", stdout="1").body
        assert b"".join(text for _, text in demultiplex(logs)) == seen


def test_image_mount_of_what_is_not_there(engine: Daemon, content: None) -> None:
    body = {"Image": "busybox", "Cmd": ["true"], **image_mount()}
    body["HostConfig"]["Mounts"][0]["Source"] = "nosuch"
    assert ask(engine, "POST", "/containers/create", body).status == 404
    with container(engine, "true", start=False, **image_mount(Subpath="nosuch")) as made:
        answer = ask(engine, "POST", f"/containers/{made}/start")
        assert answer.status in (400, 500)
        assert "nosuch" in answer.message


# --- legacy links


def test_a_link_is_removed_and_nothing_else(engine: Daemon) -> None:
    with container(engine, name="linked-db") as database:
        host = {"Links": ["linked-db:db", "linked-db:other"]}
        with container(engine, name="linking-web", HostConfig=host) as web:

            def known_hosts() -> str:
                path = f"/containers/{web}/archive"
                archive = ask(engine, "GET", path, path="/etc/hosts").body
                with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
                    file = opened.extractfile("hosts")
                    assert file is not None
                    return file.read().decode()

            def names() -> list[str]:
                [row] = ask(engine, "GET", "/containers/json", filters={"id": [database]}).data
                return sorted(row["Names"])

            assert names() == ["/linked-db", "/linking-web/db", "/linking-web/other"]
            assert "\tdb " in known_hosts()
            own = ask(engine, "DELETE", "/containers/linked-db", link="1")
            assert own.status == 409
            assert "cannot remove the default link name" in own.message
            assert ask(engine, "DELETE", "/containers/linking-web/nosuch", link="1").status == 404
            gone = ask(engine, "DELETE", "/containers/linking-web/db", link="1")
            assert gone.status == 204
            assert names() == ["/linked-db", "/linking-web/other"]
            assert "\tdb " not in known_hosts()
            assert "\tother " in known_hosts()
            again = ask(engine, "DELETE", "/containers/linking-web/db", link="1")
            assert again.status == 404


# --- what lies under mounts


@pytest.mark.parametrize("running", [True, False])
def test_export_has_mount_points_and_nothing_mounted(
    engine: Daemon, tmp_path: Path, running: bool
) -> None:
    (tmp_path / "file").write_text("of the host")
    host = {"Binds": [f"{tmp_path}:/bound", f"{tmp_path}/file:/file"], "Tmpfs": {"/fleeting": ""}}
    script = "touch /fleeting/x /made; [ -e /.dockerenv ]"
    with container(engine, "sh", "-c", f"{script} && sleep 60", HostConfig=host) as one:
        ready = ask(engine, "POST", f"/containers/{one}/exec", {"Cmd": ["sh", "-c", WAIT]}).data
        ask(engine, "POST", f"/exec/{ready['Id']}/start", {})
        if not running:
            ask(engine, "POST", f"/containers/{one}/kill")
            wait(engine, one)
        archive = ask(engine, "GET", f"/containers/{one}/export").body
        copied = ask(engine, "GET", f"/containers/{one}/archive", path="/made").body
        changes = ask(engine, "GET", f"/containers/{one}/changes").data
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        entries = {entry.name: entry for entry in opened}
    for name in (".dockerenv", "etc/hosts", "etc/resolv.conf", "file"):
        assert (entries[name].isfile(), entries[name].size, entries[name].mode) == (True, 0, 0o755)
    assert entries["bound"].isdir()
    assert entries["fleeting"].isdir()
    assert not any(name.startswith(("bound/", "fleeting/", "proc/")) for name in entries)
    with tarfile.open(fileobj=io.BytesIO(copied)) as opened:
        for entry in (entries["made"], opened.getmember("made")):
            assert entry.mtime == int(entry.mtime) > 0
    assert "/.dockerenv" not in {change["Path"] for change in changes}


WAIT = "while [ ! -e /made ]; do sleep 0.01; done"


def test_a_failed_start_is_told_in_inspect_as_in_the_answer(engine: Daemon) -> None:
    with container(engine, "nosuch", start=False) as one:
        answer = ask(engine, "POST", f"/containers/{one}/start")
        state = ask(engine, "GET", f"/containers/{one}/json").data["State"]
    assert (answer.status, state["ExitCode"]) == (400, 127)
    assert state["Error"] == answer.message
    assert "unable to start container process" in state["Error"]
    assert "executable file not found in $PATH" in state["Error"]


def test_a_start_of_an_old_client_brings_the_host_configuration(
    engine: Daemon, tmp_path: Path
) -> None:
    body = {"Image": "busybox", "Cmd": ["cat", "/bound/file"], "Volumes": {"/own": {}}}
    (tmp_path / "file").write_text("bound")
    made = ask(engine, "POST", "/v1.20/containers/create", body).data["Id"]
    try:
        [own] = ask(engine, "GET", f"/containers/{made}/json").data["Mounts"]
        host = {"Binds": [f"{tmp_path}:/bound"], "Memory": 64 << 20}
        assert ask(engine, "POST", f"/containers/{made}/start", host).status == 400
        assert ask(engine, "POST", f"/v1.20/containers/{made}/start", host).status == 204
        assert wait(engine, made) == 0
        view = ask(engine, "GET", f"/containers/{made}/json").data
        assert view["HostConfig"]["Memory"] == 64 << 20
        mounts = {mount["Destination"]: mount for mount in view["Mounts"]}
        assert set(mounts) == {"/own", "/bound"}
        assert mounts["/own"]["Name"] == own["Name"]
        assert ask(engine, "POST", f"/v1.20/containers/{made}/start").status == 204
        assert wait(engine, made) == 0
    finally:
        ask(engine, "DELETE", f"/containers/{made}", force="1", v="1")
