"""The built-in hello-world program."""

import os
import platform
import subprocess

import pytest

from wherry.images import hello
from wherry.images.reference import parse


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_program_is_small_and_carries_the_message(architecture: str) -> None:
    program = hello.program(architecture, b"hi\n")
    assert program.startswith(b"\x7fELF\x02\x01\x01")
    assert program.endswith(b"hi\n")
    assert len(program) < 200


@pytest.mark.skipif(platform.machine() != "x86_64", reason="runs the x86-64 program")
def test_program_prints_its_message_and_ends_well(tmp_path) -> None:
    path = tmp_path / "hello"
    path.write_bytes(hello.program("amd64", hello.GREETING.encode()))
    os.chmod(path, 0o755)
    done = subprocess.run([path], capture_output=True)
    assert (done.stdout.decode(), done.returncode) == (hello.GREETING, 0)


def test_provides_only_the_official_name() -> None:
    assert hello.provides(parse("hello-world"))
    assert hello.provides(parse("docker.io/library/hello-world:latest"))
    assert not hello.provides(parse("hello-world:linux"))
    assert not hello.provides(parse("example.org/hello-world"))
