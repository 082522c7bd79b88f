"""System, exec, images, networks, volumes: one case for each parameter of each operation."""

from __future__ import annotations

import functools
import http.server
import io
import json
import socket
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.conformance.api.http import ask, container, demultiplex, wait
from tests.conformance.api.images import busybox
from tests.daemon import Daemon

from wherry.linux import process

# --- system


def test_version_and_info_agree(engine: Daemon) -> None:
    version = ask(engine, "GET", "/version").data
    assert set(version) >= {
        "Platform", "Components", "Version", "ApiVersion", "MinAPIVersion", "GitCommit",
        "GoVersion", "Os", "Arch", "KernelVersion", "BuildTime",
    }  # fmt: skip
    info = ask(engine, "GET", "/info").data
    assert info["ServerVersion"] == version["Version"]
    assert info["KernelVersion"] == version["KernelVersion"]
    assert set(info) >= {
        "ID", "Containers", "ContainersRunning", "ContainersPaused", "ContainersStopped", "Images",
        "Driver", "DriverStatus", "Plugins", "MemoryLimit", "SwapLimit", "CpuCfsPeriod",
        "CpuCfsQuota", "CPUShares", "CPUSet", "PidsLimit", "Debug", "NFd", "OomKillDisable",
        "NGoroutines", "SystemTime", "LoggingDriver", "CgroupDriver", "CgroupVersion",
        "NEventsListener", "OperatingSystem", "OSVersion", "OSType", "Architecture",
        "IndexServerAddress", "RegistryConfig", "NCPU", "MemTotal", "DockerRootDir", "HttpProxy",
        "HttpsProxy", "NoProxy", "Name", "Labels", "ExperimentalBuild", "Runtimes",
        "DefaultRuntime", "Swarm", "LiveRestoreEnabled", "Isolation", "InitBinary",
        "SecurityOptions", "Warnings",
    }  # fmt: skip


def test_info_counts(engine: Daemon) -> None:
    with container(engine), container(engine, start=False):
        info = ask(engine, "GET", "/info").data
        assert (info["Containers"], info["ContainersRunning"]) == (2, 1)
        assert info["ContainersStopped"] == 1
        assert info["Images"] >= 1


def test_disk_usage(engine: Daemon) -> None:
    with container(engine) as container_id:
        usage = ask(engine, "GET", "/system/df").data
        assert usage["LayersSize"] > 0
        assert [row["Id"] for row in usage["Containers"]] == [container_id]
        assert any("busybox:latest" in (row["RepoTags"] or ()) for row in usage["Images"])
        only = ask(engine, "GET", "/v1.42/system/df", type="volume")
        if only.status == 200:  # since 1.42
            assert not only.data.get("Containers")
            assert not only.data.get("Images")


def events(engine: Daemon, since: float, **query: Any) -> list[dict[str, Any]]:
    answer = ask(engine, "GET", "/events", since=f"{since:.9f}", until=str(time.time()), **query)
    assert answer.status == 200, answer.body
    return answer.lines


def test_events_of_a_containers_life(engine: Daemon) -> None:
    began = time.time()
    with container(engine, name="eventful", Labels={"k": "v"}) as container_id:
        ask(engine, "POST", f"/containers/{container_id}/pause")
        ask(engine, "POST", f"/containers/{container_id}/unpause")
        ask(engine, "POST", f"/containers/{container_id}/rename", name="renamed")
        ask(engine, "POST", f"/containers/{container_id}/kill")
        wait(engine, container_id)
        ask(engine, "POST", f"/containers/{container_id}/start")
        ask(engine, "POST", f"/containers/{container_id}/stop", t="0")
    time.sleep(0.3)
    found = events(engine, began, filters={"type": ["container"], "container": [container_id]})
    actions = [event["Action"] for event in found]
    assert actions == [
        "create", "start", "pause", "unpause", "rename", "kill", "die", "start", "kill", "kill",
        "die", "stop", "destroy",
    ]  # fmt: skip
    first = found[0]
    assert first["Actor"]["ID"] == container_id == first["id"]
    assert first["Actor"]["Attributes"] == {"image": "busybox", "name": "eventful", "k": "v"}
    assert (first["status"], first["from"], first["scope"]) == ("create", "busybox", "local")
    assert first["timeNano"] // 10**9 == first["time"]
    attributes = {event["Action"]: event["Actor"]["Attributes"] for event in found}
    assert attributes["rename"]["oldName"] == "/eventful"
    assert attributes["kill"]["signal"] in ("9", "15")
    assert attributes["die"]["exitCode"] == "137"
    networks = events(engine, began, filters={"type": ["network"]})
    assert "connect" in [event["Action"] for event in networks]


@pytest.mark.parametrize(
    ("filters", "actions"),
    [
        ({"event": ["start"]}, ["start"]),
        ({"event": ["start", "create"]}, ["create", "start"]),
        ({"label": ["ev=1"]}, ["create", "start"]),
        ({"label": ["ev=2"]}, []),
        ({"container": ["event-filter"]}, ["create", "start"]),
        ({"image": ["busybox"], "type": ["container"]}, ["create", "start"]),
        ({"type": ["volume"]}, []),
        ({"scope": ["swarm"]}, []),
    ],
)
def test_event_filters(engine: Daemon, filters: Any, actions: list[str]) -> None:
    began = time.time()
    with container(engine, name="event-filter", Labels={"ev": "1"}):
        assert [event["Action"] for event in events(engine, began, filters=filters)] == actions


def test_events_refuse_a_wrong_span(engine: Daemon) -> None:
    answer = ask(engine, "GET", "/events", since="20", until="10")
    assert answer.status == 400
    assert "cannot be after" in answer.message


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nosuch", 404),
        ("POST", "/version", 404),
        ("GET", "/v9.9/version", 400),
        ("GET", "/swarm", 503),
        ("GET", "/services", 503),
        ("GET", "/nodes", 503),
        ("GET", "/tasks", 503),
        ("GET", "/secrets", 503),
        ("GET", "/configs", 503),
        ("GET", "/plugins", 200),
        ("GET", "/plugins/x/json", 404),
        ("POST", "/swarm/leave", 503),
    ],
)
def test_what_is_not_offered(engine: Daemon, method: str, path: str, status: int) -> None:
    answer = ask(engine, method, path)
    assert answer.status == status
    if status >= 400:
        assert answer.message


# --- exec


def make_exec(engine: Daemon, container_id: str, *command: str, **body: Any) -> str:
    answer = ask(
        engine,
        "POST",
        f"/containers/{container_id}/exec",
        {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True, **body},
    )
    assert answer.status == 201, answer.body
    exec_id: str = answer.data["Id"]
    return exec_id


def run_exec(engine: Daemon, exec_id: str, **body: Any) -> bytes:
    answer = ask(engine, "POST", f"/exec/{exec_id}/start", {"Detach": False, **body})
    assert answer.status == 200, answer.body
    return answer.body


def test_exec(engine: Daemon) -> None:
    with container(engine, Env=["A=1"]) as container_id:
        made = make_exec(
            engine, container_id, "sh", "-c", "echo $A $B; pwd; id -u; echo err >&2; exit 3",
            Env=["B=2"], WorkingDir="/tmp", User="user",
        )  # fmt: skip
        before = ask(engine, "GET", f"/exec/{made}/json").data
        assert before["Running"] is False
        assert before["ExitCode"] is None
        output = demultiplex(run_exec(engine, made))
        assert b"".join(line for kind, line in output if kind == 1) == b"1 2\n/tmp\n1000\n"
        assert b"".join(line for kind, line in output if kind == 2) == b"err\n"
        after = ask(engine, "GET", f"/exec/{made}/json").data
        assert (after["Running"], after["ExitCode"]) == (False, 3)
        assert after["ContainerID"] == container_id
        assert after["ProcessConfig"]["entrypoint"] == "sh"
        assert after["ProcessConfig"]["user"] == "user"
        assert set(after) >= {"ID", "OpenStdin", "OpenStdout", "OpenStderr", "CanRemove", "Pid"}


def test_exec_with_a_terminal_and_detached(engine: Daemon) -> None:
    with container(engine) as container_id:
        made = make_exec(engine, container_id, "tty", Tty=True)
        assert run_exec(engine, made, Tty=True).startswith(b"/dev/pts/")
        detached = make_exec(engine, container_id, "touch", "/tmp/detached")
        assert ask(engine, "POST", f"/exec/{detached}/start", {"Detach": True}).status == 200
        for _ in range(50):
            if not ask(engine, "GET", f"/exec/{detached}/json").data["Running"]:
                break
            time.sleep(0.05)
        path = f"/containers/{container_id}/archive"
        assert ask(engine, "HEAD", path, path="/tmp/detached").status == 200


def test_exec_refuses(engine: Daemon) -> None:
    with container(engine, start=False) as stopped:
        answer = ask(engine, "POST", f"/containers/{stopped}/exec", {"Cmd": ["true"]})
        assert answer.status == 409
        assert answer.message == f"Container {stopped} is not running".replace(
            "Container", answer.message.split()[0]
        )
    with container(engine) as container_id:
        empty = ask(engine, "POST", f"/containers/{container_id}/exec", {})
        assert (empty.status, empty.message.lower()) == (400, "no exec command specified")
        done = make_exec(engine, container_id, "true")
        run_exec(engine, done)
        again = ask(engine, "POST", f"/exec/{done}/start", {"Detach": True})
        assert again.status == 409
        ask(engine, "POST", f"/containers/{container_id}/pause")
        paused = ask(engine, "POST", f"/containers/{container_id}/exec", {"Cmd": ["true"]})
        assert paused.status == 409
        ask(engine, "POST", f"/containers/{container_id}/unpause")
    for answer in (
        ask(engine, "POST", "/exec/nosuch/start", {}),
        ask(engine, "POST", "/exec/nosuch/resize", h="1", w="1"),
        ask(engine, "GET", "/exec/nosuch/json"),
    ):
        assert answer.status == 404
        assert answer.message == "No such exec instance: nosuch"


# --- hijacked streams over the bare socket


def hijack(
    engine: Daemon, path: str, body: bytes = b"", early: bytes = b"", *, end: bool = False
) -> socket.socket:
    """A connection past its 101; ``early`` is sent right behind the request, ``end`` after it."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(engine.socket)
    kind = b"Content-Type: application/json\r\n" if body else b""
    sock.sendall(
        b"POST " + path.encode() + b" HTTP/1.1\r\nHost: e\r\nConnection: Upgrade\r\n"
        b"Upgrade: tcp\r\n" + kind + b"Content-Length: %d\r\n\r\n" % len(body) + body + early
    )
    if end:
        sock.shutdown(socket.SHUT_WR)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, head
        head += byte
    assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n"), head
    return sock


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def test_attach_with_half_close(engine: Daemon) -> None:
    config = {"OpenStdin": True, "StdinOnce": True}
    with container(engine, "cat", start=False, **config) as container_id:
        path = f"/containers/{container_id}/attach?stream=1&stdin=1&stdout=1&stderr=1"
        with hijack(engine, path) as sock:
            assert ask(engine, "POST", f"/containers/{container_id}/start").status == 204
            sock.sendall(b"hello\n")
            sock.shutdown(socket.SHUT_WR)
            assert demultiplex(read_all(sock)) == [(1, b"hello\n")]
        assert wait(engine, container_id) == 0


def test_several_clients_attach(engine: Daemon) -> None:
    with container(engine, "sh", "-c", "read x; echo got $x", start=False, OpenStdin=True) as one:
        path = f"/containers/{one}/attach?stream=1&stdout=1"
        with (
            hijack(engine, path) as first,
            hijack(engine, path) as second,
            hijack(engine, f"/containers/{one}/attach?stream=1&stdin=1") as writer,
        ):
            ask(engine, "POST", f"/containers/{one}/start")
            writer.sendall(b"it\n")
            assert demultiplex(read_all(first)) == [(1, b"got it\n")]
            assert demultiplex(read_all(second)) == [(1, b"got it\n")]


def test_attach_replays_logs(engine: Daemon) -> None:
    with container(engine, "sh", "-c", "echo before; sleep 60") as container_id:
        time.sleep(0.3)
        path = f"/containers/{container_id}/attach?logs=1&stdout=1"
        with hijack(engine, path) as sock:
            assert demultiplex(read_all(sock)) == [(1, b"before\n")]


def test_attach_detach_keys(engine: Daemon) -> None:
    with container(engine, "cat", start=False, OpenStdin=True, Tty=True) as container_id:
        path = f"/containers/{container_id}/attach?stream=1&stdin=1&stdout=1&detachKeys=ctrl-a,x"
        with hijack(engine, path) as sock:
            ask(engine, "POST", f"/containers/{container_id}/start")
            sock.sendall(b"hi\n")
            time.sleep(0.3)
            sock.sendall(b"\x01x")
            assert b"hi" in read_all(sock)
        state = ask(engine, "GET", f"/containers/{container_id}/json").data["State"]
        assert state["Running"] is True


def test_exec_stdin_half_close(engine: Daemon) -> None:
    with container(engine) as container_id:
        made = make_exec(engine, container_id, "cat", AttachStdin=True)
        body = json.dumps({"Detach": False, "Tty": False}).encode()
        with hijack(engine, f"/exec/{made}/start", body) as sock:
            sock.sendall(b"through")
            sock.shutdown(socket.SHUT_WR)
            assert demultiplex(read_all(sock)) == [(1, b"through")]
        assert ask(engine, "GET", f"/exec/{made}/json").data["ExitCode"] == 0


def test_input_that_ends_before_the_answer_begins(engine: Daemon) -> None:
    with container(engine) as container_id:
        body = json.dumps({"Detach": False, "Tty": False}).encode()
        for _ in range(8):
            made = make_exec(engine, container_id, "cat", AttachStdin=True)
            with hijack(engine, f"/exec/{made}/start", body, b"all at once", end=True) as sock:
                assert demultiplex(read_all(sock)) == [(1, b"all at once")]


def test_the_exit_code_is_known_when_the_output_has_ended(engine: Daemon) -> None:
    with container(engine) as container_id:
        for code in range(8):
            made = make_exec(engine, container_id, "sh", "-c", f"echo x; exit {code}")
            run_exec(engine, made)
            view = ask(engine, "GET", f"/exec/{made}/json").data
            assert (view["Running"], view["ExitCode"]) == (False, code)


def test_a_client_that_does_not_read_holds_nobody(engine: Daemon) -> None:
    script = "i=0; while [ $i -lt 6 ]; do head -c 1000000 /dev/zero; i=$((i+1)); done"
    with container(engine, "sh", "-c", script, start=False) as one:
        path = f"/containers/{one}/attach?stream=1&stdout=1"
        with hijack(engine, path) as idle, hijack(engine, path) as reader:
            ask(engine, "POST", f"/containers/{one}/start")
            assert len(b"".join(part for _, part in demultiplex(read_all(reader)))) == 6_000_000
            assert wait(engine, one) == 0
            assert len(b"".join(part for _, part in demultiplex(read_all(idle)))) == 6_000_000


# --- images


def test_image_list_and_inspect(engine: Daemon) -> None:
    rows = ask(engine, "GET", "/images/json").data
    [row] = [row for row in rows if "busybox:latest" in (row["RepoTags"] or ())]
    assert row["Id"].startswith("sha256:")
    assert row["Size"] > 100_000
    assert row["Containers"] == -1
    view = ask(engine, "GET", "/images/busybox/json").data
    assert set(view) >= {
        "Id", "RepoTags", "RepoDigests", "Comment", "Created", "Author", "Config", "Architecture",
        "Os", "Size", "GraphDriver", "RootFS", "Metadata",
    }  # fmt: skip
    assert view["Id"] == row["Id"]
    assert view["Config"]["Cmd"] == ["sh"]
    short = view["Id"].removeprefix("sha256:")[:12]
    assert ask(engine, "GET", f"/images/{short}/json").data["Id"] == view["Id"]
    assert ask(engine, "GET", "/images/nosuch/json").status == 404


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"reference": ["busy*"]}, True),
        ({"reference": ["other*"]}, False),
        ({"dangling": ["true"]}, False),
        ({"label": ["nosuch"]}, False),
        ({"before": ["busybox"]}, False),
        ({"since": ["busybox"]}, False),
        ({"until": ["90000h"]}, False),
    ],
)
def test_image_filters(engine: Daemon, filters: Any, found: bool) -> None:
    answer = ask(engine, "GET", "/images/json", filters=filters)
    if "until" in filters and answer.status == 400:
        return  # not before Docker 25
    tags = [tag for row in answer.data for tag in row["RepoTags"] or ()]
    assert ("busybox:latest" in tags) is found


def test_image_tag_history_remove(engine: Daemon) -> None:
    assert ask(engine, "POST", "/images/busybox/tag", repo="Bad").status in (400, 500)
    assert ask(engine, "POST", "/images/nosuch/tag", repo="x").status == 404
    assert ask(engine, "POST", "/images/busybox/tag", repo="reg:5000/a/b", tag="1").status == 201
    assert ask(engine, "GET", "/images/reg:5000/a/b:1/json").status == 200
    [layer] = ask(engine, "GET", "/images/reg:5000/a/b:1/history").data
    assert set(layer) >= {"Id", "Created", "CreatedBy", "Tags", "Size", "Comment"}
    removed = ask(engine, "DELETE", "/images/reg:5000/a/b:1", noprune="1")
    assert removed.data == [{"Untagged": "reg:5000/a/b:1"}]
    assert ask(engine, "DELETE", "/images/reg:5000/a/b:1").status == 404


def test_image_save_load(engine: Daemon) -> None:
    ask(engine, "POST", "/images/busybox/tag", repo="saved", tag="1")
    archive = ask(engine, "GET", "/images/saved:1/get")
    assert archive.status == 200
    with tarfile.open(fileobj=io.BytesIO(archive.body)) as opened:
        names = opened.getnames()
        assert "manifest.json" in names
    both = ask(engine, "GET", "/images/get", names="busybox")
    assert both.status == 200
    ask(engine, "DELETE", "/images/saved:1")
    headers = {"Content-Type": "application/x-tar"}
    loaded = ask(engine, "POST", "/images/load", archive.body, headers, quiet="1")
    assert loaded.status == 200
    assert {"stream": "Loaded image: saved:1\n"} in loaded.lines
    assert ask(engine, "DELETE", "/images/saved:1").status == 200
    assert ask(engine, "GET", "/images/nosuch/get").status in (404, 500)


def test_image_import(engine: Daemon) -> None:
    answer = ask(
        engine, "POST", "/images/create", busybox(), {"Content-Type": "application/x-tar"},
        fromSrc="-", repo="imported", tag="1", message="why", changes="ENV X=Y",
    )  # fmt: skip
    assert answer.status == 200
    assert answer.lines[-1]["status"].startswith("sha256:")
    view = ask(engine, "GET", "/images/imported:1/json").data
    assert view["Comment"] == "why"
    assert "X=Y" in view["Config"]["Env"]
    assert ask(engine, "DELETE", "/images/imported:1").status == 200


def server_beside(engine: Daemon, handler: Any) -> http.server.ThreadingHTTPServer:
    """A web server in the network namespace of the engine; the caller's thread goes there."""
    assert engine.process is not None
    with open(f"/proc/{engine.process.pid}/ns/net") as namespace:
        process.setns(namespace.fileno(), process.CLONE_NEWNET)
    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)


def test_image_import_from_an_address(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(busybox())
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadPoolExecutor(1) as thread:  # a thread may have a network namespace of its own
        server = thread.submit(server_beside, engine, handler).result()
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        got = ask(engine, "POST", "/images/create", fromSrc=f"{base}/root.tar", repo="fetched")
        lost = ask(engine, "POST", "/images/create", fromSrc=f"{base}/none.tar", repo="fetched2")
        server.shutdown()
    assert "error" not in got.lines[-1], got.lines
    assert got.lines[0]["status"] == f"Downloading from {base}/root.tar"
    assert got.lines[-1]["status"].startswith("sha256:")
    with container(engine, "true", Image="fetched") as made:
        assert wait(engine, made) == 0
    assert "404" in (lost.lines[-1].get("error") or lost.message)
    assert ask(engine, "DELETE", "/images/fetched").status == 200


def test_image_in_use(engine: Daemon) -> None:
    ask(engine, "POST", "/images/busybox/tag", repo="used", tag="1")
    with container(engine, start=False):
        assert ask(engine, "DELETE", "/images/used:1").data == [{"Untagged": "used:1"}]
        conflict = ask(engine, "DELETE", "/images/busybox")
        assert conflict.status == 409
        assert "unable to remove repository reference" in conflict.message


# --- networks and volumes


def test_predefined_networks(engine: Daemon) -> None:
    rows = {row["Name"]: row for row in ask(engine, "GET", "/networks").data}
    assert set(rows) >= {"bridge", "host", "none"}
    assert rows["host"]["Driver"] == "host"
    assert rows["none"]["Driver"] == "null"
    assert set(rows["bridge"]) >= {
        "Name", "Id", "Created", "Scope", "Driver", "EnableIPv6", "IPAM", "Internal", "Attachable",
        "Ingress", "ConfigFrom", "ConfigOnly", "Options", "Labels",
    }  # fmt: skip
    for name in ("bridge", "host", "none"):
        assert ask(engine, "DELETE", f"/networks/{name}").status == 403


def test_network_life(engine: Daemon) -> None:
    body = {
        "Name": "net-life",
        "Driver": "bridge",
        "Internal": True,
        "Labels": {"k": "v"},
        "IPAM": {"Config": [{"Subnet": "10.98.0.0/24", "Gateway": "10.98.0.1"}]},
    }
    created = ask(engine, "POST", "/networks/create", body)
    assert created.status == 201
    assert set(created.data) == {"Id", "Warning"}
    assert ask(engine, "POST", "/networks/create", body | {"CheckDuplicate": True}).status == 409
    with container(engine) as container_id:
        joined = {
            "Container": container_id,
            "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.98.0.9"}, "Aliases": ["nick"]},
        }
        assert ask(engine, "POST", "/networks/net-life/connect", joined).status == 200
        view = ask(engine, "GET", "/networks/net-life").data
        assert view["Internal"] is True
        assert view["Labels"] == {"k": "v"}
        assert view["Containers"][container_id]["IPv4Address"] == "10.98.0.9/24"
        settings = ask(engine, "GET", f"/containers/{container_id}/json").data["NetworkSettings"]
        assert settings["Networks"]["net-life"]["IPAddress"] == "10.98.0.9"
        assert "nick" in settings["Networks"]["net-life"]["Aliases"]
        assert ask(engine, "DELETE", "/networks/net-life").status == 403
        left = {"Container": container_id, "Force": False}
        assert ask(engine, "POST", "/networks/net-life/disconnect", left).status == 200
    for filters, found in (
        ({"name": ["net-l"]}, True),
        ({"label": ["k=v"]}, True),
        ({"type": ["builtin"]}, False),
        ({"driver": ["bridge"]}, True),
        ({"scope": ["local"]}, True),
        ({"dangling": ["true"]}, True),
        ({"id": [created.data["Id"][:12]]}, True),
    ):
        rows = ask(engine, "GET", "/networks", filters=filters).data
        assert ("net-life" in [row["Name"] for row in rows]) is found, filters
    pruned = ask(engine, "POST", "/networks/prune", filters={"label": ["k=v"]})
    assert pruned.data["NetworksDeleted"] == ["net-life"]
    assert ask(engine, "GET", "/networks/net-life").status == 404


def test_volume_life(engine: Daemon) -> None:
    body = {"Name": "vol-life", "Labels": {"k": "v"}}
    created = ask(engine, "POST", "/volumes/create", body)
    assert created.status == 201
    assert set(created.data) >= {
        "CreatedAt", "Driver", "Labels", "Mountpoint", "Name", "Options", "Scope",
    }  # fmt: skip
    assert ask(engine, "POST", "/volumes/create", body).status == 201
    assert ask(engine, "POST", "/volumes/create", {"Name": "bad name"}).status in (400, 500)
    anonymous = ask(engine, "POST", "/volumes/create", {}).data["Name"]
    assert len(anonymous) == 64
    for filters, found in (
        ({"name": ["vol-l"]}, True),
        ({"label": ["k"]}, True),
        ({"dangling": ["true"]}, True),
        ({"dangling": ["false"]}, False),
        ({"driver": ["local"]}, True),
    ):
        rows = ask(engine, "GET", "/volumes", filters=filters).data["Volumes"] or []
        assert ("vol-life" in [row["Name"] for row in rows]) is found, filters
    with container(engine, start=False, HostConfig={"Binds": ["vol-life:/data"]}):
        assert ask(engine, "DELETE", "/volumes/vol-life").status == 409
    pruned = ask(engine, "POST", "/v1.42/volumes/prune")
    if pruned.status == 200:  # since 1.42 only anonymous ones
        assert anonymous in pruned.data["VolumesDeleted"]
        assert "vol-life" not in pruned.data["VolumesDeleted"]
    assert ask(engine, "DELETE", "/volumes/vol-life").status == 204
    assert ask(engine, "DELETE", "/volumes/vol-life").status == 404
    assert ask(engine, "DELETE", "/volumes/vol-life", force="1").status == 204
    ask(engine, "DELETE", f"/volumes/{anonymous}")


async def test_attach_over_a_websocket(engine: Daemon) -> None:
    config = {"OpenStdin": True, "StdinOnce": True}
    with container(engine, "cat", start=False, **config) as container_id:
        path = f"/containers/{container_id}/attach/ws?stream=1&stdin=1&stdout=1"
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(engine.socket)) as session,
            session.ws_connect(f"http://engine{path}") as websocket,
        ):
            ask(engine, "POST", f"/containers/{container_id}/start")
            await websocket.send_bytes(b"over\n")
            message = await websocket.receive(20)
            data = message.data.encode() if isinstance(message.data, str) else message.data
            assert data == b"over\n"
