"""What a client can see of one classic build: its text, the image's configuration, its files."""

from __future__ import annotations

import io
import json
import re
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.daemon import Daemon

CONTEXT_TIME = 1_400_000_000
_CONFIG = (
    "Cmd", "Entrypoint", "Env", "Labels", "WorkingDir", "User", "ExposedPorts", "Volumes",
    "OnBuild", "Healthcheck", "Shell", "StopSignal",
)  # fmt: skip
_NOISE = (
    (re.compile(r"^dockerfile parse error (on )?line \d+: |^failed to parse Dockerfile: "), ""),
    (re.compile(r" \(did you mean [^)]*\)"), ""),
    (re.compile(r"(--chown=[0-9:]+)(file|dir|multi):"), r"\1 \2:"),
    (re.compile(r"\b(file|dir|multi):[0-9a-f]{64}\b"), r"\1:<content>"),
    (re.compile(r"sha256:[0-9a-f]{64}"), "<digest>"),
)
_LEFT_OUT = (" ---> Running in", "Removing intermediate container", " ---> Using cache")
_SHORT = re.compile(r"\b[0-9a-f]{12}\b")


@dataclass(frozen=True)
class File:
    """A file of a context; text by default, a link when ``link`` is given."""

    text: str = ""
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    link: str = ""
    data: bytes | None = None
    directory: bool = False


@dataclass(frozen=True)
class Case:
    """A Dockerfile, the files beside it, and the query of the request."""

    name: str
    dockerfile: str
    files: dict[str, str | File] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)


def context(case: Case) -> bytes:
    """The case's context as a tar archive with fixed times and owners of its own."""
    out = io.BytesIO()
    files: dict[str, str | File] = {"Dockerfile": case.dockerfile, **case.files}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, given in files.items():
            file = File(given) if isinstance(given, str) else given
            data = file.text.encode() if file.data is None else file.data
            member = tarfile.TarInfo(name)
            member.mode, member.mtime = file.mode, CONTEXT_TIME
            member.uid, member.gid = file.owner
            if file.directory:
                member.type = tarfile.DIRTYPE
            elif file.link:
                member.type, member.linkname = tarfile.SYMTYPE, file.link
            else:
                member.size = len(data)
            tar.addfile(member, io.BytesIO(data) if member.isfile() else None)
    return out.getvalue()


def observe(daemon: Daemon, case: Case) -> dict[str, Any]:
    """Build the case and tell what is to be seen; "error" alone when it cannot be built."""
    values = {
        name: json.dumps(value) if isinstance(value, dict | list) else str(value)
        for name, value in ({"rm": 1, "nocache": 1, "t": f"case-{case.name}"} | case.query).items()
    }
    status, body = daemon.request(
        "POST",
        f"/v1.41/build?{urlencode(values)}",
        context(case),
        {"Content-Type": "application/x-tar"},
    )
    if status != 200:
        return _failed(json.loads(body)["message"])
    objects = [json.loads(line) for line in body.decode().splitlines() if line.strip()]
    for item in objects:
        if "error" in item:
            return _failed(item["error"])
    seen: dict[str, Any] = {"text": _numbered("".join(o.get("stream", "") for o in objects))}
    return seen | _image(daemon, values["t"])


def observe_client(daemon: Daemon, case: Case, folder: Path) -> dict[str, Any]:
    """The same for a build by the official client, which reads ``.dockerignore`` itself."""
    with tarfile.open(fileobj=io.BytesIO(context(case))) as tar:
        tar.extractall(folder, filter="fully_trusted")
    done = daemon.docker("build", "-t", f"case-{case.name}", str(folder), check=False)
    if done.returncode:
        return _failed(done.stderr.strip().rpartition("\n")[2])
    return _image(daemon, f"case-{case.name}")


def _image(daemon: Daemon, name: str) -> dict[str, Any]:
    shown = daemon.json("GET", f"/v1.41/images/{name}/json")
    config = {key: shown["Config"].get(key) for key in _CONFIG}
    if config["Env"]:
        config["Env"] = sorted(config["Env"])
    history = daemon.json("GET", f"/v1.41/images/{name}/history")
    based = int("busybox" in history[-1]["CreatedBy"]) if history else 0
    seen = {
        "config": {key: value for key, value in config.items() if value},
        "history": [_plain(line["CreatedBy"]) for line in reversed(history)],
        "files": _files(daemon, name) if len(shown["RootFS"].get("Layers") or ()) > based else [],
    }
    return seen | ({"author": shown["Author"]} if shown["Author"] else {})


def _plain(text: str) -> str:
    for pattern, replacement in _NOISE:
        text = pattern.sub(replacement, text)
    return text


def _failed(message: str) -> dict[str, Any]:
    """Docker has changed the case of some messages' first letters since."""
    text = _plain(message.removeprefix("Error response from daemon: "))
    return {"error": text[:1].lower() + text[1:]}


def _numbered(text: str) -> list[str]:
    """The lines of the output; ids become numbers, so that equal ids stay equal."""
    numbers: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return numbers.setdefault(found[0], f"<{len(numbers) + 1}>")

    # dockerd makes a container for every step, Wherry for RUN only; what is cached depends on
    # the cases before.
    lines = [line for line in text.splitlines() if not line.startswith(_LEFT_OUT)]
    return [_SHORT.sub(number, _plain(line)) for line in lines]


def _files(daemon: Daemon, image: str) -> list[str]:
    """What the layers after the first add, when the first is the base image's."""
    status, saved = daemon.request("GET", f"/v1.41/images/{image}/get")
    assert status == 200, saved
    found: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))[0]  # type: ignore[arg-type]
        config = json.load(archive.extractfile(manifest["Config"]))  # type: ignore[arg-type]
        based = len(config["history"]) > 1 and "busybox" in config["history"][0]["created_by"]
        for layer in manifest["Layers"][int(based) :]:
            content = archive.extractfile(layer)
            assert content is not None
            with tarfile.open(fileobj=io.BytesIO(content.read())) as tar:
                for member in tar:
                    found[member.name.strip("/")] = _described(member)
    return [f"{name}: {found[name]}" for name in sorted(found)]


def _described(member: tarfile.TarInfo) -> str:
    if member.name.rpartition("/")[2].startswith(".wh."):
        return "whiteout"
    kinds = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "link", tarfile.LNKTYPE: "hard link"}
    kind = kinds.get(member.type, "file")
    time = {CONTEXT_TIME: "kept", 0: "0"}.get(int(member.mtime), "now")
    detail = f" -> {member.linkname}" if member.linkname else ""
    size = f" {member.size} bytes" if member.isfile() else ""
    if kind == "link":
        return f"link -> {member.linkname}"
    return f"{kind} {member.mode & 0o7777:o} {member.uid}:{member.gid} {time}{size}{detail}"
