import errno
import sqlite3

import pytest

from wherry.api.errors import shortage


def full_store() -> sqlite3.OperationalError:
    db = sqlite3.connect(":memory:")
    db.execute("PRAGMA max_page_count=1")
    with pytest.raises(sqlite3.OperationalError) as caught:
        db.execute("CREATE TABLE t (x)")
    return caught.value


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EMFILE, ""), "descriptors: Too many open files"),
        (OSError(errno.ENFILE, ""), "descriptors of the whole host: Too many open files in system"),
        (BlockingIOError(errno.EAGAIN, ""), "threads: Resource temporarily unavailable"),
        (RuntimeError("can't start new thread"), "threads: Resource temporarily unavailable"),
        (MemoryError(), "memory: Cannot allocate memory"),
        (OSError(errno.ENOSPC, ""), "disk space: No space left on device"),
        (full_store(), "disk space: No space left on device"),
    ],
)
def test_a_shortage_is_named(error: Exception, told: str) -> None:
    found = shortage(error)
    assert found is not None
    assert str(found).startswith("the engine has run out of ")
    assert str(found).endswith(told)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOENT, ""), RuntimeError("other"), ValueError(), KeyError("x")]
)
def test_other_failures_are_no_shortage(error: Exception) -> None:
    assert shortage(error) is None
