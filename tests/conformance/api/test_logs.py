"""``docker logs`` of containers that write without end."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from tests.conformance.api.http import ask, container, demultiplex
from tests.daemon import Daemon, docker_client

pytestmark = pytest.mark.root

DRIVERS = {
    "json-file": {},
    "json-file, rotated": {"max-size": "200k", "max-file": "3"},
    "json-file, compressed": {"max-size": "200k", "max-file": "3", "compress": "true"},
    "local": {"max-size": "200k", "max-file": "3"},
}
COUNT = 'i=0; while true; do i=$((i+1)); echo "$i"; done'


@pytest.fixture(params=DRIVERS)
def busy(engine: Daemon, request: pytest.FixtureRequest) -> Iterator[str]:
    """A container that counts without end, after its first rotation."""
    name = request.param
    log = {"Type": name.partition(",")[0], "Config": DRIVERS[name]}
    config = {"NetworkMode": "none", "LogConfig": log}
    with container(engine, "sh", "-c", COUNT, HostConfig=config) as container_id:
        for line in _follow(engine, container_id):
            if int(line) > 10_000:
                break
        yield container_id


def _follow(engine: Daemon, container_id: str) -> Iterator[str]:
    command = [docker_client(), "logs", "-f", container_id]
    environment = engine.client_environment()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as logs:
        assert logs.stdout is not None
        try:
            yield from logs.stdout
        finally:
            logs.kill()


def numbers(text: str) -> list[int]:
    """The numbers in an output, which follow each other."""
    found = [int(line) for line in text.splitlines()]
    assert found == list(range(found[0], found[0] + len(found))) if found else True
    return found


def test_without_follow_every_answer_ends(engine: Daemon, busy: str) -> None:
    before = numbers(engine.docker("logs", "--tail", "1", busy).stdout)[0]
    assert numbers(engine.docker("logs", busy).stdout)[-1] >= before
    first, last = times(engine, busy, "--tail", "2")
    assert min(times(engine, busy, "--since", first)) >= first
    assert max(times(engine, busy, "--tail", "9", "--until", last), default="") <= last
    for tail in (0, 1, 3_000):
        output = engine.docker("logs", "--tail", str(tail), busy).stdout
        assert len(numbers(output)) == tail
        answer = ask(engine, "GET", f"/containers/{busy}/logs", stdout="1", tail=str(tail))
        assert len(demultiplex(answer.body)) == tail


def times(engine: Daemon, container_id: str, *options: str) -> list[str]:
    """The time of each line; of one width, so that they compare as texts."""
    lines = engine.docker("logs", "-t", *options, container_id).stdout.splitlines()
    return [line.split()[0] for line in lines]
