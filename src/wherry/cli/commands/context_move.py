"""``wherry context export`` and ``import``"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile

from wherry.cli.command import Command, between, exactly
from wherry.cli.commands.context import read_files, store_of
from wherry.cli.contexts import TLS_FILES, Context, check_name
from wherry.cli.errors import CliError
from wherry.cli.tarstream import TarStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session

_LIMIT = 10 << 20


def _export(session: Session, options: Options, arguments: list[str]) -> int:
    name = arguments[0]
    check_name(name)
    context = store_of(session).get(name)
    stream = TarStream()
    stream.add_bytes("meta.json", json.dumps(context.metadata, separators=(",", ":")).encode())
    for file, content in read_files(context).items():
        stream.add_bytes(f"tls/docker/{file}", content, 0o600)
    data = stream.finish()
    target = arguments[1] if len(arguments) > 1 else f"{name}.dockercontext"
    if target == "-":
        if session.stdout_is_terminal:
            raise CliError("cowardly refusing to export to a terminal, specify a file path")
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return 0
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CliError(f"open {target}: {(error.strerror or '').lower()}") from None
    with open(descriptor, "wb") as out:
        out.write(data)
    session.warn(f'Written file "{target}"')
    return 0


def _members(data: bytes) -> dict[str, bytes]:
    """Name and content of each file of a tar or zip archive; raises CliError."""
    if data[:4] == b"PK\x03\x04":
        import zipfile

        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            return {
                info.filename: packed.read(info)
                for info in packed.infolist()
                if not info.is_dir() and info.file_size <= _LIMIT
            }
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                if file is not None:
                    members[member.name] = file.read(_LIMIT)
    except tarfile.TarError as error:
        raise CliError(f"invalid context archive: {error}") from None
    return members


def _import(session: Session, options: Options, arguments: list[str]) -> int:
    name, source = arguments
    store = store_of(session)
    check_name(name)
    if store.exists(name):
        raise CliError(f'context "{name}" already exists')
    if source == "-":
        data = sys.stdin.buffer.read(_LIMIT)
    else:
        try:
            with open(source, "rb") as file:
                data = file.read(_LIMIT)
        except OSError as error:
            raise CliError(f"open {source}: {(error.strerror or '').lower()}") from None
    members = _members(data)
    if "meta.json" not in members:
        raise CliError("invalid context: no metadata found")
    files = {}
    for path, content in members.items():
        if path == "meta.json":
            continue
        parts = path.split("/")
        if len(parts) != 3 or parts[:2] != ["tls", "docker"] or parts[2] not in TLS_FILES:
            raise CliError(f"invalid context file {path!r}")
        files[parts[2]] = content
    try:
        metadata = json.loads(members["meta.json"])
    except ValueError as error:
        raise CliError(f"invalid context metadata: {error}") from None
    context = Context(name, {**metadata, "Name": name}, store.root)
    store.save(context)
    store.save_tls(context, files)
    session.say(name)
    session.warn(f'Successfully imported context "{name}"')
    return 0


EXPORT = Command("export CONTEXT [FILE|-]", _export, arguments=between(1, 2))
IMPORT = Command("import CONTEXT FILE|-", _import, arguments=exactly(2))
