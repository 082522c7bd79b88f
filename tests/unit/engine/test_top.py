import os

import pytest

from wherry.engine.top import inside_id, parse_options, read_process, top
from wherry.errors import InvalidParameter


def test_the_default_is_the_full_format() -> None:
    view = top([os.getpid()], None)
    assert view["Titles"] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    [row] = view["Processes"]
    assert row[1:3] == [str(os.getpid()), str(os.getppid())]
    assert "pytest" in row[-1]


@pytest.mark.parametrize(
    ("arguments", "titles"),
    [
        ("aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
        ("-ef", "UID PID PPID C STIME TTY TIME CMD"),
        ("-o pid,comm", "PID COMMAND"),
        ("-eo pid,args=WHAT", "PID WHAT"),
        ("-o user -o pid", "USER PID"),
        ("-A", "PID TTY TIME COMMAND"),
        ("--format pid,etime", "PID ELAPSED"),
    ],
)
def test_titles_follow_the_options(arguments: str, titles: str) -> None:
    assert parse_options(arguments)[1] == titles.split()
    [row] = top([os.getpid()], arguments)["Processes"]
    assert len(row) == len(titles.split())


@pytest.mark.parametrize(
    "arguments", ["-Z", "-o", "-o pid,bad", "-o pid=", "--sort=pid", "-o comm", "/x"]
)
def test_what_is_not_known_is_refused(arguments: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_options(arguments)


def test_an_ended_process_is_left_out() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    assert read_process(pid) is None
    assert top([pid], None)["Processes"] == []


def test_ids_are_shown_as_the_container_sees_them() -> None:
    assert inside_id(524288, [(0, 524288, 65536)]) == 0
    assert inside_id(1000, [(0, 0, 4294967295)]) == 1000
    assert inside_id(7, [(0, 524288, 65536)]) == 7
