import os
import re
import subprocess
from collections.abc import Iterator

import pytest

from wherry.engine.top import inside_id, read_process, top
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
        ("-A", "PID TTY TIME CMD"),
        ("ax", "PID TTY STAT TIME COMMAND"),
        ("-eF", "UID PID PPID C SZ RSS PSR STIME TTY TIME CMD"),
        ("-ely", "S UID PID PPID C PRI NI RSS SZ WCHAN TTY TIME CMD"),
        ("-ej", "PID PGID SID TTY TIME CMD"),
        ("axj", "PPID PID PGID SID TTY TPGID STAT UID TIME COMMAND"),
        ("alx", "F UID PID PPID PRI NI VSZ RSS WCHAN STAT TTY TIME COMMAND"),
        ("-efZ", "LABEL UID PID PPID C STIME TTY TIME CMD"),
        ("-eo pid,cmd --sort=-rss,+pid", "PID CMD"),
        ("axo pid,pcpu k -pcpu", "PID %CPU"),
        ("-o pid=PID,user=WHO,comm", "PID WHO COMMAND"),
        ("-e -o ppid,pid,psr,cls,maj_flt,cgroup,label", "PPID PID PSR CLS MAJFL CGROUP LABEL"),
        ("--format pid,etime", "PID ELAPSED"),
    ],
)
def test_titles_follow_the_options(arguments: str, titles: str) -> None:
    view = top([os.getpid()], arguments)
    assert view["Titles"] == titles.split()
    [row] = view["Processes"]
    assert len(row) == len(titles.split())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("-Q", "unsupported option '-Q'"),
        ("-o", "option '-o' requires an argument"),
        ("-o pid,bad", "unknown user-defined format specifier 'bad'"),
        ("-o pid=", "Couldn't find PID field in ps output"),
        ("-o comm", "Couldn't find PID field in ps output"),
        ("-ef --no-headers", "Couldn't find PID field in ps output"),
        ("-o uid=PID", 'specifying "uid=PID" is not allowed'),
        ("--sort=bad", "unknown user-defined format specifier 'bad'"),
        ("/x", "unsupported option '/x'"),
        ("--colour", "unsupported option '--colour'"),
    ],
)
def test_what_is_not_known_is_refused(arguments: str, reason: str) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(reason)):
        top([], arguments)


@pytest.fixture
def children() -> Iterator[list[int]]:
    """This process and two sleeping children, in the order of their ids."""
    made = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    yield [os.getpid(), *sorted(one.pid for one in made)]
    for one in made:
        one.kill()
        one.wait()


def pids(children: list[int], arguments: str) -> list[int]:
    return [int(row[0]) for row in top(children, arguments)["Processes"]]


def test_sorting_and_selecting(children: list[int]) -> None:
    me, first, second = children
    assert pids(children, "-eo pid --sort=-pid") == sorted(children, reverse=True)
    assert pids(children, "axo pid k -ppid,pid")[-1] == me or os.getppid() > me
    assert pids(children, "-eo pid --sort -rss")[0] == me
    assert pids(children, f"-o pid -p {first},{second}") == [first, second]
    assert pids(children, "-C sleep -o pid") == [first, second]
    assert pids(children, f"-o pid --ppid {me}") == [first, second]
    assert pids(children, f"-o pid -u {os.getuid()}") == sorted(children)
    assert pids(children, "-o pid -u nobody-of-that-name") == []


def test_a_forest(children: list[int]) -> None:
    rows = top(children, "-eo pid,comm --forest")["Processes"]
    assert [int(row[0]) for row in rows] == children
    assert [row[1].startswith(" \\_ ") for row in rows] == [False, True, True]


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
