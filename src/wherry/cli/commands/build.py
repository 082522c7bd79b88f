"""``wherry build``"""

from __future__ import annotations

import base64
import json
import os
import sys

from wherry.cli import references
from wherry.cli.auth import all_credentials
from wherry.cli.command import Command, exactly
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, BYTES, INT, LIST, MEMORY_SWAP, STRING, STRINGS, checked_list
from wherry.cli.options.container_flags import ENVIRONMENT, EXTRA_HOSTS, LABELS, ULIMIT
from wherry.cli.progress import draw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session


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
_SWITCHES = (("no-cache", "nocache"), ("pull", "pull"), ("force-rm", "forcerm"))


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
        "securityopt": options["security-opt"],
        "ulimits": json.dumps(options["ulimit"]) if options["ulimit"] else None,
        "extrahosts": options["add-host"],
        "squash": options["squash"] or None,
        "platform": platform.lower() or None,
        "check": options["check"] or None,
        "nocachefilter": ",".join(options["no-cache-filter"]) or None,
        "allow": ",".join(options["allow"]) or None,
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
    from wherry.cli.build_context import NAMED_CONTEXT, directory_context, is_remote, stdin_context
    from wherry.cli.build_options import read_contexts

    dockerfile = options["file"]
    addresses, directories = read_contexts(options["build-context"])
    if directories and (source == "-" or is_remote(source)):
        raise CliError("a directory as --build-context needs a directory as context")
    places = {f"{NAMED_CONTEXT}-{number}": name for number, name in enumerate(directories)}
    query["contexts"] = {**addresses, **{n: f"tar:{place}" for place, n in places.items()}} or None
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
    body, name = directory_context(
        source,
        dockerfile,
        compress=options["compress"],
        named={place: directories[name] for place, name in places.items()},
    )
    query["dockerfile"] = name
    return body


def _headers(session: Session, options: Options) -> dict[str, str]:
    """Credentials, secrets and agents: what is in no address."""
    from wherry.cli.build_options import read_agent, read_secret

    secrets = dict(read_secret(text, os.environ) for text in options["secret"])
    agents = dict(read_agent(text, os.environ) for text in options["ssh"])
    if agents and not session.endpoint.address.startswith("unix://"):
        raise CliError("--ssh needs an engine on this host: the agent's socket is not reachable")
    headers = {"Content-Type": "application/x-tar"}
    headers["X-Registry-Config"] = _encoded(all_credentials(session.config))
    if secrets:
        values = {name: base64.b64encode(value).decode() for name, value in secrets.items()}
        headers["X-Build-Secrets"] = _encoded(values)
    if agents:
        headers["X-Build-SSH"] = _encoded(agents)
    return headers


def _encoded(value: object) -> str:
    text = json.dumps(value, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode()


def _build(session: Session, options: Options, arguments: list[str]) -> int:
    from wherry.cli import build_output
    from wherry.cli.build_options import read_caches, read_output

    if options["compress"] and options["stream"]:
        raise CliError("--compress conflicts with --stream options")
    exports = [read_output(text) for text in options["output"]]
    caches = read_caches(options["cache-from"], options["cache-to"])
    query = build_query(session, options)
    headers = _headers(session, options)
    body = _context(options, arguments[0], query)
    loaded = [build_output.load_cache(session, path) for path in caches.source_directories]
    sources = [*caches.sources, *(name for name in loaded if name)]
    saved = [
        (f"wherry-local-cache:{os.getpid()}-{number}", *place)
        for number, place in enumerate(caches.target_directories)
    ]
    targets = [*caches.targets, *(f"type=image,ref={name},mode={mode}" for name, _, mode in saved)]
    query["cachefrom"] = json.dumps(sources) if sources else None
    query["cacheto"] = json.dumps(targets) if targets else None
    try:
        found = _run(session, options, query, body, headers)
    finally:
        for name in filter(None, loaded):
            build_output.drop_cache(session, name)
    if options["check"]:
        return 0
    if not found:
        raise CliError("the engine did not say which image it built")
    image, tags = found[-1], options["tag"]
    for name, directory, _ in saved:
        build_output.save_cache(session, name, directory)
    for wanted in exports:
        build_output.export(session, image, tags, wanted)
    if options["push"]:
        if not tags:
            raise CliError("tag is needed when pushing to registry")
        for name in tags:
            build_output.push(session, name)
    if options["iidfile"]:
        with open(options["iidfile"], "w", encoding="utf-8") as file:
            file.write(image)
    if options["metadata-file"]:
        build_output.write_metadata(options["metadata-file"], image, tags)
    return 0


def _run(
    session: Session,
    options: Options,
    query: dict[str, Any],
    body: Iterable[bytes] | None,
    headers: dict[str, str],
) -> list[str]:
    """Build and show what happens; returns the ids that the engine told."""
    progress = options["progress"]
    if progress not in ("auto", "plain", "tty", "quiet", "rawjson"):
        raise CliError(f"invalid progress mode {progress!r}: it is auto, plain, tty or rawjson")
    quiet = options["quiet"] or progress == "quiet"
    live = not quiet and (progress == "tty" or (progress == "auto" and session.stdout_is_terminal))
    live = live and not options["check"]
    query["q"] = quiet or None
    query["explain"] = live or options["explain"] or None
    if body is not None and not quiet and progress != "rawjson":
        body = _counted(body)
    found: list[str] = []

    def note(aux: dict[str, Any]) -> None:
        if aux.get("ID"):
            found.append(str(aux["ID"]))

    messages = session.client.stream("POST", "/build", query=query, body=body, headers=headers)
    if progress == "rawjson":
        messages = _printed(session, messages)
    if quiet or progress == "rawjson":
        from io import StringIO

        out = StringIO()
        try:
            draw(messages, out, note)
        except CliError:
            session.warn(out.getvalue().rstrip("\n") if quiet else "")
            raise
        session.write(out.getvalue() if quiet else "")
    elif live:
        from wherry.cli.build_view import draw_build
        from wherry.cli.terminal import size

        draw_build(messages, size()[1] or 80, explain=options["explain"], on_aux=note)
    else:
        draw(messages, None, note)
    return found


def _printed(session: Session, messages: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        session.say(json.dumps(message, separators=(",", ":")))
        yield message


def _counted(parts: Iterable[bytes]) -> Iterable[bytes]:
    """Pass the context on and say how much of it was sent."""
    from wherry.cli.units import human_size

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
        Flag("cache-from", "", LIST, "Images to consider as cache sources"),
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
        Flag("allow", "", STRINGS, "Allow extra privileges (network.host, security.insecure)"),
        Flag("build-context", "", LIST, "Additional context (name=directory or address)"),
        Flag("cache-to", "", LIST, "Where to put the cache (type=registry|local|inline,…)"),
        Flag("load", "", BOOL, "The image is always in the engine's store", hidden=True),
        Flag("metadata-file", "", STRING, "Write the build's result to the file, as JSON"),
        Flag("no-cache-filter", "", STRINGS, "Stages that are built without cache"),
        Flag("output", "o", LIST, "Where the result goes (directory, -, type=tar,dest=FILE, …)"),
        Flag("progress", "", STRING, "Output: auto, plain, tty or rawjson", default="auto"),
        Flag("push", "", BOOL, "Push the image when it is built"),
        Flag("secret", "", LIST, "Secret of the build (id=ID[,src=FILE|env=VARIABLE])"),
        Flag("ssh", "", LIST, "SSH agent of the build (default|ID[=SOCKET])"),
    ),
    arguments=exactly(1),
)
