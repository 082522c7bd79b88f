"""Processes and namespaces: clone3(2), setns(2), prctl(2), pidfds, close_range(2)."""

from __future__ import annotations

import ctypes
import os
import signal

from wherry.errors import KernelError
from wherry.linux import syscalls
from wherry.linux.syscalls import call, checked, libc

CLONE_NEWTIME = 0x00000080
CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000

NAMESPACES = {
    "user": CLONE_NEWUSER,
    "mount": CLONE_NEWNS,
    "pid": CLONE_NEWPID,
    "uts": CLONE_NEWUTS,
    "ipc": CLONE_NEWIPC,
    "network": CLONE_NEWNET,
    "cgroup": CLONE_NEWCGROUP,
    "time": CLONE_NEWTIME,
}
"""OCI namespace types and the flags that make them."""

NAMESPACE_FILES = {
    "user": "user",
    "mount": "mnt",
    "pid": "pid",
    "uts": "uts",
    "ipc": "ipc",
    "network": "net",
    "cgroup": "cgroup",
    "time": "time",
}
"""OCI namespace types and their names below /proc/PID/ns."""

_OF_THE_LIBRARY = (32, 33)
"""What the C library keeps for its threads, nptl(7), and lets nobody set; its posix_spawn(3) leaves
them ignored in whatever it starts, make(1) and its children among them."""
_DEFAULT = bytes(32)  # struct sigaction of the kernel: SIG_DFL, no flags, no restorer, no mask
_SIGNALS = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_SET_NAME = 15
_PR_CAPBSET_DROP = 24
_PR_SET_SECUREBITS = 28
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_CLOSE_RANGE_CLOEXEC = 4
_AT_EMPTY_PATH = 0x1000


class _CloneArguments(ctypes.Structure):
    """struct clone_args, clone3(2)."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    ]


def clone(flags: int, cgroup_fd: int | None = None) -> tuple[int, int]:
    """Fork with new namespaces; ``(0, -1)`` in the child, ``(pid, pidfd)`` in the parent.

    ``cgroup_fd`` is a directory of the v2 tree to be born into. The calling process must have
    one thread only.
    """
    pidfd = ctypes.c_int(-1)
    arguments = _CloneArguments(
        flags=flags | CLONE_PIDFD,
        pidfd=ctypes.addressof(pidfd),
        exit_signal=0 if flags & CLONE_PARENT else signal.SIGCHLD,
    )
    if cgroup_fd is not None:
        arguments.flags |= CLONE_INTO_CGROUP
        arguments.cgroup = cgroup_fd
    pid = call(
        "clone3",
        "",
        syscalls.CLONE3,
        ctypes.byref(arguments),
        ctypes.c_size_t(ctypes.sizeof(arguments)),
    )
    if pid == 0:
        return 0, -1
    return pid, pidfd.value


def setns(fd: int, flags: int, path: str = "") -> None:
    """Join the namespace behind ``fd``; a pidfd joins all namespaces of ``flags`` at once."""
    checked("setns", path, libc.setns(ctypes.c_int(fd), ctypes.c_int(flags)))


def unshare(flags: int) -> None:
    """Make new namespaces for the caller, unshare(2)."""
    checked("unshare", "", libc.unshare(ctypes.c_int(flags)))


def _prctl(step: str, option: int, *values: int) -> int:
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    return checked(step, "", libc.prctl(ctypes.c_int(option), *padded))


def set_parent_death_signal(number: int) -> None:
    """Ask for a signal when the parent dies; a change of user id undoes it."""
    _prctl("set parent death signal", _PR_SET_PDEATHSIG, number)


def set_dumpable(dumpable: bool) -> None:
    """Whether others with the same ids may trace this process and read its /proc files."""
    _prctl("set dumpable", _PR_SET_DUMPABLE, int(dumpable))


def set_keep_capabilities(keep: bool) -> None:
    """Keep permitted capabilities across a change of user id."""
    _prctl("keep capabilities", _PR_SET_KEEPCAPS, int(keep))


def set_no_new_privileges() -> None:
    """No execve may gain privileges from now on."""
    _prctl("set no_new_privs", _PR_SET_NO_NEW_PRIVS, 1)


def children() -> list[int]:
    """The children of this process, which has one thread; proc_pid_children(5).

    None on a kernel without CONFIG_PROC_CHILDREN.
    """
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:
        return []


def set_subreaper() -> None:
    """Orphaned descendants become children of this process."""
    _prctl("set child subreaper", _PR_SET_CHILD_SUBREAPER, 1)


def drop_bounding_capability(number: int) -> None:
    """Remove one capability from the bounding set."""
    _prctl("drop bounding capability", _PR_CAPBSET_DROP, number)


def raise_ambient_capability(number: int) -> None:
    """Add one capability to the ambient set (PR_CAP_AMBIENT_RAISE)."""
    _prctl("raise ambient capability", _PR_CAP_AMBIENT, 2, number)


def clear_ambient_capabilities() -> None:
    """Empty the ambient set (PR_CAP_AMBIENT_CLEAR_ALL)."""
    _prctl("clear ambient capabilities", _PR_CAP_AMBIENT, 4)


def reset_signals() -> None:
    """Give every signal its default action and block none, as a program may expect at its start.

    execve(2) keeps what is ignored and what is blocked: a shell that starts a daemon with ``&``
    ignores SIGINT and SIGQUIT for it, and for all that it ever starts, signal(7).
    """
    for number in _SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if syscalls.RT_SIGACTION != -1:
        for reserved in _OF_THE_LIBRARY:
            call("reset signal", "", syscalls.RT_SIGACTION, reserved, _DEFAULT, None, 8)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def heed_signals() -> None:
    """Be able to wait for children and to hear signals, whatever was inherited.

    Whoever ignores SIGCHLD has no children to wait for, waitpid(2).
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def set_name(name: str) -> None:
    """The command name of this process, at most 15 bytes."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    checked("set name", name, libc.prctl(ctypes.c_int(_PR_SET_NAME), buffer, 0, 0, 0))


def close_on_exec_from(first: int) -> None:
    """Mark every descriptor from ``first`` on to be closed at execve."""
    call(
        "close_range",
        "",
        syscalls.CLOSE_RANGE,
        ctypes.c_uint(first),
        ctypes.c_uint(0xFFFFFFFF),
        ctypes.c_uint(_CLOSE_RANGE_CLOEXEC),
    )


def close_all_but(keep: set[int]) -> None:
    """Close every descriptor that is not in ``keep``."""
    first = 0
    for fd in [*sorted(keep), 0x7FFFFFFF]:
        if fd > first:
            call(
                "close_range",
                "",
                syscalls.CLOSE_RANGE,
                ctypes.c_uint(first),
                ctypes.c_uint(fd - 1),
                ctypes.c_uint(0),
            )
        first = fd + 1


def send_signal(pidfd: int, number: int) -> None:
    """Send a signal through a pidfd; a process that has ended is `ProcessLookupError`."""
    signal.pidfd_send_signal(pidfd, number)


def execute_fd(fd: int, argv: list[str], environment: list[str]) -> None:
    """execveat(2) of an open file; returns only by raising `KernelError`."""
    arguments = (ctypes.c_char_p * (len(argv) + 1))(*map(os.fsencode, argv), None)
    variables = (ctypes.c_char_p * (len(environment) + 1))(*map(os.fsencode, environment), None)
    call(
        "execveat",
        argv[0],
        syscalls.EXECVEAT,
        ctypes.c_int(fd),
        ctypes.c_char_p(b""),
        arguments,
        variables,
        ctypes.c_int(_AT_EMPTY_PATH),
    )


def execute(path: str, argv: list[str], environment: list[str]) -> None:
    """execve(2) with the environment kept as it is given, doubles and all; raises `KernelError`."""
    arguments = (ctypes.c_char_p * (len(argv) + 1))(*map(os.fsencode, argv), None)
    variables = (ctypes.c_char_p * (len(environment) + 1))(*map(os.fsencode, environment), None)
    if libc.execve(ctypes.c_char_p(os.fsencode(path)), arguments, variables) == -1:
        raise KernelError("execve", path, ctypes.get_errno())
