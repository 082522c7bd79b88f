"""The default seccomp profile: what a container may ask of the kernel, grouped by purpose.

The set equals Docker's, so that what runs there runs here; what is tighter is said at its place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

_FILES = """
access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat
faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown
fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat
fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents
getdents64 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl
lchown lchown32 lgetxattr link linkat listmount listxattr listxattrat llistxattr _llseek
lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at
newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead
readlink readlinkat readv removexattr removexattrat rename renameat renameat2 rmdir sendfile
sendfile64 setxattr setxattrat splice stat stat64 statfs statfs64 statmount statx symlink
symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime
utimensat utimensat_time64 utimes vmsplice write writev
"""

_WAITING = """
epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
epoll_wait_old eventfd eventfd2 io_cancel io_destroy io_getevents io_pgetevents
io_pgetevents_time64 io_setup io_submit _newselect pipe pipe2 poll ppoll ppoll_time64 pselect6
pselect6_time64 select signalfd signalfd4 timerfd_create timerfd_gettime timerfd_gettime64
timerfd_settime timerfd_settime64
"""

_MEMORY = """
brk cachestat get_thread_area madvise map_shadow_stack membarrier memfd_create memfd_secret
mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap
pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages set_thread_area shmat shmctl
shmdt shmget
"""

_PROCESSES = """
capget capset execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait
futex_waitv futex_wake getcpu getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups
getgroups32 getpgid getpgrp getpid getppid getpriority getresgid getresgid32 getresuid
getresuid32 getrlimit get_robust_list getrusage getsid gettid getuid getuid32 ioprio_get
ioprio_set kill landlock_add_rule landlock_create_ruleset landlock_restrict_self pause pidfd_open
pidfd_send_signal prctl prlimit64 restart_syscall riscv_hwprobe rseq rt_sigaction rt_sigpending
rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max
sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp setfsgid
setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setpgid setpriority setregid
setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit
set_robust_list setsid set_tid_address setuid setuid32 sigaltstack sigprocmask sigreturn sysinfo
tgkill times tkill ugetrlimit uname uretprobe vfork wait4 waitid waitpid
"""

_TIME = """
adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer getrandom gettimeofday nanosleep
setitimer time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
timer_settime timer_settime64
"""

_TALKING = """
accept accept4 bind connect getpeername getsockname getsockopt ipc listen mq_getsetattr mq_notify
mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl
msgget msgrcv msgsnd recv recvfrom recvmmsg recvmmsg_time64 recvmsg semctl semget semop semtimedop
semtimedop_time64 send sendmmsg sendmsg sendto setsockopt shutdown
"""

_BY_CAPABILITY = {
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie
        lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount
        open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog
        umount umount2 unshare
    """,
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module init_module finit_module",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": """
        kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace
    """,
    "CAP_SYS_RAWIO": "iopl ioperm",
    "CAP_SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYSLOG": "syslog",
    "CAP_BPF": "bpf",
    "CAP_PERFMON": "perf_event_open",
}

_BY_ARCHITECTURE = {
    ("ppc64le",): "sync_file_range2 swapcontext",
    ("arm", "arm64"): """
        arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls
    """,
    ("amd64", "x32"): "arch_prctl",
    ("amd64", "x32", "x86"): "modify_ldt",
    ("s390", "s390x"): "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
    ("riscv64",): "riscv_flush_icache",
}

_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""PER_LINUX, PER_LINUX32, UNAME26 with each, and asking for the present one."""

_NAMESPACE_FLAGS = 0x7E020000
"""CLONE_NEW* (namespaces(7)): nobody makes a namespace without CAP_SYS_ADMIN."""

_AF_ALG = 38
_AF_VSOCK = 40
_FAMILIES = 64
"""A power of two above every address family, AF_MAX in <linux/socket.h>."""

_SUBARCHITECTURES = {
    "SCMP_ARCH_X86_64": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "SCMP_ARCH_AARCH64": ["SCMP_ARCH_ARM"],
    "SCMP_ARCH_S390X": ["SCMP_ARCH_S390"],
    "SCMP_ARCH_RISCV64": [],
    "SCMP_ARCH_PPC64LE": [],
}


def _allow(names: str, **conditions: Any) -> dict[str, Any]:
    return {"names": names.split(), "action": "SCMP_ACT_ALLOW", **conditions}


def _compare(index: int, operator: str, value: int, second: int = 0) -> list[dict[str, Any]]:
    return [{"index": index, "op": f"SCMP_CMP_{operator}", "value": value, "valueTwo": second}]


def all_but(excluded: Collection[int], bits: int, value: int = 0) -> Iterator[tuple[int, int]]:
    """(mask, value) of every block of numbers of ``bits`` bits that holds none of ``excluded``.

    An ``int`` argument is the lower half of a register, of which a filter sees the whole: the
    kernel cuts 2**32 + AF_ALG to AF_ALG, so that only masks decide rightly on such arguments.
    """
    block = range(value, value + (1 << bits))
    if not any(number in block for number in excluded):
        yield ~((1 << bits) - 1) & (_FAMILIES - 1), value
    elif bits:
        yield from all_but(excluded, bits - 1, value)
        yield from all_but(excluded, bits - 1, value + (1 << bits - 1))


def default_profile() -> dict[str, Any]:
    """The profile, in the form of a Docker profile file."""
    always = (_FILES, _WAITING, _MEMORY, _PROCESSES, _TIME, _TALKING)
    calls = [_allow(names) for names in always]
    calls.append(_allow("process_vm_readv process_vm_writev ptrace", includes={"minKernel": "4.8"}))
    # Kernel crypto and hypervisor sockets reach code that containers have no business with.
    calls += [
        _allow("socket socketpair", args=_compare(0, "MASKED_EQ", mask, family))
        for mask, family in all_but((_AF_ALG, _AF_VSOCK), _FAMILIES.bit_length() - 1)
    ]
    calls += [_allow("personality", args=_compare(0, "EQ", p)) for p in _PERSONALITIES]
    calls += [
        _allow(names, includes={"arches": list(arches)})
        for arches, names in _BY_ARCHITECTURE.items()
    ]
    calls += [
        _allow(names, includes={"caps": [capability]})
        for capability, names in _BY_CAPABILITY.items()
    ]
    s390 = ["s390", "s390x"]  # its clone(2) takes the flags second
    calls += [
        _allow(
            "clone",
            args=_compare(0, "MASKED_EQ", _NAMESPACE_FLAGS),
            excludes={"caps": ["CAP_SYS_ADMIN"], "arches": s390},
        ),
        _allow(
            "clone",
            args=_compare(1, "MASKED_EQ", _NAMESPACE_FLAGS),
            includes={"arches": s390},
            excludes={"caps": ["CAP_SYS_ADMIN"]},
        ),
        {
            # The number of the call is an argument, what that call gets lies in memory, out of
            # a filter's reach: a socket of any family could be made by it. C libraries have
            # used the direct calls since Linux 4.3 (i386; s390 too) and fall back to them.
            "names": ["socketcall"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 38,
        },
        {
            # Its flags lie in memory, out of a filter's reach; C libraries then try clone(2).
            "names": ["clone3"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 38,
            "excludes": {"caps": ["CAP_SYS_ADMIN"]},
        },
    ]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {"architecture": name, "subArchitectures": below}
            for name, below in _SUBARCHITECTURES.items()
        ],
        "syscalls": calls,
    }
