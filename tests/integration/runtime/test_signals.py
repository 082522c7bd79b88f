"""Every program begins with default actions and no signal blocked, whoever started us and how."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.containers import make_spec
from tests.integration.runtime.conftest import Runner
from tests.integration.runtime.test_exec_and_attach import process, run_exec
from tests.integration.runtime.test_foreign import _programs
from tests.integration.runtime.test_oci import PROGRAM, Oci, oci

__all__ = ["oci"]

ASK = ("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
CLEAN = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"


def spoil() -> None:
    """Ignore and block all that can be, as a careless parent may have."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


@pytest.mark.parametrize("program", ["", *_programs()], ids=lambda path: os.path.basename(path))
async def test_containers_and_execs(runner: Runner, program: str) -> None:
    spec = make_spec(["sleep", "60"], user_namespace=not program)
    shim, bundle = await runner.start(spec, runtime=program)
    assert await run_exec(shim, process(*ASK)) == (0, CLEAN.encode())
    status = Path(f"/proc/{shim.pid}/status").read_text()
    assert "SigBlk:\t0000000000000000\n" in status and "SigIgn:\t0000000000000000\n" in status
    assert bundle.runtime == program


def test_oci_containers_execs_and_hooks(oci: Oci) -> None:
    trace = oci.place / "trace"
    script = f"grep -E '^Sig(Blk|Ign)' /proc/self/status >> {trace}"
    hook = [{"path": shutil.which("sh"), "args": ["sh", "-c", script]}]
    hooks = dict.fromkeys(("prestart", "createRuntime", "poststart", "poststop"), hook)
    bundle = oci.bundle("a", ["sleep", "60"], hooks=hooks)
    command = [PROGRAM, "--root", str(oci.place / "state")]
    null = subprocess.DEVNULL

    def run(*arguments: str, **options: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments],
            check=True,
            text=True,
            timeout=60,
            preexec_fn=spoil,
            restore_signals=False,
            **options,
        )

    run("create", "-b", str(bundle), "a", stdin=null, stdout=null, stderr=null)
    run("start", "a")
    pid = oci.state("a")["pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    assert "SigBlk:\t0000000000000000\n" in status and "SigIgn:\t0000000000000000\n" in status
    assert run("exec", "a", *ASK, stdout=subprocess.PIPE).stdout == CLEAN
    run("delete", "--force", "a")
    assert trace.read_text() == CLEAN * len(hooks)
