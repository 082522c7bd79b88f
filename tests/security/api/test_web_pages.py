"""Web pages of strangers in a real browser against an engine on loopback without TLS.

Classes: DNS rebinding (CWE-350), cross-site request forgery (CWE-352), smuggling (CWE-444).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.daemon import Daemon
from tests.security.api.test_smuggling import CREATE

pytestmark = pytest.mark.root

PAGE_PORT = 8099
PAGE = """<!doctype html><script>
const engine = "http://127.0.0.1:2375";
const unit = "POST /\\r\\nUpgrade: tcp\\r\\n\\r\\n........";
const hidden = %s;
const create = JSON.stringify({Image: "busybox", Cmd: ["true"]});
const post = (path, body, type) => fetch(engine + path, {
  method: "POST", mode: "no-cors", body: new Blob(body, {type: type || ""})});
const told = [];
const tell = (name, work) => work.then(() => told.push(name), () => told.push(name));
(async () => {
  await tell("body", post("/xaaa", [unit.repeat(100000), "\\r\\n".repeat(30000), hidden]));
  await tell("simple", post("/containers/create?name=simple", [create], "text/plain"));
  await tell("json", fetch(engine + "/containers/create?name=json", {
    method: "POST", body: create, headers: {"Content-Type": "application/json"}}));
  await tell("websocket", new Promise((resolve) => {
    const socket = new WebSocket("ws://127.0.0.1:2375/containers/any/attach/ws");
    socket.onopen = () => { told.push("OPEN"); resolve(); };
    socket.onerror = resolve;
  }));
  await fetch("/done?" + told.join(","));
})();
</script>"""


def inside(daemon: Daemon, *command: str) -> list[str]:
    """A command line in the daemon's network namespace."""
    return ["nsenter", f"--net=/run/netns/{daemon.folder.name}", *command]


def browser(daemon: Daemon, profile: Path, *arguments: str) -> list[str]:
    """Headless Chromium for which evil.example is 127.0.0.1, as after a rebinding."""
    chromium = shutil.which("chromium")
    assert chromium, "chromium is missing: contrib/system-packages test"
    return inside(
        daemon,
        *(chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        "--host-resolver-rules=MAP evil.example 127.0.0.1",
        *(f"--user-data-dir={profile}", "--no-first-run", *arguments),
    )


@pytest.fixture
def site(engine: Daemon, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The stranger's web server; what it is asked for comes line by line."""
    (tmp_path / "index.html").write_text(PAGE % repr(CREATE.decode()))
    program = inside(engine, sys.executable, "-u", "-m", "http.server", str(PAGE_PORT))
    with subprocess.Popen(
        [*program, "--bind", "127.0.0.1", "--directory", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert "Serving HTTP" in server.stdout.readline()
        try:
            yield server
        finally:
            server.terminate()


def test_a_page_creates_no_container(
    engine: Daemon, site: subprocess.Popen[str], tmp_path: Path
) -> None:
    page = f"http://evil.example:{PAGE_PORT}/index.html"
    command = browser(engine, tmp_path / "profile", "--remote-debugging-port=0", page)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as visit:
        try:
            assert site.stdout is not None
            told = next(line for line in site.stdout if "/done?" in line)
        finally:
            visit.terminate()
    assert "body,simple,json,websocket " in told
    names = {name for row in engine.json("GET", "/containers/json?all=1") for name in row["Names"]}
    assert names.isdisjoint({"/smuggled", "/simple", "/json"})


def test_a_page_whose_name_was_rebound_reads_nothing(engine: Daemon, tmp_path: Path) -> None:
    def visit(address: str) -> str:
        command = browser(engine, tmp_path / "profile", "--dump-dom", address)
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout

    assert "KernelVersion" in visit("http://127.0.0.1:2375/v1.47/info")
    for path in ("/v1.47/info", "/containers/json"):
        dom = visit(f"http://evil.example:2375{path}")
        assert "is no address and no name of this engine" in dom
        assert "KernelVersion" not in dom
