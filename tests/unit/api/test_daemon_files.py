import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wherry.api import journal, pidfile
from wherry.errors import Conflict


def test_a_pid_file_is_written_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "pid"
    pidfile.write(str(path))
    assert path.read_text() == str(os.getpid())
    pidfile.remove(str(path))
    assert not path.exists()


def test_a_dead_daemons_pid_file_is_replaced_a_live_ones_is_not(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    for stale in ("99999999", "", "nonsense", str(os.getppid())):
        path.write_text(stale)
        pidfile.write(str(path))
        assert path.read_text() == str(os.getpid())
    script = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, "daemon"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as live:
        assert live.stdout is not None and live.stdout.readline()  # now it has its command line
        path.write_text(str(live.pid))
        with pytest.raises(Conflict, match=f"PID {live.pid} is still running"):
            pidfile.write(str(path))
        assert live.stdin is not None
        live.stdin.close()


def test_another_daemons_pid_file_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("1")
    pidfile.remove(str(path))
    assert path.read_text() == "1"


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_log_has_time_level_and_message(form: str) -> None:
    record = logging.LogRecord("wherry", logging.WARNING, "", 0, 'a "b"', None, None)
    line = journal.Formatter(form == "json").format(record)
    if form == "json":
        assert json.loads(line)["msg"] == 'a "b"'
    else:
        assert line.endswith('level=warning msg="a \\"b\\""')
