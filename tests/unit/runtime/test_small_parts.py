"""The runtime's pure parts: users, output lines, detach keys, ids, limits, messages."""

from __future__ import annotations

import json
import os
import socket

import pytest

from wherry.errors import InvalidParameter, KernelError
from wherry.linux.idmap import IdRange, to_host
from wherry.linux.rlimits import Limit, parse, reachable
from wherry.linux.root import DirectoryRoot, OverlayRoot
from wherry.runtime import executable, identity, messages
from wherry.runtime.attach import KeyFilter
from wherry.runtime.bundle import Bundle, ExitStatus, LogConfig, StartFailed, read_exit, write_exit
from wherry.runtime.identity import Identity, resolve
from wherry.runtime.logdrivers.jsonfile import JsonFile, quote, timestamp
from wherry.runtime.logdrivers.lines import LineCutter
from wherry.runtime.logdrivers.record import LogRecord
from wherry.runtime.processplan import parse_process

PASSWD = "root:x:0:0::/root:/bin/sh\napp:x:7:8::/home/app:/bin/sh\nbad:x:-1:0::/:\n"
GROUP = "root:x:0:\nusers:x:100:app,other\nwheel:x:10:root,app\n"


def entries(path: str) -> list[list[str]]:
    text = {"/etc/passwd": PASSWD, "/etc/group": GROUP}[path]
    return [line.split(":") for line in text.splitlines()]


@pytest.mark.parametrize(
    ("user", "added", "expected"),
    [
        ("", [], Identity(0, 0, (10, 0), "/root")),
        ("app", [], Identity(7, 8, (100, 10, 8), "/home/app")),
        ("7", [], Identity(7, 8, (100, 10, 8), "/home/app")),
        ("app:users", [], Identity(7, 100, (100,), "/home/app")),
        ("7:55", ["wheel", "99"], Identity(7, 55, (55, 10, 99), "/home/app")),
        ("2000", [], Identity(2000, 0, (0,), "/")),
        (":users", [], Identity(0, 100, (100,), "/root")),
    ],
)
def test_users(user: str, added: list[str], expected: Identity) -> None:
    assert resolve(user, added, entries) == expected


@pytest.mark.parametrize(
    "user",
    ["nobody", "-1", "+0", "4294967296", "2147483648", "٠", "0x0", " 0", "9" * 40, "a:b:c", "7:zz"],
)
def test_odd_users_are_refused_and_never_root(user: str) -> None:
    with pytest.raises(StartFailed):
        resolve(user, [], entries)


def test_a_passwd_that_is_no_plain_file_is_empty(tmp_path: object) -> None:
    os.mkfifo(f"{tmp_path}/passwd")
    assert identity.read_entries(f"{tmp_path}/passwd") == []
    assert identity.read_entries(f"{tmp_path}/missing") == []


def test_lines_are_cut_at_newlines_and_16_kib() -> None:
    cutter = LineCutter("stdout")
    assert cutter.feed(b"one\ntw", 1) == [LogRecord("stdout", b"one", 1)]
    assert cutter.feed(b"o\n\n", 2) == [LogRecord("stdout", b"two", 2), LogRecord("stdout", b"", 2)]
    long = cutter.feed(b"x" * 40000 + b"\n", 3)
    assert [(len(r.line), r.partial, r.time_ns) for r in long] == [
        (16384, True, 3),
        (16384, True, 3),
        (7232, False, 3),
    ]
    cutter.feed(b"rest", 4)
    assert cutter.finish(5) == [LogRecord("stdout", b"rest", 5, partial=True)]
    assert cutter.finish(6) == []


@pytest.mark.parametrize(
    ("line", "quoted"),
    [
        (b"plain text", b"plain text"),
        (b'a"b\\c', b'a\\"b\\\\c'),
        (b"<&>", b"\\u003c\\u0026\\u003e"),
        (b"tab\tcr\r\x00", b"tab\\u0009cr\\r\\u0000"),
        ("é\u2028".encode(), "é".encode() + b"\\u2028"),
        (b"\xff", "\ufffd".encode()),
    ],
)
def test_json_quoting(line: bytes, quoted: bytes) -> None:
    assert quote(line) == quoted


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_700_000_000_120_000_000, "2023-11-14T22:13:20.12Z"),
        (1_700_000_000_000_000_001, "2023-11-14T22:13:20.000000001Z"),
    ],
)
def test_timestamps(at: int, text: str) -> None:
    assert timestamp(at) == text


def test_json_file_lines_and_rotation(tmp_path: object) -> None:
    path = f"{tmp_path}/log"
    log = JsonFile(
        LogConfig(path=path, max_size=200, max_file=3, compress=True, attributes={"a": "b"})
    )
    log.write([LogRecord("stdout", b"%d" % n, n) for n in range(1, 13)])
    log.close()
    with open(path) as file:
        last = file.read().splitlines()[-1]
    assert last == (
        '{"log":"12\\n","stream":"stdout","attrs":{"a":"b"},'
        '"time":"1970-01-01T00:00:00.000000012Z"}'
    )
    assert sorted(os.listdir(str(tmp_path))) == ["log", "log.1.gz", "log.2.gz"]


def test_detach_keys_are_found_however_they_are_cut() -> None:
    keys = KeyFilter(b"\x10\x11")
    assert keys.feed(b"ab\x10") == (b"ab", False)
    assert keys.feed(b"c\x10") == (b"\x10c", False)
    assert keys.feed(b"\x10\x11tail") == (b"\x10", True)
    assert KeyFilter(b"").feed(b"\x10\x11") == (b"\x10\x11", False)
    assert KeyFilter(b"q").feed(b"xq") == (b"x", True)


def test_ids_outside_and_inside() -> None:
    ranges = (IdRange(0, 1000, 10), IdRange(10, 5000, 5))
    assert [to_host(ranges, n) for n in (0, 9, 10, 14, 15)] == [1000, 1009, 5000, 5004, None]


def test_limits_are_lowered_to_what_is_reachable() -> None:
    (limit,) = parse([{"type": "RLIMIT_NOFILE", "soft": 2**64 - 1, "hard": 2**64 - 1}])
    assert limit == Limit("RLIMIT_NOFILE", -1, -1)
    assert reachable(limit, 100) == Limit("RLIMIT_NOFILE", 100, 100)
    assert reachable(Limit("RLIMIT_NOFILE", 5, 50), -1) == Limit("RLIMIT_NOFILE", 5, 50)
    with pytest.raises(InvalidParameter):
        parse([{"type": "RLIMIT_WHAT", "soft": 1, "hard": 1}])


@pytest.mark.parametrize(
    "change",
    [
        {"cwd": "relative"},
        {"args": []},
        {"user": {"uid": -1}},
        {"user": {"uid": 2**32 - 1}},
        {"user": {"gid": 2**33}},
    ],
)
def test_processes_that_cannot_be(change: dict[str, object]) -> None:
    with pytest.raises(InvalidParameter):
        parse_process({"args": ["true"], "cwd": "/", **change})


def test_capabilities_unknown_to_the_table_count_nothing() -> None:
    plan = parse_process({"args": ["x"], "capabilities": {"bounding": ["CAP_CHOWN", "CAP_NEW"]}})
    assert plan.capabilities is not None and plan.capabilities.bounding == 1


def test_finding_a_program(tmp_path: object) -> None:
    for name, mode in (("yes", 0o755), ("no", 0o644)):
        with open(f"{tmp_path}/{name}", "w") as file:
            file.write("#!/bin/sh\n")
        os.chmod(f"{tmp_path}/{name}", mode)
    search = {"PATH": f"/nowhere:{tmp_path}"}
    assert executable.find("yes", search, None) == f"{tmp_path}/yes"
    with pytest.raises(StartFailed) as failure:
        executable.find("no", search, None)
    assert failure.value.exit_code == 126
    with pytest.raises(StartFailed) as failure:
        executable.find(f"{tmp_path}/yes", {}, os.stat(f"{tmp_path}/yes"))
    assert failure.value.exit_code == 126


@pytest.mark.parametrize(
    "error",
    [
        StartFailed("why", "step", "/path", 2, 127),
        KernelError("mount", "/x", 13),
    ],
)
def test_failures_cross_process_borders(error: StartFailed | KernelError) -> None:
    back = messages.failed(json.loads(json.dumps(messages.failure(error))))
    assert (str(back), back.step, back.path, back.errno) == (
        str(error),
        error.step,
        error.path,
        error.errno,
    )


def test_packets_carry_more_descriptors_than_fit_into_one() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    null = os.open("/dev/null", os.O_RDONLY)
    messages.send_packet(near, {"x": 1}, [null] * 300)
    message, fds = messages.receive_packet(far)
    assert (message, len(fds)) == ({"x": 1}, 300)
    for fd in (*fds, null):
        os.close(fd)
    near.close()
    with pytest.raises(messages.Closed):
        messages.receive_packet(far)
    far.close()


@pytest.mark.parametrize("root", [OverlayRoot(("/a", "/b"), "/u", "/w"), DirectoryRoot("/r")])
def test_bundles_survive_json(root: OverlayRoot | DirectoryRoot) -> None:
    bundle = Bundle("id", {"a": 1}, root, "/d", "/s", "/c", LogConfig(attributes={"k": "v"}))
    assert Bundle.from_json(json.loads(json.dumps(bundle.to_json()))) == bundle


def test_exit_records(tmp_path: object) -> None:
    assert read_exit(str(tmp_path)) is None
    write_exit(str(tmp_path), ExitStatus(3, 1.5, True, "x"))
    assert read_exit(str(tmp_path)) == ExitStatus(3, 1.5, True, "x")
    assert os.listdir(str(tmp_path)) == ["exit.json"]
