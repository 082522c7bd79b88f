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


@pytest.fixture(scope="module", params=DRIVERS)
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


def test_without_follow_the_answer_ends(engine: Daemon, busy: str) -> None:
    before = numbers(engine.docker("logs", "--tail", "1", busy).stdout)[0]
    everything = numbers(engine.docker("logs", busy).stdout)
    assert everything[-1] >= before
    assert numbers(engine.docker("logs", "--tail", "1", busy).stdout)[0] >= everything[-1]


@pytest.mark.parametrize("tail", [0, 1, 10, 3_000])
def test_tail_gives_as_many_lines_as_were_asked_for(engine: Daemon, busy: str, tail: int) -> None:
    assert len(numbers(engine.docker("logs", "--tail", str(tail), busy).stdout)) == tail
    answer = ask(engine, "GET", f"/containers/{busy}/logs", stdout="1", tail=str(tail))
    assert len(demultiplex(answer.body)) == tail


def test_since_and_until_end_too(engine: Daemon, busy: str) -> None:
    def times(*options: str) -> list[str]:
        lines = engine.docker("logs", "-t", *options, busy).stdout.splitlines()
        return [line.split()[0] for line in lines]  # of one width: in order as texts

    first, last = times("--tail", "2")
    assert min(times("--since", first)) >= first
    assert max(times("--until", last), default="") <= last
    assert max(times("--tail", "5", "--until", first), default="") <= first
