"""From a forked Python process to the container's process: identity, confinement, execve.

The same walk for the first process and for every exec. It happens inside the container's
namespaces and root; an error on the way is a `StartFailed` or `KernelError`.
"""

from __future__ import annotations

import errno
import os
import signal
from contextlib import suppress

from wherry.errors import KernelError
from wherry.fs.opening import open_in_root
from wherry.linux import capabilities, filters, mounts, process, rlimits
from wherry.runtime import executable, identity, reaper
from wherry.runtime.bundle import StartFailed
from wherry.runtime.host import Host
from wherry.runtime.processplan import CapabilitySets, ProcessPlan


def become_root(user_namespace: bool) -> None:
    """Take id 0 of the user namespace, and leave the engine's session and groups."""
    os.setsid()
    os.setgroups([])
    if user_namespace:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


def set_label(plan: ProcessPlan) -> None:
    """AppArmor profile and SELinux label for the coming execve.

    What the image mounted in the place of /proc's files does not matter (CVE-2019-16884).
    """
    if not plan.apparmor and not plan.selinux:
        return
    proc = _real_procfs()
    try:
        if plan.apparmor:
            try:
                _write_at(proc, "attr/apparmor/exec", f"exec {plan.apparmor}")
            except KernelError:
                _write_at(proc, "attr/exec", f"exec {plan.apparmor}")
        if plan.selinux:
            _write_at(proc, "attr/exec", plan.selinux)
    finally:
        os.close(proc)


def _real_procfs() -> int:
    """A procfs of our own making, or where the kernel refuses one (masked paths), the container's.

    The files of the latter are opened without passing another mount or a link.
    """
    with suppress(KernelError):
        return mounts.new_filesystem("proc")
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if mounts.is_procfs_root(proc):
        return proc
    os.close(proc)
    raise KernelError("set label", "/proc is not a procfs", errno.ENOTDIR)


def _write_at(proc: int, name: str, value: str) -> None:
    path = f"{os.getpid()}/{name}"
    fd = open_in_root(proc, path, os.O_WRONLY, follow=False, cross_mounts=False)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise KernelError(f"set label {value!r} in", name, error.errno or 0) from error
    finally:
        os.close(fd)


def check(plan: ProcessPlan, host: Host) -> None:
    """Find out as root what `execute` would fail for: the user, the folder, the program.

    Engines on the OCI command line expect to hear of these from ``create``, not from ``start``.
    """
    environment = _environment(plan, _identity(plan).home)
    _enter(plan.cwd, final=False)
    executable.find(plan.argv[0], _variables(environment), host.binary)


def _variables(environment: list[str]) -> dict[str, str]:
    return dict(entry.partition("=")[::2] for entry in environment)


def execute(plan: ProcessPlan, host: Host) -> None:
    """Confine the calling process and execve; returns only by raising.

    The seccomp filter is loaded as late as its loading allows, so that it has to permit little
    beyond what the program itself calls.
    """
    who = _identity(plan)
    environment = _environment(plan, who.home)
    _own_stdio(who.uid)
    set_label(plan)
    _enter(plan.cwd, final=False)
    rlimits.apply(list(plan.limits))
    sets = plan.capabilities
    if sets is not None:
        capabilities.limit_bounding_set(sets.bounding, host.last_capability)
        process.set_keep_capabilities(True)
    os.setgroups(who.groups)
    os.setresgid(who.gid, who.gid, who.gid)
    os.setresuid(who.uid, who.uid, who.uid)
    if sets is not None:
        process.set_keep_capabilities(False)
    if not plan.orphan:
        process.set_parent_death_signal(signal.SIGKILL)
    _enter(plan.cwd, final=True)
    path = executable.find(plan.argv[0], _variables(environment), host.binary)
    init = reaper.sealed_copy(host.reaper) if plan.init else -1
    process.reset_signals()
    os.umask(0o022 if plan.umask is None else plan.umask)
    process.close_on_exec_from(3 + plan.keep)
    if plan.no_new_privileges:
        process.set_no_new_privileges()
    elif plan.seccomp:
        held = capabilities.permitted()
        capabilities.set_sets(held, held, 0)
        filters.load(plan.seccomp)
    if sets is not None:
        _set_capabilities(sets)
    if plan.seccomp and plan.no_new_privileges:
        filters.load(plan.seccomp)
    try:
        if plan.init:
            process.execute_fd(init, [reaper.NAME, "--", *plan.argv], environment)
        process.execute(path, list(plan.argv), environment)
    except KernelError as error:
        raise executable.execve_failed(plan.argv[0], error.errno) from None


def _identity(plan: ProcessPlan) -> identity.Identity:
    if not plan.username and not plan.group_add:
        return identity.Identity(plan.uid, plan.gid, plan.groups, identity.home_of(plan.uid))
    user = plan.username or f"{plan.uid}:{plan.gid}"
    found = identity.resolve(user, plan.group_add)
    groups = (*found.groups, *(gid for gid in plan.groups if gid not in found.groups))
    return identity.Identity(found.uid, found.gid, groups, found.home)


def _environment(plan: ProcessPlan, home: str) -> list[str]:
    entries = list(plan.environment)
    if any(entry.startswith("HOME=") and entry != "HOME=" for entry in entries):
        return entries
    return [entry for entry in entries if entry != "HOME="] + [f"HOME={home}"]


def _own_stdio(uid: int) -> None:
    """Let the process reopen /dev/stdout and the like: its pipes belong to its user."""
    null = os.makedev(1, 3)
    for fd in (0, 1, 2):
        try:
            status = os.fstat(fd)
            if status.st_rdev != null and status.st_uid != uid:
                os.fchown(fd, uid, -1)
        except OSError:
            continue  # handed in from outside and not ours to give away


def _enter(cwd: str, *, final: bool) -> None:
    """Change to the working folder; root that may not is asked again as the user."""
    try:
        os.chdir(cwd)
        here = os.getcwd()
    except OSError as error:
        if error.errno == errno.EACCES and not final:
            return
        reason = os.strerror(error.errno or 0).lower()
        message = f'chdir to cwd ("{cwd}") set in config.json failed: {reason}'
        raise StartFailed(message, "chdir", cwd, error.errno or 0, 126) from None
    if not here.startswith("/"):
        message = f'working directory "{cwd}" is outside of the container'
        raise StartFailed(message, "chdir", cwd, errno.EPERM, 126)


def _set_capabilities(sets: CapabilitySets) -> None:
    held = capabilities.permitted()
    capabilities.set_sets(sets.effective & held, sets.permitted & held, sets.inheritable & held)
    process.clear_ambient_capabilities()
    ambient = sets.ambient & sets.inheritable & sets.permitted & held
    for number in range(ambient.bit_length()):
        if ambient >> number & 1:
            process.raise_ambient_capability(number)
