"""The story of docs/tutorial.md: every command of that page runs, and prints what it says there.

The site's part (sign up, search, read, star, comment, in Chromium) is in hub/test_site.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.daemon import Daemon
from tests.images import busybox_archive, debian_archive
from tests.registries import free_port

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
FOLDERS = Path(__file__).parent / "dockerfiles"
PASSWORD = "a long password"
BASES = {"brice": debian_archive, "you": busybox_archive, "qa": debian_archive}
_BLOCK = re.compile(r"^```console\n(.*?)^```|^<!-- (\w+) posts (\S+) (.*?) -->$", re.M | re.S)
_PROMPT = re.compile(r"^(\w+)\$ (.*)$")
_NOTICE = re.compile(r"^DEPRECATED: The legacy builder.*?\n\n", re.M | re.S)
_ADDRESS = re.compile(r"\b172\.\d+\.\d+\.\d+\b")
_VARYING = [
    (re.compile(r"\r"), ""),
    (re.compile(r"sha256:[0-9a-f]{64}"), "DIGEST"),
    (re.compile(r"\b[0-9a-f]{12}([0-9a-f]{52})?\b"), "ID"),
    (re.compile(r"\b[\d.]+\s?[kMG]?B\b"), "SIZE"),
    (re.compile(r"size: \d+"), "size: N"),
    (re.compile(r"(About an? \w+|Less than a second|\d+ \w+)( ago)?(?=\s{2}|$)", re.M), "TIME"),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r" $", re.M), ""),
    (re.compile(r"\n{2,}"), "\n"),
]


@dataclass
class Step:
    """One command of the tutorial and what the page says it prints."""

    machine: str
    command: str
    printed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Form:
    """A form that somebody sends on the web site."""

    person: str
    path: str
    fields: dict[str, str]


def steps_of(page: str) -> list[Step | Form]:
    """The commands and forms of a page, in order."""
    steps: list[Step | Form] = []
    for console, person, path, fields in _BLOCK.findall(page):
        if person:
            steps.append(Form(person, path, dict(each.split("=") for each in fields.split())))
        for line in console.splitlines():
            if prompt := _PROMPT.match(line):
                steps.append(Step(*prompt.groups()))
            else:
                last = steps[-1]
                assert isinstance(last, Step)
                last.printed.append(line)
    return steps


def agrees(written: str, printed: str) -> bool:
    """Whether a command printed what is written, where ``…`` stands for anything."""
    for pattern, name in _VARYING:
        written, printed = pattern.sub(name, written), pattern.sub(name, printed)
    wanted = ".*".join(re.escape(part) for part in written.strip().split("…"))
    return re.fullmatch(wanted, printed.strip(), re.S) is not None


class World:
    """The hub, the engines by the names of their machines, and what this run calls things."""

    def __init__(self, folder: Path, close: ExitStack) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.names = {
            "127.0.0.1:5000": self.address,
            "/srv/hub": str(folder / "hub"),
            "127.0.0.1:8080": f"127.0.0.1:{free_port()}",
            "127.0.0.1:8081": f"127.0.0.1:{free_port()}",
        }
        self._close = close
        self._engines: dict[str, Daemon] = {}
        log = close.enter_context((folder / "log").open("wb"))
        program = [*(sys.executable, "-m", "wherry", "hub", "--data", str(folder / "hub"))]
        hub = subprocess.Popen(
            [*program, "--listen", self.address], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        close.callback(hub.wait, 30)
        close.callback(hub.terminate)
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://{self.address}/health", timeout=5).close()
                return
            except OSError:
                assert hub.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def engine(self, machine: str) -> Daemon:
        """The engine of a machine, started with its base image when first named."""
        if machine not in self._engines:
            daemon = Daemon("--default-registry", self.address)
            self._engines[machine] = self._close.enter_context(daemon)
            base = BASES.get(machine, busybox_archive)
            daemon.docker("load", "-i", str(base()), timeout=300)
        return self._engines[machine]

    def run(self, step: Step) -> str:
        """Runs a step's command on its machine; what it printed, in the names of the page."""
        environment = dict(os.environ)
        if step.machine != "hub":
            environment = self.engine(step.machine).client_environment()
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        environment["DOCKER_CLI_HINTS"] = "false"
        command = step.command
        for written, real in self.names.items():
            command = command.replace(written, real)
        done = subprocess.run(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=FOLDERS,
            env=environment,
            timeout=600,
        )
        printed = _NOTICE.sub("", done.stdout.decode())  # of a client without its build plugin
        for written, real in reversed(self.names.items()):
            printed = printed.replace(real, written)
        # The page's address of a container stands for the one that it got this time.
        for written, real in zip(
            dict.fromkeys(_ADDRESS.findall("\n".join(step.printed))),
            dict.fromkeys(_ADDRESS.findall(printed)),
            strict=False,
        ):
            self.names[written] = real
            printed = printed.replace(real, written)
        return printed

    def send(self, form: Form) -> None:
        """Logs a person in on the site and sends a form, with the token of the page before."""
        cookies = urllib.request.HTTPCookieProcessor(CookieJar())
        browser = urllib.request.build_opener(cookies)
        for path, fields in (
            ("/login", {"name": form.person, "password": PASSWORD}),
            (form.path, form.fields),
        ):
            place = "/settings" if path != "/login" else "/login"
            with browser.open(f"http://{self.address}{place}", timeout=60) as page:
                token = re.search(r'name="csrf" value="(\w+)"', page.read().decode())
            assert token is not None
            body = urlencode({"csrf": token[1], **fields}).encode()
            browser.open(f"http://{self.address}{path}", body, timeout=60).close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as close:
        yield World(tmp_path, close)


def test_the_tutorial_happens_as_it_is_written(world: World) -> None:
    steps = steps_of(TUTORIAL.read_text())
    assert {step.machine for step in steps if isinstance(step, Step)} == {
        *("hub", "brice", "you", "qa", "production"),
    }
    images = set()
    for step in steps:
        if isinstance(step, Form):
            world.send(step)
            continue
        printed, written = world.run(step), "\n".join(step.printed)
        assert agrees(written, printed), f"{step.machine}$ {step.command}\n{printed}"
        if ".Id" in step.command:
            images.add(printed)
    assert len(images) == 1, "production runs something else than what QA tested"
