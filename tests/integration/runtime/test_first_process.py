"""A container's first process: how it ends, and why it may not begin."""

from __future__ import annotations

import os

import pytest
from tests.containers import make_spec
from tests.integration.runtime.conftest import Runner

from wherry.runtime.bundle import StartFailed


@pytest.mark.parametrize("code", [0, 3, 255])
async def test_exit_code_is_reported(runner: Runner, code: int) -> None:
    status, _ = await runner.run(make_spec(["sh", "-c", f"exit {code}"]))
    assert status.code == code


async def test_signal_is_128_and_its_number(runner: Runner) -> None:
    shim, _ = await runner.start(make_spec(["sleep", "60"]))
    await shim.signal(9)
    assert (await shim.wait()).code == 137


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH'),
        ("/no/such", 127, 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied'),
        ("/etc", 126, 'exec: "/etc": is a directory'),
    ],
)
async def test_what_cannot_be_executed(
    runner: Runner, command: str, code: int, message: str
) -> None:
    shim, bundle = await runner.create(make_spec([command]))
    with pytest.raises(StartFailed) as failure:
        await shim.start()
    assert (failure.value.exit_code, str(failure.value)) == (code, message)
    assert not os.path.exists(f"/sys/fs/cgroup/pids{bundle.cgroup}")


async def test_a_file_that_is_no_program(runner: Runner) -> None:
    shim, bundle = await runner.create(make_spec(["/bad"]))
    bad = f"{bundle.root.upper}/bad"  # type: ignore[union-attr]
    with open(bad, "w") as file:
        file.write("\x00\x01")
    os.chmod(bad, 0o755)
    with pytest.raises(StartFailed) as failure:
        await shim.start()
    assert failure.value.exit_code == 126
    assert str(failure.value) == "exec /bad: exec format error"


async def test_a_bind_source_that_is_missing_undoes_everything(runner: Runner) -> None:
    spec = make_spec(["true"])
    spec["mounts"].append(
        {"destination": "/x", "type": "bind", "source": "/no/such", "options": ["rbind"]}
    )
    bundle = runner.shop.bundle(spec)
    with pytest.raises(StartFailed) as failure:
        await runner.launcher.create(bundle)
    assert (failure.value.step, failure.value.path, failure.value.errno) == (
        "open_tree",
        "/no/such",
        2,
    )
    assert not os.path.exists(bundle.socket)
    assert not os.path.exists(f"/sys/fs/cgroup/pids{bundle.cgroup}")


async def test_working_folder_is_made(runner: Runner) -> None:
    spec = make_spec(["pwd"])
    spec["process"]["cwd"] = "/new/folder"
    _, output = await runner.run(spec)
    assert output == "/new/folder\n"


async def test_environment_has_home_of_the_user(runner: Runner) -> None:
    spec = make_spec(["sh", "-c", "echo $HOME $FOO"])
    spec["process"]["env"].append("FOO=a=b")
    _, output = await runner.run(spec)
    assert output == "/root a=b\n"


@pytest.mark.parametrize(
    ("user", "groups", "expected"),
    [
        ("app", [], "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)"),
        ("1000", ["other"], "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra),2001(other)"),
        ("app:extra", [], "uid=1000(app) gid=2000(extra) groups=2000(extra)"),
        ("4242", [], "uid=4242 gid=0(root) groups=0(root)"),
        ("4242:4243", ["77"], "uid=4242 gid=4243 groups=77,4243"),
    ],
)
async def test_user_and_groups_are_looked_up_inside(
    runner: Runner, user: str, groups: list[str], expected: str
) -> None:
    spec = make_spec(["id"])
    spec["process"]["user"] = {"username": user, "groupAdd": groups}
    _, output = await runner.run(spec)
    assert output.strip() == expected


async def test_unknown_user_is_an_error(runner: Runner) -> None:
    spec = make_spec(["id"])
    spec["process"]["user"] = {"username": "nobody-here"}
    shim, _ = await runner.create(spec)
    with pytest.raises(StartFailed, match="unable to find user nobody-here"):
        await shim.start()


async def test_init_reaps_and_forwards(runner: Runner) -> None:
    script = (
        "trap 'exit 7' TERM; (sleep 0 &); sleep 0.2; cat /proc/1/comm; while :; do sleep 1; done"
    )
    shim, bundle = await runner.start(make_spec(["sh", "-c", script]), init=True)
    while not os.path.getsize(bundle.log.path):
        await _nap()
    await shim.signal(15)
    assert (await shim.wait()).code == 7
    with open(bundle.log.path) as log:
        assert "docker-init" in log.read()


async def _nap() -> None:
    import asyncio

    await asyncio.sleep(0.01)
