# ruff: noqa: E501  (Dockerfiles read better in single lines)
"""Building with BuildKit's clients, unmodified: Docker 20.10's own and the one in Compose v2."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from grpclib.exceptions import GRPCError

from tests import buildkit
from tests.daemon import Daemon
from tests.e2e.test_build import EXPECTED, FILES, archive, post
from tests.images import busybox_archive, debian_archive
from tests.integration.registry.test_transport import HTPASSWD
from tests.peers import compose_v2, docker_20
from tests.registries import docker_registry
from wherry.builder.buildkit.wire import control_pb2 as pb

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def engine() -> Iterator[Daemon]:
    with Daemon() as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        daemon.docker("load", "-i", str(debian_archive()))
        yield daemon


def run(
    engine: Daemon,
    *command: str,
    check: bool = True,
    input: bytes | None = None,
    **environment: str,
) -> str:
    """What a client prints on both its streams."""
    done = subprocess.run(
        command,
        env=engine.client_environment() | {"DOCKER_BUILDKIT": "1"} | environment,
        input=input,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
    )
    text = done.stdout.decode(errors="replace")
    assert not check or done.returncode == 0, text
    assert check or done.returncode != 0, text
    return text


def build(
    engine: Daemon, dockerfile: str, *flags: str, check: bool = True, **environment: str
) -> str:
    """What Docker 20.10 prints when it builds from a Dockerfile alone."""
    command = (docker_20(), "build", "--progress", "plain", *flags, "-")
    return run(engine, *command, input=dockerfile.encode(), check=check, **environment)


def compose(engine: Daemon, folder: Path, services: object, *words: str, check: bool = True) -> str:
    file = folder / "compose.yaml"
    file.write_text(json.dumps({"name": "bk", "services": services}))
    command = (str(compose_v2()), "--progress", "plain", "-f", str(file), *words)
    return run(engine, *command, check=check)


def test_dockerfiles_of_all_kinds(engine: Daemon, tmp_path: Path) -> None:
    run(engine, docker_20(), "build", "-q", "-t", "onbuild_base", str(FILES / "onbuild-base"))
    services = {
        name: {"image": f"bk-{name}", "build": {"context": str(FILES / name)}} for name in EXPECTED
    }
    compose(engine, tmp_path, services, "build")
    found = {name: engine.docker("run", "--rm", f"bk-{name}").stdout for name in EXPECTED}
    assert found == EXPECTED
    for name in EXPECTED:
        again = run(engine, docker_20(), "build", "--progress", "plain", str(FILES / name))
        steps = re.findall(r"^#(\d+) \[.*\] (?:RUN|COPY|ADD|WORKDIR)", again, re.MULTILINE)
        assert all(f"#{step} CACHED" in again for step in steps), again


def test_progress_is_told_by_vertex(engine: Daemon) -> None:
    output = build(
        engine,
        "FROM busybox AS base\nRUN echo to-be-seen\nFROM base\nENV A=b\nRUN true\n",
        *("-t", "told", "--no-cache"),
    )
    for line in (
        "[internal] load build definition from Dockerfile",
        "[base 1/2] FROM busybox AS base",
        "[base 2/2] RUN echo to-be-seen",
        "[stage-1 2/2] RUN true",
        "exporting to image",
        "naming to docker.io/library/told:latest",
    ):
        assert re.search(rf"^#\d+ {re.escape(line)}", output, re.MULTILINE), (line, output)
    assert re.search(r"^#\d+ [\d.]+ to-be-seen$", output, re.MULTILINE), output
    image = re.search(r"writing image (sha256:\w+)", output)
    assert image
    assert engine.docker("image", "inspect", "-f", "{{.Id}}", "told").stdout.strip() == image[1]
    quiet = build(engine, "FROM busybox\nRUN true\n", "-q").strip()
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", quiet)


@pytest.mark.parametrize(
    ("dockerfile", "message"),
    [
        ("FROM busybox\nRUN echo seen; exit 7", 'process "/bin/sh -c echo seen; exit 7" did not complete successfully: exit code: 7'),
        ("FROM busybox\nRUNN x", "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)"),
        ("FROM busybox\nCOPY nope /", "nope"),
        ("FROM busybox\nRUN --mount=type=secret,id=none,required=true true", "secret none: not found"),
        ("FROM busybox\nRUN --mount=type=ssh,required=true true", 'no SSH key "default" forwarded from the client'),
        ("FROM busybox\nRUN --network=host true", "network.host is not allowed"),
        ("# check=error=true\nFROM busybox\nWORKDIR a\nCMD a", "lint violation found for rules: WorkdirRelativePath, JSONArgsRecommended"),
    ],
)  # fmt: skip
def test_failures(engine: Daemon, tmp_path: Path, dockerfile: str, message: str) -> None:
    assert message in build(engine, dockerfile, check=False)
    (tmp_path / "Dockerfile").write_text(dockerfile)
    failed = compose(engine, tmp_path, {"x": {"build": str(tmp_path)}}, "build", check=False)
    assert f"failed to solve: {message}" in failed or message in failed


def test_secrets_and_agents_of_the_session(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush-hush")
    agent = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL
    )
    try:
        _generate_key(tmp_path)
        output = build(
            engine,
            "FROM debian\n"
            "RUN --mount=type=secret,id=word cat /run/secrets/word; stat -c %a /run/secrets/word\n"
            "RUN --mount=type=secret,id=word,env=WORD echo $WORD | rev\n"
            """RUN --mount=type=ssh perl -MIO::Socket::UNIX -e 'alarm 60; $s = IO::Socket::UNIX->new($ENV{SSH_AUTH_SOCK}) or die $!; syswrite($s, pack("NC", 1, 11)); while (sysread($s, $c, 4096)) { $b .= $c; if ($b =~ /(wherry-\\w+)/) { print "$1\\n"; last } }'\n"""
            "RUN ls -A /run\n",
            *("--no-cache", "-t", "bk-secret"),
            *("--secret", f"id=word,src={tmp_path}/secret", "--ssh", "default"),
            SSH_AUTH_SOCK=str(tmp_path / "agent"),
        )
    finally:
        agent.terminate()
        agent.wait(10)
    assert re.search(r"^#\d+ [\d.]+ hush-hush400$", output, re.MULTILINE), output
    assert re.search(r"^#\d+ [\d.]+ hsuh-hsuh$", output, re.MULTILINE), output
    assert re.search(r"^#\d+ [\d.]+ wherry-test$", output, re.MULTILINE), output
    assert "hush" not in engine.docker("history", "--no-trunc", "bk-secret").stdout
    assert "secrets" not in engine.docker("run", "--rm", "bk-secret", "ls", "/run").stdout


def _generate_key(folder: Path) -> None:
    """A key in the agent at ``folder/agent``, which may still be starting."""
    key = str(folder / "key")
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "wherry-test", "-f", key], check=True
    )
    environment = os.environ | {"SSH_AUTH_SOCK": str(folder / "agent")}
    deadline = time.monotonic() + 30
    while subprocess.run(["ssh-add", "-q", key], env=environment, capture_output=True).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_results_go_to_the_client(engine: Daemon, tmp_path: Path) -> None:
    dockerfile = (
        "FROM scratch\nCOPY --chmod=640 <<big /dir/big.txt\n"
        + "line\n" * 20_000
        + "big\nCOPY <<small /a\nx\nsmall\n"
    )
    build(engine, dockerfile, "-o", str(tmp_path / "out"))
    assert (tmp_path / "out/dir/big.txt").read_text() == "line\n" * 20_000
    assert (tmp_path / "out/dir/big.txt").stat().st_mode & 0o777 == 0o640
    build(engine, dockerfile, "-o", f"type=tar,dest={tmp_path}/out.tar")
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert archive.getnames() == ["a", "dir", "dir/big.txt"]
    before = engine.docker("images", "-aq").stdout
    assert engine.docker("images", "-aq").stdout == before


def test_contexts_are_filtered_by_the_client(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("*\n!keep\n!sub/*.txt\n")
    (tmp_path / "sub").mkdir()
    for name in ("keep", "drop", "sub/a.txt", "sub/b.bin"):
        (tmp_path / name).write_text(name)
    os.symlink("keep", tmp_path / "sub/link.txt")
    os.chmod(tmp_path / "keep", 0o751)
    (tmp_path / "other").write_text(
        "FROM busybox\nCOPY . /all\nRUN cd /all; find . -type f -o -type l | sort; stat -c %a keep\n"
    )
    output = run(
        engine, docker_20(), "build", "--progress", "plain", "--no-cache",
        "-f", str(tmp_path / "other"), str(tmp_path),
    )  # fmt: skip
    said = re.findall(r"^#\d+ [\d.]+ (.*)$", output, re.MULTILINE)
    assert said[-4:] == ["./keep", "./sub/a.txt", "./sub/link.txt", "751"], output


def test_an_archive_as_context(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY word /\nRUN cat /word\n")
    (tmp_path / "word").write_text("from-the-archive\n")
    packed = subprocess.run(["tar", "-cz", "-C", str(tmp_path), "."], stdout=-1, check=True).stdout
    output = run(engine, docker_20(), "build", "--progress", "plain", "-", input=packed)
    assert re.search(r"^#\d+ [\d.]+ from-the-archive$", output, re.MULTILINE), output


def test_a_request_may_bring_its_context_without_a_session(engine: Daemon) -> None:
    context = archive({"Dockerfile": "FROM busybox\nCOPY w /w\nRUN cat /w\n", "w": "brought\n"})
    objects = post(engine, context, version=2, t="bk-brought")
    assert {item["id"] for item in objects} == {"moby.buildkit.trace", "moby.image.id"}
    assert engine.docker("run", "--rm", "bk-brought", "cat", "/w").stdout == "brought\n"
    (failed,) = post(engine, archive({"Dockerfile": "FROM"}), version=2, q=1)
    assert failed["status"] == 400
    assert "FROM" in failed["message"]
    assert engine.request("POST", "/build/cancel?id=nobody")[0] == 200
    assert engine.request("POST", "/build?version=3", context)[0] == 400


def test_compose_up_builds_first(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox AS first\nARG WORD\nRUN echo $WORD > /word\nCMD cat /word\n"
        "FROM first\nRUN false\n"
    )
    service = {
        "build": {
            "context": str(tmp_path),
            "target": "first",
            "args": {"WORD": "told"},
            "labels": {"made.by": "compose"},
        }
    }
    try:
        output = compose(
            engine, tmp_path, {"web": service}, "up", "--build", "--exit-code-from", "web"
        )
        assert re.search(r"web-1\s+\| told", output), output
        labels = engine.docker("image", "inspect", "-f", "{{json .Config.Labels}}", "bk-web").stdout
        assert json.loads(labels)["made.by"] == "compose"
    finally:
        compose(engine, tmp_path, {"web": service}, "down")


def test_builds_go_on_together_and_stop_when_told(engine: Daemon) -> None:
    client = subprocess.Popen(
        [docker_20(), "build", "--progress", "plain", "--no-cache", "-"],
        env=engine.client_environment() | {"DOCKER_BUILDKIT": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert client.stdin and client.stdout
    client.stdin.write(b"FROM busybox\nRUN echo begun; sleep 600\n")
    client.stdin.close()
    watchdog = threading.Timer(120, client.kill)
    watchdog.start()
    for line in client.stdout:
        if line.rstrip().endswith(b" begun"):
            break
    assert "seen" in build(engine, "FROM busybox\nRUN echo seen\n", "--no-cache")
    client.terminate()
    client.wait(60)
    watchdog.cancel()
    roots = engine.data_root / "roots" / "overlay"
    deadline = time.monotonic() + 60
    while any(roots.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def test_results_of_direct_solves(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY word /w\nCMD cat /w\n")
    (tmp_path / "word").write_text("direct\n")
    response, results, news, _ = await buildkit.solve(
        engine.socket,
        tmp_path,
        ("image", {"name": "bk-direct:1,bk-direct:2"}),
        ("docker", {"name": "bk-archived"}),
        ("oci", {}),
        ("tar", {}),
    )
    image = engine.docker("image", "inspect", "-f", "{{.Id}}", "bk-direct:2").stdout.strip()
    assert response.exporter_response["containerimage.digest"] == image
    assert response.exporter_response["containerimage.config.digest"] == image
    assert engine.docker("run", "--rm", "bk-direct:1").stdout == "direct\n"
    (tmp_path / "archive.tar").write_bytes(results.files["1"])
    assert "bk-archived:latest" in engine.docker("load", "-i", f"{tmp_path}/archive.tar").stdout
    assert {"oci-layout", "index.json"} <= set(results.archive(2).getnames())
    assert results.archive(3).extractfile("w").read() == b"direct\n"  # type: ignore[union-attr]
    names = {vertex.name for item in news for vertex in item.vertexes}
    assert "[2/2] COPY word /w" in names


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (pb.SolveRequest(frontend="other.v0"), "frontend other.v0 not found"),
        (pb.SolveRequest(frontend="dockerfile.v0"), "the build has no session"),
        (pb.SolveRequest(definition={"def": [b"x"]}), "operation graphs (LLB) are not built"),
        (pb.SolveRequest(frontend="dockerfile.v0", source_policy={}), "source policies are not offered"),
        (pb.SolveRequest(frontend="dockerfile.v0", exporter="never"), "exporter 'never' could not be found"),
        (pb.SolveRequest(frontend="dockerfile.v0", cache={"exports": [{"type": "s3"}]}), "unknown cache exporter: 's3'"),
    ],
)  # fmt: skip
async def test_solves_that_are_refused(
    engine: Daemon, request_: pb.SolveRequest, message: str
) -> None:
    request_.ref = message
    async with buildkit.control(engine.socket) as control:
        with pytest.raises(GRPCError) as refused:
            await control.Solve(request_)
    assert message in str(refused.value.message)


async def test_workers_usage_and_prune_of_the_control_service(engine: Daemon) -> None:
    build(engine, "FROM busybox\nRUN dd if=/dev/zero of=/b bs=1M count=2 2>/dev/null\n")
    async with buildkit.control(engine.socket) as control:
        (worker,) = (await control.ListWorkers(pb.ListWorkersRequest())).record
        assert worker.platforms[0].os == "linux"
        gateway = worker.labels["org.mobyproject.buildkit.worker.moby.host-gateway-ip"]
        assert ipaddress.ip_address(gateway)
        info = await control.Info(pb.InfoRequest())
        assert info.buildkit_version.version.startswith("v0.")
        records = (await control.DiskUsage(pb.DiskUsageRequest())).record
        big = [record for record in records if record.size >= 2 << 20]
        assert big
        assert big[0].record_type == "regular"
        pruned = await control.Prune(pb.PruneRequest(filter=[f"id=={big[0].id}"]))
        assert [record.id for record in pruned] == [big[0].id]
        left = (await control.DiskUsage(pb.DiskUsageRequest())).record
        assert len(left) == len(records) - 1


def test_private_images_come_with_the_clients_credentials(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    extra = f"auth: {{htpasswd: {{realm: r, path: {tmp_path}/htpasswd}}}}"
    with docker_registry(tmp_path, extra) as registry:
        name = f"{registry}/private/base:1"
        dockerfile = f"FROM {name}\nRUN echo reached\n"
        engine.docker("tag", "busybox", name)
        engine.docker("login", "-u", "user", "-p", "secret", registry)
        engine.docker("push", name)
        engine.docker("rmi", name)
        assert "reached" in build(engine, dockerfile, "--no-cache")
        engine.docker("rmi", name)
        engine.docker("logout", registry)
        assert "reached" not in build(engine, dockerfile, "--no-cache", check=False)


def test_usage_and_prune(engine: Daemon) -> None:
    build(engine, "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=3 2>/dev/null\n")
    usage = engine.json("GET", "/system/df?type=build-cache")["BuildCache"]
    assert any(record["Size"] >= 3 << 20 for record in usage)
    pruned = run(engine, docker_20(), "builder", "prune", "-af")
    assert "Total reclaimed space" in pruned
    assert engine.json("GET", "/system/df?type=build-cache")["BuildCache"] == []


async def test_questions_about_a_dockerfile(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox as x\nMAINTAINER me\n")
    answer = await buildkit.ask(engine.socket, tmp_path, "frontend.lint")
    found = json.loads(answer["result.json"])
    assert {
        w["ruleName"]: w["location"]["ranges"][0]["start"]["line"] for w in found["warnings"]
    } == {
        "FromAsCasing": 1,
        "MaintainerDeprecated": 2,
    }
    assert answer["result.statuscode"] == b"1"
    assert b"  Dockerfile:2\n" in answer["result.txt"]
    described = await buildkit.ask(engine.socket, tmp_path, "frontend.subrequests.describe")
    assert "frontend.lint" in [item["name"] for item in json.loads(described["result.json"])]
    with pytest.raises(GRPCError, match="unsupported request"):
        await buildkit.ask(engine.socket, tmp_path, "frontend.unknown")


@pytest.mark.parametrize("target", ["/grpc", "/session"])
def test_nonsense_on_upgraded_connections(engine: Daemon, target: str) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for sent in (b"", b"\0" * 100, preface, preface + b"\xff" * 2000, b"x" * 100_000):
        sock = buildkit.upgrade(engine.socket, target, "X-Docker-Expose-Session-Uuid: nonsense")
        sock.setblocking(True)
        with sock, contextlib.suppress(OSError):
            sock.sendall(sent)
    status, _ = engine.request("POST", target)
    assert status == 400
    assert "Traceback" not in engine.log_text()
    assert "seen" in build(engine, "FROM busybox\nRUN echo seen\n", "--no-cache")


def test_other_engines_memory_is_not_spent() -> None:
    """gRPC is imported with the first request of a BuildKit client."""
    code = "import sys, wherry.engine.engine, wherry.api.routes; print('grpclib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=-1, check=True).stdout == b"False\n"
