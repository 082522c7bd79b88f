"""Ways in through the process that enters the container: its binary, descriptors and folder."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
from tests.containers import make_spec
from tests.integration.runtime.conftest import Runner, logged
from tests.integration.runtime.test_exec_and_attach import process, run_exec

from wherry.runtime.bundle import StartFailed


@pytest.mark.parametrize("user_namespace", [True, False])
async def test_cve_2019_5736_the_runtimes_binary_is_no_entrypoint(
    runner: Runner, user_namespace: bool
) -> None:
    spec = make_spec(["/proc/self/exe", "-c", "print(1)"], user_namespace=user_namespace)
    shim, _ = await runner.create(spec)
    with pytest.raises(StartFailed) as failure:
        await shim.start()
    assert failure.value.exit_code == 126


async def test_cve_2019_5736_the_runtimes_binary_is_no_script_interpreter(runner: Runner) -> None:
    shim, bundle = await runner.create(make_spec(["/script"]))
    script = f"{bundle.root.upper}/script"  # type: ignore[union-attr]
    with open(script, "w") as file:
        file.write("#!/proc/self/exe\nopen('/proc/self/exe', 'r+b')\n")
    os.chmod(script, 0o755)
    try:
        await shim.start()
    except StartFailed:
        return
    assert (await shim.wait()).code != 0


_WATCH = """
while :; do
  for p in /proc/[0-9]*; do
    e=$(readlink $p/exe 2>/dev/null)
    case "$e" in
      ""|/bin/busybox) ;;
      *) echo "saw $e"; (: >> $p/exe) 2>/dev/null && echo "WROTE $e";;
    esac
    for f in $p/fd/*; do
      case "$(readlink $f 2>/dev/null)" in *socket*|*wherry*) echo "descriptors of $p";; esac
    done
    cat $p/environ 2>/dev/null | grep -q PYTEST && echo "environment of $p"
  done
done
"""


@pytest.mark.parametrize("user_namespace", [True, False])
async def test_cve_2016_9962_and_2019_5736_an_exec_is_opaque_until_it_runs(
    runner: Runner, user_namespace: bool
) -> None:
    """A container that may trace polls every new process while execs come in."""
    spec = make_spec(["sh", "-c", _WATCH], user_namespace=user_namespace)
    if user_namespace:
        for name in ("bounding", "effective", "permitted"):
            spec["process"]["capabilities"][name].append("CAP_SYS_PTRACE")
    shim, bundle = await runner.start(spec)
    for _ in range(40):
        code, _ = await run_exec(shim, process("true"))
        assert code == 0
    seen = logged(bundle)
    assert "WROTE" not in seen and "descriptors" not in seen and "environment" not in seen
    assert os.path.realpath(sys.executable) not in seen


@pytest.mark.parametrize("number", range(12))
async def test_cve_2024_21626_no_descriptor_is_a_working_folder(
    runner: Runner, number: int
) -> None:
    for cwd in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/../.."):
        spec = make_spec(["ls", "-d", "."])
        spec["process"]["cwd"] = cwd
        shim, _ = await runner.create(spec)
        try:
            await shim.start()
        except StartFailed as failure:
            assert failure.exit_code == 126
            continue
        # A folder that can be entered lies inside: it has no way to the host's root.
        status = await shim.wait()
        assert status.code == 0


async def test_cve_2024_21626_exec_cannot_enter_a_descriptor(runner: Runner) -> None:
    shim, _ = await runner.start(make_spec(["sleep", "60"]))
    for number in range(3, 12):
        with pytest.raises(StartFailed):
            await shim.exec(f"e{number}", process("pwd", cwd=f"/proc/self/fd/{number}"), tty=False)


async def test_cve_2022_24769_nothing_is_inheritable(runner: Runner) -> None:
    inheritable = ("grep", "CapInh", "/proc/self/status")
    _, output = await runner.run(make_spec([*inheritable]))
    assert output == "CapInh:\t" + "0" * 16 + "\n"
    shim, _ = await runner.start(make_spec(["sleep", "60"]))
    _, of_exec = await run_exec(shim, process(*inheritable))
    assert of_exec == output.encode()


async def test_cve_2022_29162_groups_are_exact(runner: Runner) -> None:
    groups = ("grep", "Groups", "/proc/self/status")
    _, output = await runner.run(make_spec([*groups]))
    assert output.split() == ["Groups:"]
    shim, _ = await runner.start(make_spec(["sleep", "60"]))
    _, of_exec = await run_exec(shim, process(*groups))
    assert of_exec.split() == [b"Groups:"]


async def test_cve_2016_8867_a_user_has_no_capabilities(runner: Runner) -> None:
    spec = make_spec(["grep", "Cap", "/proc/self/status"])
    spec["process"]["user"] = {"uid": 1000, "gid": 1000}
    _, output = await runner.run(spec)
    sets = dict(line.split(":\t") for line in output.splitlines())
    assert {name: int(sets[name], 16) for name in ("CapEff", "CapPrm", "CapAmb", "CapInh")} == {
        "CapEff": 0,
        "CapPrm": 0,
        "CapAmb": 0,
        "CapInh": 0,
    }


async def test_no_new_privileges(runner: Runner) -> None:
    spec = make_spec(["grep", "NoNewPrivs", "/proc/self/status"])
    spec["process"]["noNewPrivileges"] = True
    assert (await runner.run(spec))[1].split() == ["NoNewPrivs:", "1"]


@pytest.mark.parametrize("user", [4294967295, 4294967296, -1, "0x0"])
async def test_cve_2024_40635_ids_never_wrap_to_root(runner: Runner, user: Any) -> None:
    spec = make_spec(["id"])
    spec["process"]["user"] = {"uid": user, "gid": 0}
    with pytest.raises(StartFailed):
        await runner.create(spec)


async def test_cve_2020_15257_no_abstract_socket_of_ours(runner: Runner) -> None:
    await runner.start(make_spec(["sleep", "60"]))
    with open("/proc/net/unix") as file:
        assert not [line for line in file if "@" in line and "wherry" in line]


async def test_cve_2020_14370_environment_does_not_leak(runner: Runner) -> None:
    spec = make_spec(["sleep", "60"])
    spec["process"]["env"].append("SECRET=1")
    await runner.start(spec)
    _, output = await runner.run(make_spec(["env"]))
    assert sorted(line.split("=")[0] for line in output.splitlines()) == ["HOME", "PATH"]


async def test_the_session_keyring_is_new(runner: Runner) -> None:
    spec = make_spec(["cat", "/proc/keys"])
    spec["linux"]["maskedPaths"] = []
    _, output = await runner.run(spec)
    with open("/proc/keys") as file:
        host = {line.split()[0] for line in file}
    assert not host & {line.split()[0] for line in output.splitlines()}
