"""A client that does random things to its own containers and knows what must hold."""

from __future__ import annotations

import io
import json
import random
import socket
import tarfile
import time
from collections.abc import Callable
from typing import Any

from tests.daemon import Daemon

SLEEPER = ["sh", "-c", "echo begun; exec sleep 1000"]
PATIENCE = 60.0
HEALTH = {"Test": ["CMD", "true"], "Interval": 1_000_000_000}


def create(daemon: Daemon, command: list[str], **fields: object) -> str:
    """Make a container; returns its id."""
    body = {"Image": "busybox", "Cmd": command, **fields}
    made: str = daemon.json("POST", "/containers/create", body)["Id"]
    return made


class Walker:
    """One client; ``walk`` goes on until a time and then removes all it made."""

    def __init__(self, daemon: Daemon, seed: int) -> None:
        self.daemon = daemon
        self.chance = random.Random(seed)
        self.name = f"walker{seed}"
        self.running: list[str] = []
        self.stopped: list[str] = []
        self.steps = 0
        self.network = ""

    def walk(self, until: float) -> None:
        """Do one thing after another until the monotonic time ``until``."""
        made = self.daemon.json("POST", "/networks/create", {"Name": self.name})
        self.network = made["Id"]
        while time.monotonic() < until:
            self.chance.choice(ACTIONS)(self)
            self.steps += 1
        for container in self.running + self.stopped:
            self.daemon.json("DELETE", f"/containers/{container}?force=1&v=1")
        self.daemon.json("DELETE", f"/networks/{self.network}")

    # Lives

    def start(self) -> None:
        if self.stopped and self.chance.random() < 0.5:
            container = self.stopped.pop()
        else:
            fields, host = self.chance.choice(
                [
                    ({}, {}),
                    ({"Tty": True}, {}),
                    ({"Healthcheck": HEALTH}, {}),
                    ({"Volumes": {"/data": {}}}, {"Tmpfs": {"/run": ""}}),
                    ({}, {"RestartPolicy": {"Name": "always"}}),
                    ({}, {"NetworkMode": self.network}),
                    ({}, {"NetworkMode": "none", "Init": True}),
                    ({"ExposedPorts": {"80/tcp": {}}}, {"PublishAllPorts": True}),
                ]
            )
            container = create(self.daemon, SLEEPER, HostConfig=host, **fields)
        self.post(container, "start")
        self.running.append(container)

    def stop(self) -> None:
        if self.running:
            container = self.running.pop(self.chance.randrange(len(self.running)))
            self.post(container, self.chance.choice(["stop?t=0", "kill"]))
            self.daemon.json("POST", f"/containers/{container}/wait")
            self.stopped.append(container)

    def restart(self) -> None:
        if container := self.one():
            self.post(container, "restart?t=0")

    def pause(self) -> None:
        if container := self.one():
            self.post(container, "pause")
            assert self.state(container)["Paused"]
            self.post(container, "unpause")

    def remove(self) -> None:
        pool = self.stopped or self.running
        if pool:
            self.daemon.json("DELETE", f"/containers/{pool.pop()}?force=1&v=1")

    def fail_and_restart(self) -> None:
        policy = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 1}}
        container = create(self.daemon, ["false"], HostConfig=policy)
        self.post(container, "start")
        deadline = time.monotonic() + PATIENCE
        while self.state(container)["Status"] != "exited":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        view = self.daemon.json("GET", f"/containers/{container}/json")
        assert (view["RestartCount"], view["State"]["ExitCode"]) == (1, 1)
        self.daemon.json("DELETE", f"/containers/{container}")

    def vanish(self) -> None:
        container = create(self.daemon, ["true"], HostConfig={"AutoRemove": True})
        self.post(container, "start")
        status, _ = self.daemon.request("POST", f"/containers/{container}/wait?condition=removed")
        assert status in (200, 404)
        assert self.daemon.request("GET", f"/containers/{container}/json")[0] == 404

    # Looking and changing

    def look(self) -> None:
        listed = {c["Id"] for c in self.daemon.json("GET", "/containers/json")}
        assert set(self.running) <= listed
        assert not set(self.stopped) & listed

    def execute(self) -> None:
        if container := self.one():
            body = {"Cmd": ["sh", "-c", "exit 5"], "AttachStdout": True}
            made = self.daemon.json("POST", f"/containers/{container}/exec", body)["Id"]
            status, _ = self.daemon.request("POST", f"/exec/{made}/start", {"Detach": False})
            assert status == 200
            assert self.daemon.json("GET", f"/exec/{made}/json")["ExitCode"] == 5

    def abandon_exec(self) -> None:
        """The client goes away while its exec runs; the exec is ended by other means."""
        if container := self.one():
            body = {"Cmd": ["sleep", "0.3"], "AttachStdout": True}
            made = self.daemon.json("POST", f"/containers/{container}/exec", body)["Id"]
            self.abandon("POST", f"/exec/{made}/start", {"Detach": False})

    def follow_and_go(self) -> None:
        if container := self.one():
            path = self.chance.choice(
                ["logs?stdout=1&follow=1", "attach?stream=1&stdout=1&stdin=1", "stats", "export"]
            )
            method = "POST" if path.startswith("attach") else "GET"
            self.abandon(method, f"/containers/{container}/{path}")

    def copy(self) -> None:
        if container := self.one():
            content = self.chance.randbytes(self.chance.randrange(200_000))
            archive = io.BytesIO()
            with tarfile.open(fileobj=archive, mode="w") as tar:
                member = tarfile.TarInfo("copied")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            path = f"/containers/{container}/archive?path=/tmp"
            status, answer = self.daemon.request("PUT", path, archive.getvalue())
            assert status == 200, answer
            status, answer = self.daemon.request("GET", path + "/copied")
            assert status == 200
            with tarfile.open(fileobj=io.BytesIO(answer)) as tar:
                found = tar.extractfile("copied")
                assert found is not None
                assert found.read() == content

    def measure(self) -> None:
        if container := self.one():
            view = self.daemon.json("GET", f"/containers/{container}/stats?stream=0&one-shot=1")
            assert view["pids_stats"]["current"] >= 1
            assert self.daemon.json("GET", f"/containers/{container}/top")["Processes"]

    def change(self) -> None:
        if container := self.one():
            name = f"{self.name}-{self.steps}"
            self.post(container, f"rename?name={name}")
            self.daemon.json("POST", f"/containers/{container}/update", {"CpuShares": 512})
            view = self.daemon.json("GET", f"/containers/{name}/json")
            assert (view["Id"], view["HostConfig"]["CpuShares"]) == (container, 512)

    def commit(self) -> None:
        if container := self.one():
            path = f"/commit?container={container}&repo={self.name}&tag={self.steps}&pause=0"
            self.daemon.json("POST", path, {})
            self.daemon.json("DELETE", f"/images/{self.name}:{self.steps}")

    def connect(self) -> None:
        if container := self.one():
            wish = {"Container": container}
            view = self.daemon.json("GET", f"/containers/{container}/json")
            attached = view["NetworkSettings"]["Networks"]
            if self.name in attached:
                if len(attached) > 1:
                    self.daemon.json("POST", f"/networks/{self.network}/disconnect", wish)
            elif "none" not in attached:
                self.daemon.json("POST", f"/networks/{self.network}/connect", wish)

    def volume(self) -> None:
        made = self.daemon.json("POST", "/volumes/create", {"Labels": {"of": self.name}})["Name"]
        self.daemon.json("DELETE", f"/volumes/{made}")

    # Helpers

    def one(self) -> str:
        """Any running container, "" when there is none."""
        return self.chance.choice(self.running) if self.running else ""

    def post(self, container: str, action: str) -> None:
        status, answer = self.daemon.request("POST", f"/containers/{container}/{action}")
        assert status < 400, f"{action}: {status} {answer!r}"

    def state(self, container: str) -> dict[str, Any]:
        state: dict[str, Any] = self.daemon.json("GET", f"/containers/{container}/json")["State"]
        return state

    def abandon(self, method: str, path: str, body: object = None) -> None:
        """Send a request, read the head of the answer, go away."""
        content = json.dumps(body).encode() if body is not None else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(PATIENCE)
            stream.connect(self.daemon.socket)
            stream.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            assert stream.recv(12).split()[1] in (b"200", b"101")


ACTIONS: list[Callable[[Walker], None]] = [
    Walker.start,
    Walker.start,
    Walker.stop,
    Walker.restart,
    Walker.pause,
    Walker.remove,
    Walker.remove,
    Walker.fail_and_restart,
    Walker.vanish,
    Walker.look,
    Walker.execute,
    Walker.abandon_exec,
    Walker.follow_and_go,
    Walker.copy,
    Walker.measure,
    Walker.change,
    Walker.commit,
    Walker.connect,
    Walker.volume,
]
