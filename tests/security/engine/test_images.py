"""Images whose config or files mean harm, from load to exec."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.daemon import Daemon
from tests.security.engine.images import image, layer, special

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

NAME = "spoiled"


def load(engine: Daemon, archive: bytes) -> bool:
    """Load an image; whether it was taken. A refusal has its reason."""
    status, answer = engine.request("POST", "/images/load?quiet=1", archive)
    assert b"internal error" not in answer
    return status == 200 and b"errorDetail" not in answer


@pytest.fixture(autouse=True)
def no_image_left(engine: Daemon) -> Iterator[None]:
    yield
    engine.request("DELETE", f"/images/{NAME}?force=1")


def attempt(
    engine: Daemon, command: list[str] | None = None, **fields: Any
) -> tuple[int, int, bytes]:
    """Create, start, wait: last status of the API, exit code, output."""
    body = {"Image": NAME, **({"Cmd": command} if command else {}), **fields}
    status, answer = engine.request("POST", "/containers/create", body)
    assert b"internal error" not in answer
    if status != 201:
        return status, -1, answer
    container = engine.json("GET", "/containers/json?all=1&limit=1")[0]["Id"]
    try:
        status, answer = engine.request("POST", f"/containers/{container}/start")
        assert b"internal error" not in answer
        if status != 204:
            return status, -1, answer
        code = engine.json("POST", f"/containers/{container}/wait")["StatusCode"]
        _, output = engine.request("GET", f"/containers/{container}/logs?stdout=1&stderr=1")
        return status, code, output
    finally:
        engine.json("DELETE", f"/containers/{container}?force=1&v=1")


ABSURD: list[dict[str, Any]] = [
    {"User": "x" * 100_000},
    {"WorkingDir": "../../../../etc"},
    {"WorkingDir": "/proc/self/fd/7"},
    {"WorkingDir": "/a\x00b"},
    {"Env": ["=", "NO_EQUALS", "A=\x00", "PATH=" + "x" * 200_000]},
    {"Entrypoint": [""]},
    {"Entrypoint": ["/proc/self/exe"]},
    {"Cmd": ["x" * 300_000]},
    {"ExposedPorts": {"99999/tcp": {}, "-1/udp": {}, "x/y/z": {}}},
    {"Volumes": {"": {}, "/": {}, "relative": {}}},
    {"Volumes": {"/../../../../etc": {}}},
    {"StopSignal": "SIGNONE"},
    {"Healthcheck": {"Test": ["CMD", "true"], "Interval": -1, "Retries": 10**30}},
    {"Labels": {"\x00": "\x00", "com.docker.volume.anonymous": "x" * 100_000}},
    {"User": 7, "Env": "no list", "Volumes": [], "Labels": 0, "Cmd": {"a": 1}},
    {"Shell": [], "OnBuild": ["RUN true"] * 1000, "ArgsEscaped": "maybe"},
]


@pytest.mark.parametrize("config", ABSURD, ids=lambda config: ",".join(config))
def test_absurd_values_in_a_config_are_refused_or_harmless(
    engine: Daemon, config: dict[str, Any]
) -> None:
    command = None if {"Cmd", "Entrypoint"} & set(config) else ["true"]
    if load(engine, image(NAME, config)):
        assert engine.request("GET", f"/images/{NAME}/json")[0] == 200
        status, code, answer = attempt(engine, command)
        assert status in (204, 400, 404, 409, 500), answer
        if status == 500:
            assert b"unable to start container process" in answer, answer
        assert code in (-1, 0, 126, 127)


USERS = [
    "4294967296", "4294967295", "2147483648", "-1", "+0", "0x0", "00000000000000000000000",
    "1e1", "\u0660", "\uff11\uff10", "1" * 40, " 0", "0 ", "a:b:c", "nobody-here", "$(id -u)",
    "../root", "\n0",
]  # fmt: skip


@pytest.mark.parametrize("user", USERS)
def test_cve_2024_40635_and_2026_47262_odd_users_are_refused(engine: Daemon, user: str) -> None:
    """Only what is exactly a number below 2³¹ is an id; nothing odd ever becomes root."""
    exact = user.isascii() and user.isdigit() and int(user) == 0
    in_image = len(user) % 2 == 1 and load(engine, image(NAME, {"User": user}))
    fields = {} if in_image else {"Image": "busybox", "User": user}
    status, _, output = attempt(engine, ["id", "-u"], **fields)
    assert status != 204 or exact or not output.endswith(b"\x00\x020\n"), output
    assert status in (204, 400, 404, 500)


@pytest.mark.parametrize("user", [*USERS[:12], "a:b:c", "1000:nobody-here", "::", "1000:-1"])
def test_cve_2026_30892_exec_as_an_odd_user_is_never_root(engine: Daemon, user: str) -> None:
    exact = user.isascii() and user.isdigit() and int(user) == 0
    container = engine.json(
        "POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "1000"], "User": "1000"}
    )["Id"]
    engine.json("POST", f"/containers/{container}/start")
    try:
        body = {"Cmd": ["id", "-u"], "AttachStdout": True, "Tty": True, "User": user}
        status, answer = engine.request("POST", f"/containers/{container}/exec", body)
        if status == 201:
            made = engine.json("GET", f"/containers/{container}/json")["ExecIDs"][0]
            status, answer = engine.request("POST", f"/exec/{made}/start", {"Tty": True})
        assert b"internal error" not in answer
        assert status >= 400 or exact or answer.strip() != b"0", answer
    finally:
        engine.json("DELETE", f"/containers/{container}?force=1")


@pytest.mark.parametrize("kind", ["fifo", "device", "link", "huge"])
@pytest.mark.parametrize("file", ["etc/passwd", "etc/group", "etc/hosts", "etc/resolv.conf"])
def test_cve_2024_9676_odd_files_in_etc_do_no_harm(
    engine: Daemon, file: str, kind: str, tmp_path: Path
) -> None:
    """No hang, no read of the host's files, no gigabyte in memory."""
    secret = tmp_path / "secret"
    secret.write_text("somebody:x:0:0:SECRET:/:/bin/sh\n")
    entry: tarfile.TarInfo | bytes
    match kind:
        case "fifo":
            entry = special(tarfile.FIFOTYPE)
        case "device":
            entry = special(tarfile.CHRTYPE, device=(1, 5))  # /dev/zero never ends
        case "link":
            entry = special(tarfile.SYMTYPE, str(secret))
        case _:
            entry = b"x" * (8 << 20)
    assert load(engine, image(NAME, extra=layer({file: entry})))
    for user in ("", "somebody"):
        command = ["true"] if kind == "fifo" else ["head", "-c", "100", f"/{file}"]
        status, _, output = attempt(engine, command, User=user)
        assert b"SECRET" not in output
        assert status in (204, 400, 404, 500)


def test_cve_2022_23648_a_volume_is_filled_from_the_image_only(engine: Daemon) -> None:
    files = layer({"etc/of-the-image": b"x"})
    assert load(engine, image(NAME, {"Volumes": {"/../../../../etc": {}}}, files))
    status, _, output = attempt(engine, ["ls", "-A", "/etc"])
    if status == 204:
        shown = set(output.decode(errors="replace").split())
        assert "of-the-image" in "".join(shown)
        assert not {"shadow", "machine-id"} & shown


@pytest.mark.parametrize("leading", ["/", "../../../..", "/proc/self/root/etc", "/etc"])
def test_a_volume_behind_a_link_takes_nothing_of_the_host(engine: Daemon, leading: str) -> None:
    link = layer({"data": special(tarfile.SYMTYPE, leading)})
    if not load(engine, image(NAME, {"Volumes": {"/data/inner": {}}}, link)):
        return  # a link that leads out of the layer
    status, _, output = attempt(engine, ["ls", "-A", "/data/inner"])
    assert status in (204, 400, 500)
    assert b"machine-id" not in output
    assert not Path("/inner").exists()
    assert not Path("/etc/inner").exists()


def test_cve_2022_36109_groups_are_those_of_the_image(engine: Daemon) -> None:
    files = layer(
        {
            "etc/passwd": b"root:x:0:0::/:/bin/sh\nsome:x:1000:1000::/:/bin/sh\n",
            "etc/group": b"root:x:0:\nsome:x:1000:\nmore:x:2000:some,other\nodd:x:3000:awesome\n",
        }
    )
    assert load(engine, image(NAME, {"User": "some"}, files))
    assert attempt(engine, ["id", "-G"])[2].split()[-2:] == [b"1000", b"2000"]
    assert b"2000" not in attempt(engine, ["id", "-G"], User="1000:1000")[2]


def test_cve_2018_20699_absurd_resources_are_refused(engine: Daemon) -> None:
    for host in (
        {"CpusetCpus": "1-2147483647"},
        {"CpusetMems": "0-99999999999999999999"},
        {"CpuShares": -(2**63)},
        {"Memory": 1},
        {"PidsLimit": 2**70},
        {"Ulimits": [{"Name": "nofile", "Soft": 2**40, "Hard": 1}]},
        {"ShmSize": -1},
        {"OomScoreAdj": 5000},
    ):
        body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": host}
        status, answer = engine.request("POST", "/containers/create", body)
        assert status == 400, (host, answer)


def test_cve_2019_13509_the_debug_log_has_no_secrets(engine: Daemon) -> None:
    secret = "correct-horse-battery"
    engine.request(
        "POST", "/auth", {"username": "u", "password": secret, "serveraddress": "127.0.0.1:1"}
    )
    header = {"X-Registry-Auth": "eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6ImNvcnJlY3QtaG9yc2UifQ=="}
    engine.request("POST", "/images/create?fromImage=127.0.0.1:1/x&tag=y", headers=header)
    body = {"Image": "busybox", "Cmd": ["true"], "Env": [f"PASSWORD={secret}"]}
    container = engine.json("POST", "/containers/create", body)["Id"]
    engine.json("POST", f"/containers/{container}/start")
    engine.json("DELETE", f"/containers/{container}?force=1")
    told = engine.log_text()
    assert secret not in told
    assert header["X-Registry-Auth"] not in told
    assert "/containers/create" in told  # it is the debug log


def test_cve_2021_41091_and_2024_25621_the_data_root_is_closed(engine: Daemon) -> None:
    for path in (engine.data_root, engine.data_root / "containers", engine.data_root / "layers"):
        assert path.stat().st_mode & 0o007 == 0, path
    assert (engine.exec_root / "shims").stat().st_mode & 0o077 == 0
    assert Path(engine.socket).stat().st_mode & 0o007 == 0
