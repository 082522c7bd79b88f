"""``wherry run``, ``exec`` and ``attach`` on a real terminal against a real daemon."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.daemon import Daemon
from tests.images import busybox_archive

from .terminal import Terminal

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as started:
        started.wherry("load", "-i", str(busybox_archive()))
        yield started


def on_terminal(daemon: Daemon, *words: str) -> Terminal:
    command = [sys.executable, "-m", "wherry", *words]
    return Terminal(command, daemon.client_environment())


def test_size_follows_the_window_and_the_exit_code_comes_back(daemon: Daemon) -> None:
    terminal = on_terminal(daemon, "run", "-it", "--rm", "--network", "none", "busybox", "sh")
    terminal.expect("# ")
    terminal.type("stty size\n")
    terminal.expect("33 101")
    terminal.resize(40, 120)
    terminal.type("sleep 0.3; stty size; exit 4\n")
    terminal.expect("40 120")
    assert terminal.exit_code() == 4


def test_ctrl_c_reaches_the_process_in_the_container(daemon: Daemon) -> None:
    script = "trap 'echo caught; exit 11' INT; echo ready; while :; do sleep 0.1; done"
    terminal = on_terminal(
        daemon, "run", "-it", "--rm", "--network", "none", "busybox", "sh", "-c", script
    )
    terminal.expect("ready")
    terminal.type("\x03")
    terminal.expect("caught")
    assert terminal.exit_code() == 11


def test_ctrl_c_is_passed_on_without_a_terminal_in_the_container(daemon: Daemon) -> None:
    script = "trap 'echo caught; exit 12' INT; echo ready; while :; do sleep 0.1; done"
    terminal = on_terminal(
        daemon, "run", "--rm", "--network", "none", "busybox", "sh", "-c", script
    )
    terminal.expect("ready")
    terminal.type("\x03")
    terminal.expect("caught")
    assert terminal.exit_code() == 12


def test_detach_keys_leave_it_running_and_attach_comes_back(daemon: Daemon) -> None:
    terminal = on_terminal(
        daemon, "run", "-it", "--name", "left", "--network", "none", "busybox", "sh"
    )
    terminal.expect("# ")
    terminal.type("\x10\x11")
    assert terminal.exit_code() == 0
    assert daemon.wherry("inspect", "-f", "{{.State.Running}}", "left").stdout == "true\n"
    again = on_terminal(daemon, "attach", "--detach-keys", "ctrl-a,d", "left")
    again.expect("# ")
    again.type("\x01d")
    assert again.exit_code() == 1
    assert "read escape sequence" in again.output
    last = on_terminal(daemon, "attach", "left")
    last.expect("# ")
    last.type("exit 6\n")
    assert last.exit_code() == 6
    assert daemon.wherry("wait", "left").stdout == "6\n"
    daemon.wherry("rm", "left")


def test_exec_with_a_terminal(daemon: Daemon) -> None:
    daemon.wherry("run", "-d", "--name", "ex", "--network", "none", "busybox", "sleep", "100")
    terminal = on_terminal(daemon, "exec", "-it", "ex", "sh")
    terminal.expect("# ")
    terminal.type("stty size; exit 9\n")
    terminal.expect("33 101")
    assert terminal.exit_code() == 9
    daemon.wherry("rm", "-f", "ex")


def test_stats_are_drawn_again_and_again_until_ctrl_c(daemon: Daemon) -> None:
    daemon.wherry("run", "-d", "--name", "st", "--network", "none", "busybox", "sleep", "100")
    terminal = on_terminal(daemon, "stats", "st")
    terminal.expect("CONTAINER ID")
    terminal.expect("CONTAINER ID")
    terminal.type("\x03")
    terminal.exit_code()
    daemon.wherry("rm", "-f", "st")


def test_a_check_of_the_store_shows_how_far_it_is(daemon: Daemon) -> None:
    terminal = on_terminal(daemon, "system", "check")
    terminal.expect("store: Verifying")
    terminal.expect("No problems")
    assert terminal.exit_code() == 0
