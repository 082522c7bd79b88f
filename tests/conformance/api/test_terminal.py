"""The official client in a real terminal."""

from __future__ import annotations

import time

from tests.conformance.api.http import ask, container
from tests.conformance.api.terminal import Terminal
from tests.daemon import Daemon

SHELL = ("sh", "-c", "PS1='$ ' exec sh")


def test_run_it_has_the_size_of_the_terminal_and_follows_it(engine: Daemon) -> None:
    with Terminal(engine, "run", "-it", "--rm", "busybox", *SHELL, rows=30, columns=90) as term:
        term.expect("$ ")
        time.sleep(0.3)
        term.send("stty size\n")
        term.expect("30 90")
        term.resize(40, 100)
        time.sleep(0.3)
        term.send("stty size\n")
        term.expect("40 100")
        term.send("exit 7\n")
        assert term.wait() == 7


def test_ctrl_c_reaches_the_container(engine: Daemon) -> None:
    with Terminal(engine, "run", "-it", "--rm", "busybox", *SHELL) as term:
        term.expect("$ ")
        term.send("sleep 60\n")
        time.sleep(0.5)
        term.send("\x03")
        term.expect("$ ")
        term.send("echo still $((40 + 2))\n")
        term.expect("still 42")
        term.expect("$ ")
        time.sleep(0.3)
        term.send("\x04")
        assert term.wait() == 0


def test_detach_keys_leave_the_container_running(engine: Daemon) -> None:
    with Terminal(engine, "run", "-it", "--name", "detached", "busybox", *SHELL) as term:
        term.expect("$ ")
        term.send("\x10\x11")
        assert term.wait() == 0
    try:
        state = ask(engine, "GET", "/containers/detached/json").data["State"]
        assert state["Running"] is True
        with Terminal(engine, "attach", "--detach-keys", "ctrl-x,x", "detached") as term:
            term.send("echo again $((1 + 1))\n")
            term.expect("again 2")
            term.send("\x18x")
            term.wait()
        with Terminal(engine, "attach", "detached") as term:
            term.send("exit 9\n")
            assert term.wait() == 9
    finally:
        ask(engine, "DELETE", "/containers/detached", force="1")


def test_exec_it(engine: Daemon) -> None:
    with (
        container(engine) as container_id,
        Terminal(engine, "exec", "-it", container_id, *SHELL, rows=33, columns=77) as term,
    ):
        term.expect("$ ")
        time.sleep(0.3)
        term.send("stty size; tty\n")
        term.expect("33 77")
        term.expect("/dev/pts/")
        term.send("exit 4\n")
        assert term.wait() == 4


def test_logs_follow_until_interrupted(engine: Daemon) -> None:
    script = "i=0; while true; do echo line $i; i=$((i + 1)); sleep 0.1; done"
    with (
        container(engine, "sh", "-c", script) as container_id,
        Terminal(engine, "logs", "-f", container_id) as term,
    ):
        term.expect("line 0")
        term.expect("line 5")
        term.send("\x03")
        assert term.wait() in (0, 130, -2)


def test_signals_are_proxied_without_a_terminal(engine: Daemon) -> None:
    import signal
    import subprocess

    from tests.daemon import docker_client

    script = "trap 'echo caught; exit 5' TERM; echo ready; while true; do sleep 0.1; done"
    with subprocess.Popen(
        [docker_client(), "run", "--rm", "busybox", "sh", "-c", script],
        stdout=subprocess.PIPE,
        env=engine.client_environment(),
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"ready\n"
        client.send_signal(signal.SIGTERM)
        assert client.stdout.readline() == b"caught\n"
        assert client.wait(20) == 5
