"""The same shim over other OCI runtimes."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.containers import make_spec
from tests.integration.runtime.conftest import Runner, logged
from tests.integration.runtime.test_exec_and_attach import Client, process, run_exec

from wherry.linux.cgroups import discover
from wherry.runtime.bundle import StartFailed


def _programs() -> list[str]:
    """Those that are installed; crun refuses hosts whose v2 tree has controllers beside v1."""
    layout = discover()
    mixed = layout.version == 1 and layout.controllers
    names = ["runc"] if mixed else ["runc", "crun"]
    return [path for name in names if (path := shutil.which(name))]


pytestmark = pytest.mark.skipif(not _programs(), reason="no other OCI runtime is installed")


@pytest.fixture(params=_programs(), ids=os.path.basename)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def plain(*args: str) -> dict[str, Any]:
    return make_spec(list(args), user_namespace=False)


async def test_run(runner: Runner, program: str) -> None:
    spec = plain("sh", "-c", "id; cat /proc/1/comm; exit 3")
    spec["process"]["user"] = {"username": "app"}
    status, output = await runner.run(spec, runtime=program)
    assert status.code == 3
    assert output == "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)\nsh\n"


async def test_command_that_is_missing(runner: Runner, program: str) -> None:
    with pytest.raises(StartFailed) as failure:
        shim, _ = await runner.create(plain("nosuch"), runtime=program)
        await shim.start()
    assert failure.value.exit_code == 127
    assert "nosuch" in str(failure.value)


async def test_exec_and_signals(runner: Runner, program: str) -> None:
    shim, _ = await runner.start(plain("sleep", "600"), runtime=program)
    assert await run_exec(shim, process("sh", "-c", "hostname; exit 4")) == (4, b"box\n")
    client = Client(stdin=True)
    await shim.exec("e2", process("cat"), tty=False, attach=client.request)
    await client.send(b"through")
    client.end_input()
    assert await client.read_all() == b"through"
    await shim.signal(9)
    assert (await shim.wait()).code == 137


async def test_terminal(runner: Runner, program: str) -> None:
    spec = plain("sh", "-c", "tty; read x; echo got $x")
    client = Client(stdin=True)
    bundle = runner.shop.bundle(spec, tty=True, open_stdin=True, runtime=program)
    shim = await runner.launcher.create(bundle, [client.request])
    await shim.start()
    await client.read_until(b"/dev/pts/0\r\n")
    await client.send(b"it\n")
    assert (await client.read_all()).endswith(b"got it\r\n")
    assert (await shim.wait()).code == 0
    assert "got it" in logged(bundle)
    await shim.delete()


async def test_init(runner: Runner, program: str) -> None:
    spec = plain("sh", "-c", "cat /proc/1/comm; exit 6")
    status, output = await runner.run(spec, runtime=program, init=True)
    assert (status.code, output) == (6, "docker-init\n")


@pytest.mark.parametrize(("part", "words"), [("", "ls /i"), ("d/f", "cat /i")])
async def test_layers_of_an_image(
    runner: Runner, program: str, tmp_path: Path, part: str, words: str
) -> None:
    for name in ("upper", "lower"):
        (tmp_path / name / "d").mkdir(parents=True)
        (tmp_path / name / "d" / "f").write_text(f"{name}\n")
    options = ["ro", *(f"lowerdir+={tmp_path / name}" for name in ("upper", "lower"))]
    options += [f"part={part}"] if part else []
    spec = plain("sh", "-c", f"{words}; touch /i/x /i 2>/dev/null || echo read-only")
    spec["mounts"] = [*spec["mounts"], {
        "destination": "/i", "type": "overlay", "source": "overlay", "options": options,
    }]  # fmt: skip
    _, output = await runner.run(spec, runtime=program)
    assert output == ("upper" if part else "d") + "\nread-only\n"


async def test_runtime_that_is_missing(runner: Runner) -> None:
    with pytest.raises(StartFailed, match="no such file or directory"):
        await runner.launcher.create(runner.shop.bundle(plain("true"), runtime="/no/such"))


LIAR = """#!/bin/sh
# An OCI runtime that starts execs and then says that it could not, or hangs up in the middle.
case " $* " in
*" exec "*) "{program}" "$@"; {end} ;;
*) exec "{program}" "$@" ;;
esac
"""


@pytest.mark.parametrize("end", ["exit 1", "kill -9 $$"])
@pytest.mark.parametrize("tty", [True, False])
async def test_a_failed_exec_leaves_nothing_that_holds_the_container_up(
    runner: Runner, program: str, tmp_path: Path, tty: bool, end: str
) -> None:
    liar = tmp_path / "runtime"
    liar.write_text(LIAR.format(program=program, end=end))
    liar.chmod(0o755)
    shim, _ = await runner.start(plain("sleep", "600"), runtime=str(liar))
    with pytest.raises(StartFailed):
        await shim.exec("e1", process("sleep", "500"), tty=tty, attach=Client().request)
    await shim.signal(9)
    assert (await asyncio.wait_for(shim.wait(), 30)).code == 137
