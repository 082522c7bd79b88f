"""The Docker SDK for Python, over its objects and methods."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound
from tests.conformance.api.images import busybox
from tests.daemon import Daemon


@pytest.fixture(scope="module", params=["auto", "1.24", "1.45"])
def client(engine: Daemon, request: pytest.FixtureRequest) -> Iterator[Any]:
    made = docker.DockerClient(base_url=f"unix://{engine.socket}", version=request.param)
    yield made
    made.close()


def test_system(client: Any) -> None:
    assert client.ping() is True
    assert client.version()["Os"] == "linux"
    assert client.info()["OSType"] == "linux"
    if client.api._version != "1.24":  # df came with 1.25
        assert "LayersSize" in client.df()


def test_run(client: Any) -> None:
    assert client.containers.run("busybox", "echo hi", remove=True) == b"hi\n"
    both = client.containers.run(
        "busybox", ["sh", "-c", "echo out; echo err >&2"], remove=True, stderr=True
    )
    assert sorted(both.splitlines()) == [b"err", b"out"]
    with pytest.raises(ContainerError) as failure:
        client.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    assert failure.value.exit_status == 3
    assert failure.value.stderr == b"bad\n"
    with pytest.raises(NotFound):
        client.containers.get("nosuch")
    with pytest.raises(ImageNotFound):
        client.images.get("nosuch")


def test_container_methods(client: Any) -> None:
    box = client.containers.run(
        "busybox", "sleep 60", detach=True, name="sdk", labels={"k": "v"}, environment={"A": "b"},
        mem_limit="64m", working_dir="/tmp", hostname="box",
    )  # fmt: skip
    try:
        box.reload()
        assert (box.status, box.name, box.labels) == ("running", "sdk", {"k": "v"})
        assert box.image.tags == ["busybox:latest"]
        code, output = box.exec_run("sh -c 'echo $A; pwd; hostname'")
        assert (code, output) == (0, b"b\n/tmp\nbox\n")
        code, output = box.exec_run(["sh", "-c", "echo o; echo e >&2"], demux=True)
        assert output == (b"o\n", b"e\n")
        assert list(box.exec_run("echo streamed", stream=True).output) == [b"streamed\n"]
        assert box.top()["Processes"][0][-1] == "sleep 60"
        assert box.stats(stream=False)["memory_stats"]["usage"] > 0
        box.pause()
        box.reload()
        assert box.status == "paused"
        with pytest.raises(APIError, match=f"Container {box.id} is paused, unpause the container"):
            box.exec_run("true")
        box.unpause()
        box.rename("sdk2")
        assert client.containers.get("sdk2").id == box.id
        box.update(mem_limit="96m", memswap_limit="96m")
        box.restart(timeout=0)
        assert [found.id for found in client.containers.list(filters={"label": "k=v"})] == [box.id]
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            entry = tarfile.TarInfo("put")
            entry.size = 3
            archive.addfile(entry, io.BytesIO(b"abc"))
        assert box.put_archive("/tmp", buffer.getvalue()) is True
        chunks, stat = box.get_archive("/tmp/put")
        assert (stat["name"], stat["size"]) == ("put", 3)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            member = archive.extractfile("put")
            assert member is not None
            assert member.read() == b"abc"
        assert {"Path": "/tmp/put", "Kind": 1} in box.diff()
        assert len(b"".join(box.export())) > 100_000
        image = box.commit("sdk-commit", "1", message="m", author="a", changes="ENV X=1")
        assert image.tags == ["sdk-commit:1"]
        client.images.remove("sdk-commit:1")
        box.kill("SIGKILL")
        assert box.wait()["StatusCode"] == 137
        assert box.logs() == b""
    finally:
        box.remove(force=True, v=True)


def test_logs(client: Any) -> None:
    box = client.containers.run("busybox", ["sh", "-c", "echo a; sleep 0.3; echo b"], detach=True)
    try:
        assert b"".join(box.logs(stream=True, follow=True)) == b"a\nb\n"
        assert box.logs(tail=1) == b"b\n"
        assert box.logs(timestamps=True).count(b"Z ") == 2
        assert box.logs(stdout=False) == b""
    finally:
        box.remove(force=True)


def test_attach_socket(client: Any) -> None:
    box = client.containers.create("busybox", "cat", stdin_open=True)
    try:
        sock = box.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
        box.start()
        sock._sock.sendall(b"ping\n")
        time.sleep(0.3)
        assert sock._sock.recv(100).endswith(b"ping\n")
        sock.close()
    finally:
        box.remove(force=True)


def test_events(client: Any) -> None:
    seen: list[str] = []
    stream = client.events(decode=True, filters={"type": "container"})

    def collect() -> None:
        for event in stream:
            seen.append(event["Action"])
            if event["Action"] == "destroy":
                return

    thread = threading.Thread(target=collect)
    thread.start()
    time.sleep(0.2)
    client.containers.run("busybox", "true", remove=True)
    thread.join(20)
    stream.close()
    assert [action for action in seen if action != "attach"] == [
        "create", "start", "die", "destroy",
    ]  # fmt: skip


def test_images(client: Any) -> None:
    image = client.images.get("busybox")
    assert image.tag("sdk-tag", "1") is True
    assert "sdk-tag:1" in client.images.get("sdk-tag:1").tags
    assert client.images.list("sdk-tag")
    assert image.history()
    saved = b"".join(client.images.get("sdk-tag:1").save(named="sdk-tag:1"))
    client.images.remove("sdk-tag:1")
    [loaded] = client.images.load(saved)
    assert "sdk-tag:1" in loaded.tags
    client.images.remove("sdk-tag:1")
    client.api.import_image_from_data(busybox(), repository="sdk-import", tag="1")
    client.images.remove("sdk-import:1")


def test_networks_and_volumes(client: Any) -> None:
    network = client.networks.create("sdk-net", driver="bridge", labels={"a": "b"})
    volume = client.volumes.create("sdk-vol", labels={"a": "b"})
    try:
        box = client.containers.run(
            "busybox", "sleep 60", detach=True, network="sdk-net",
            volumes={"sdk-vol": {"bind": "/data", "mode": "rw"}},
        )  # fmt: skip
        try:
            network.reload()
            assert [attached.id for attached in network.containers] == [box.id]
            network.disconnect(box)
            network.connect(box, aliases=["nick"])
            assert [found.name for found in client.networks.list(names=["sdk-net"])] == ["sdk-net"]
            assert [v.name for v in client.volumes.list(filters={"label": "a=b"})] == ["sdk-vol"]
            with pytest.raises(APIError):
                volume.remove()
        finally:
            box.remove(force=True)
    finally:
        network.remove()
        volume.remove()


def test_a_restart_that_fails_says_so(client: Any) -> None:
    box = client.containers.create("busybox", "true", network_mode="nosuch")
    try:
        told = f"Cannot restart container {box.id}: .*network nosuch not found"
        with pytest.raises(NotFound, match=told):
            box.restart()
    finally:
        box.remove()


def test_a_network_shows_its_ipv4_pool_first(client: Any) -> None:
    pool = docker.types.IPAMPool(subnet="fd00:7777::/64")
    ipam = docker.types.IPAMConfig(pool_configs=[pool])
    network = client.networks.create("two-pools", enable_ipv6=True, ipam=ipam)
    try:
        network.reload()
        first, second = (one["Subnet"] for one in network.attrs["IPAM"]["Config"])
        assert ":" not in first
        assert second == "fd00:7777::/64"
    finally:
        network.remove()
