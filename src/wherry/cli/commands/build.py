"""``wherry build``"""

from __future__ import annotations

import base64
import json
import os
import sys

from .. import references
from ..auth import all_credentials
from ..command import Command, exactly
from ..errors import CliError
from ..flags import Flag
from ..kinds import BOOL, BYTES, INT, LIST, MEMORY_SWAP, STRING, STRINGS, checked_list
from ..options.container_flags import ENVIRONMENT, EXTRA_HOSTS, LABELS, ULIMIT
from ..progress import draw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..flags import Options
    from ..session import Session


def _tag(text: str) -> str:
    try:
        references.check(text)
    except CliError as error:
        raise ValueError(str(error)) from None
    return text


_NUMBERS = (
    ("memory", "memory"),
    ("memory-swap", "memswap"),
    ("cpu-shares", "cpushares"),
    ("cpu-period", "cpuperiod"),
    ("cpu-quota", "cpuquota"),
    ("shm-size", "shmsize"),
)
_TEXTS = (
    ("cpuset-cpus", "cpusetcpus"),
    ("cpuset-mems", "cpusetmems"),
    ("cgroup-parent", "cgroupparent"),
    ("network", "networkmode"),
    ("target", "target"),
    ("isolation", "isolation"),
)
_SWITCHES = (("no-cache", "nocache"), ("pull", "pull"), ("force-rm", "forcerm"), ("quiet", "q"))


def build_query(session: Session, options: Options) -> dict[str, Any]:
    """The query of ``POST /build``, but for the Dockerfile and where the context comes from."""
    arguments: dict[str, str | None] = {}
    for entry in options["build-arg"]:
        name, equals, value = entry.partition("=")
        arguments[name] = value if equals else None
    for name, value in session.config.proxies(session.endpoint.address).items():
        arguments.setdefault(name, value)
    labels = {name: value for name, _, value in (e.partition("=") for e in options["label"])}
    platform = options["platform"] or os.environ.get("DOCKER_DEFAULT_PLATFORM", "")
    query: dict[str, Any] = {
        "version": "1",
        "t": options["tag"],
        "buildargs": arguments or None,
        "labels": labels or None,
        "cachefrom": json.dumps(options["cache-from"]) if options["cache-from"] else None,
        "securityopt": options["security-opt"],
        "ulimits": json.dumps(options["ulimit"]) if options["ulimit"] else None,
        "extrahosts": options["add-host"],
        "squash": options["squash"] or None,
        "platform": platform.lower() or None,
        "explain": options["explain"] or None,
        "check": options["check"] or None,
        # Removing intermediate containers is the daemon's default.
        "rm": None if options["rm"] else False,
    }
    query.update({key: options[flag] or None for flag, key in (*_NUMBERS, *_TEXTS)})
    query.update({key: options[flag] or None for flag, key in _SWITCHES})
    if query["networkmode"] == "default":
        query["networkmode"] = None
    return query


def _context(options: Options, source: str, query: dict[str, Any]) -> Iterable[bytes] | None:
    """The body of the request, and in ``query`` what it leaves to the daemon."""
    from ..build_context import directory_context, is_remote, stdin_context

    dockerfile = options["file"]
    if source == "-":
        if dockerfile == "-":
            raise CliError(
                "invalid argument: can't use stdin for both build context and dockerfile"
            )
        query["dockerfile"] = dockerfile or None
        return stdin_context()
    if is_remote(source):
        query["remote"] = source
        query["dockerfile"] = dockerfile or None
        return None
    body, name = directory_context(source, dockerfile, compress=options["compress"])
    query["dockerfile"] = name
    return body


def _build(session: Session, options: Options, arguments: list[str]) -> int:
    if options["compress"] and options["stream"]:
        raise CliError("--compress conflicts with --stream options")
    query = build_query(session, options)
    body = _context(options, arguments[0], query)
    auths = json.dumps(all_credentials(session.config), separators=(",", ":"))
    headers = {
        "X-Registry-Config": base64.urlsafe_b64encode(auths.encode()).decode(),
        "Content-Type": "application/x-tar",
    }
    quiet = options["quiet"]
    if body is not None and not quiet:
        body = _counted(body)
    found: list[str] = []

    def note(aux: dict[str, Any]) -> None:
        if aux.get("ID"):
            found.append(str(aux["ID"]))

    messages = session.client.stream("POST", "/build", query=query, body=body, headers=headers)
    if quiet:
        from io import StringIO

        out = StringIO()
        try:
            draw(messages, out, note)
        except CliError:
            session.warn(out.getvalue().rstrip("\n"))
            raise
        session.write(out.getvalue())
    else:
        draw(messages, None, note)
    if options["iidfile"]:
        if not found:
            raise CliError(f"server did not provide an image ID. Cannot write {options['iidfile']}")
        with open(options["iidfile"], "w", encoding="utf-8") as file:
            file.write(found[-1])
    return 0


def _counted(parts: Iterable[bytes]) -> Iterable[bytes]:
    """Pass the context on and say how much of it was sent."""
    from ..units import human_size

    total = 0
    step = 0
    terminal = sys.stdout.isatty()
    title = "Sending build context to the engine"
    for part in parts:
        total += len(part)
        step += len(part)
        if terminal and step > 1 << 20:
            step = 0
            sys.stdout.write(f"\r\x1b[2K{title}  {human_size(total)}")
            sys.stdout.flush()
        yield part
    sys.stdout.write(
        f"{chr(13) + chr(27) + '[2K' if terminal else ''}{title}  {human_size(total)}\n"
    )
    sys.stdout.flush()


BUILD = Command(
    "build [OPTIONS] PATH | URL | -",
    _build,
    flags=(
        Flag("add-host", "", EXTRA_HOSTS, "Add a host-to-address mapping (host:ip)"),
        Flag("build-arg", "", ENVIRONMENT, "Set build-time variables"),
        Flag("cache-from", "", STRINGS, "Images to consider as cache sources"),
        Flag("cgroup-parent", "", STRING, "Parent cgroup of the steps' containers"),
        Flag("check", "", BOOL, "Check the Dockerfile and build nothing"),
        Flag("compress", "", BOOL, "Compress the build context using gzip"),
        Flag("cpu-period", "", INT, "CPU scheduler period in microseconds"),
        Flag("cpu-quota", "", INT, "CPU scheduler quota in microseconds"),
        Flag("cpu-shares", "c", INT, "CPU shares (relative weight)"),
        Flag("cpuset-cpus", "", STRING, "CPUs to run on (0-3, 0,1)"),
        Flag("cpuset-mems", "", STRING, "Memory nodes to use (0-3, 0,1)"),
        Flag("disable-content-trust", "", BOOL, "", default=True, hidden=True),
        Flag("explain", "", BOOL, "Say for each step why it was or was not cached"),
        Flag("file", "f", STRING, 'Name of the Dockerfile (default "PATH/Dockerfile")'),
        Flag("force-rm", "", BOOL, "Always remove intermediate containers"),
        Flag("iidfile", "", STRING, "Write the image id to the file"),
        Flag("isolation", "", STRING, "Container isolation technology"),
        Flag("label", "", LABELS, "Set metadata for an image"),
        Flag("memory", "m", BYTES, "Memory limit"),
        Flag("memory-swap", "", MEMORY_SWAP, "Limit of memory plus swap: -1 for unlimited swap"),
        Flag("network", "", STRING, "Networking of RUN instructions", default="default"),
        Flag("no-cache", "", BOOL, "Do not use cache when building the image"),
        Flag("platform", "", STRING, "Platform to build for (os/arch[/variant])"),
        Flag("pull", "", BOOL, "Always attempt to pull a newer version of the image"),
        Flag("quiet", "q", BOOL, "Suppress the build output and print the image id"),
        Flag("rm", "", BOOL, "Remove intermediate containers after success", default=True),
        Flag("security-opt", "", STRINGS, "Security options"),
        Flag("shm-size", "", BYTES, "Size of /dev/shm"),
        Flag("squash", "", BOOL, "Squash newly built layers into a single new layer"),
        Flag("stream", "", BOOL, "Stream the context", hidden=True),
        Flag("tag", "t", checked_list(_tag), 'Name and tag of the image ("name:tag")'),
        Flag("target", "", STRING, "Set the target build stage to build"),
        Flag("ulimit", "", ULIMIT, "Resource limits of processes"),
        Flag("progress", "", STRING, "Kind of progress output", default="auto", hidden=True),
        Flag("secret", "", LIST, "Secret to expose to the build", hidden=True),
    ),
    arguments=exactly(1),
)
