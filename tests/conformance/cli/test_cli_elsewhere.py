"""What a client does with other programs and places: ssh, credential helpers, exported contexts.

Each is done by the official client and by ours, with stand-ins that write down how they are called.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .differential import DOCKER, WHERRY, as_wherry
from .recorder import Recorder, recording

pytestmark = pytest.mark.skipif(DOCKER is None, reason="needs the official client")

SSH = """#!/bin/sh
echo "$@" >>"$HOME/calls"
[ "$BROKEN_SSH" ] && { echo "ssh: connect to host far.example port 22: refused" >&2; exit 255; }
exec PYTHON -m wherry -H "unix://$RECORDER" system dial-stdio
"""

HELPER = """#!PYTHON
import json, os, sys
from pathlib import Path
home = Path(os.environ["HOME"])
store = home / "store.json"
kept = json.loads(store.read_text()) if store.exists() else {}
given = sys.stdin.read()
with (home / "calls").open("a") as calls:
    calls.write(f"{sys.argv[1]} {given.strip()}\\n")
if sys.argv[1] == "store":
    entry = json.loads(given)
    kept[entry["ServerURL"]] = entry
    store.write_text(json.dumps(kept))
elif sys.argv[1] == "get":
    if given.strip() not in kept:
        print("credentials not found in native keychain")
        sys.exit(1)
    print(json.dumps(kept[given.strip()]))
elif sys.argv[1] == "erase":
    kept.pop(given.strip(), None)
    store.write_text(json.dumps(kept))
elif sys.argv[1] == "list":
    print(json.dumps({key: entry["Username"] for key, entry in kept.items()}))
"""


class Place:
    """A home folder of one client, with programs of its own before those of the host."""

    def __init__(self, folder: Path, program: list[str], recorder: Recorder) -> None:
        self.folder = folder
        self._program = program
        self._recorder = recorder
        for name in ("bin", "config"):
            (folder / name).mkdir(parents=True)

    def install(self, name: str, text: str) -> None:
        """Put a program into the path."""
        path = self.folder / "bin" / name
        path.write_text(text.replace("PYTHON", sys.executable))
        path.chmod(0o755)

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the client."""
        known = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "DOCKER_CONFIG": str(self.folder / "config"),
            "DOCKER_HOST": f"unix://{self._recorder.socket_path}",
            "RECORDER": self._recorder.socket_path,
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        }
        return subprocess.run(
            [*self._program, *words],
            env={key: value for key, value in (known | environment).items() if value},
            cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    @property
    def calls(self) -> list[str]:
        """How the stand-ins were called."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


ANSWERS: dict[tuple[str, str], tuple[int, object]] = {
    ("GET", "/containers/json"): (200, []),
    ("POST", "/auth"): (200, {"Status": "Login Succeeded", "IdentityToken": ""}),
    ("POST", "/images/create"): (200, b""),
}


@pytest.fixture
def places(tmp_path: Path) -> Iterator[tuple[Place, Place, Recorder]]:
    """The official client's, ours, and who answers both."""
    with recording(tmp_path, ANSWERS) as recorder:
        assert DOCKER is not None
        docker = Place(tmp_path / "docker", [DOCKER], recorder)
        yield docker, Place(tmp_path / "wherry", WHERRY, recorder), recorder


@pytest.mark.parametrize(
    "host",
    [
        "ssh://far.example",
        "ssh://me@far.example:2222",
        "ssh://me@far.example/run/x.sock",
        "ssh://me@[fd00::1]:22",
    ],
)
def test_hosts_behind_ssh(places: tuple[Place, Place, Recorder], host: str) -> None:
    docker, wherry, recorder = places
    for place in (docker, wherry):
        place.install("ssh", SSH)
        done = place.run("ps", "-q", DOCKER_HOST=host)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(recorder.of("/containers/json")) == 2
    assert set(wherry.calls) == set(docker.calls)


def test_a_host_behind_ssh_that_does_not_answer(places: tuple[Place, Place, Recorder]) -> None:
    _, wherry, _ = places
    wherry.install("ssh", SSH)
    done = wherry.run("ps", DOCKER_HOST="ssh://far.example", BROKEN_SSH="1")
    assert done.returncode == 1
    assert "connect to host far.example port 22: refused" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "config",
    [{"credsStore": "stub"}, {"credHelpers": {"registry.example": "stub"}}],
    ids=["store", "helper"],
)
def test_credential_helpers(
    places: tuple[Place, Place, Recorder], config: dict[str, object]
) -> None:
    docker, wherry, recorder = places
    headers, texts = [], []
    for place in (docker, wherry):
        place.install("docker-credential-stub", HELPER)
        path = place.folder / "config" / "config.json"
        path.write_text(json.dumps(config))
        recorder.requests.clear()
        login = place.run("login", "-u", "me", "-p", "secret", "registry.example")
        assert login.returncode == 0, login.stderr
        between = json.loads(path.read_text())
        assert place.run("pull", "registry.example/a").returncode == 0
        [pull] = recorder.of("/images/create")
        headers.append(pull.headers["x-registry-auth"])
        logout = place.run("logout", "registry.example")
        texts.append((login.stdout, logout.returncode, logout.stdout, between))
        assert json.loads((place.folder / "store.json").read_text()) == {}
    assert decoded(headers[1]) == decoded(headers[0])
    assert decoded(headers[1])["password"] == "secret"
    assert texts[1] == texts[0]
    assert [call for call in wherry.calls if call.startswith("store")] == [
        call for call in docker.calls if call.startswith("store")
    ]


def decoded(header: str) -> dict[str, str]:
    import base64

    found: dict[str, str] = json.loads(base64.urlsafe_b64decode(header))
    return found


def test_contexts_travel_between_clients(places: tuple[Place, Place, Recorder]) -> None:
    docker, wherry, _ = places
    host = "host=ssh://me@far.example"
    for place, other in ((docker, wherry), (wherry, docker)):
        name = f"from-{place.folder.name}"
        created = place.run(
            "context", "create", name, "--description", "far away", "--docker", host
        )
        assert created.returncode == 0, created.stderr
        file = str(place.folder / "context.tar")
        assert place.run("context", "export", name, file).returncode == 0
        imported = other.run("context", "import", name, file)
        assert imported.returncode == 0, imported.stderr
        assert imported.stdout == f"{name}\n"
        form = "{{.Name}} {{json .Endpoints}}"
        shown = [one.run("context", "inspect", name, "--format", form) for one in (place, other)]
        assert shown[0].stdout == shown[1].stdout
        assert "ssh://me@far.example" in shown[0].stdout
        listed = other.run("context", "ls", "--format", "{{.Name}}: {{.Description}}").stdout
        assert f"{name}: far away\n" in listed
    again = [one.run("context", "import", "from-docker", str(docker.folder / "context.tar"))
             for one in (docker, wherry)]  # fmt: skip
    assert [one.returncode for one in again] == [1, 1]
    assert again[1].stderr == as_wherry(again[0].stderr) or again[1].stderr == again[0].stderr
