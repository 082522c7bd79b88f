import errno

import pytest

from wherry.api.errors import shortage


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EMFILE, ""), "descriptors: Too many open files"),
        (OSError(errno.ENFILE, ""), "descriptors of the whole host: Too many open files in system"),
        (BlockingIOError(errno.EAGAIN, ""), "threads: Resource temporarily unavailable"),
        (RuntimeError("can't start new thread"), "threads: Resource temporarily unavailable"),
        (MemoryError(), "memory: Cannot allocate memory"),
        (OSError(errno.ENOSPC, ""), "disk space: no space left on device"),
        (OSError(errno.EDQUOT, ""), "disk space: disk quota exceeded"),
    ],
)
def test_a_shortage_is_named(error: Exception, told: str) -> None:
    found = shortage(error)
    assert found is not None
    assert str(found).startswith("the engine has run out of ")
    assert str(found).endswith(told)


def test_a_disk_that_has_turned_read_only_is_named() -> None:
    found = shortage(OSError(errno.EROFS, "", "/data/file"))
    assert str(found) == "write /data/file: Read-only file system"


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOENT, ""), RuntimeError("other"), ValueError(), KeyError("x")]
)
def test_other_failures_are_no_shortage(error: Exception) -> None:
    assert shortage(error) is None
