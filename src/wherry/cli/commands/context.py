"""``wherry context``: create, inspect, ls, rm, show, update, use"""

from __future__ import annotations

import os

from wherry.cli.command import Command, anything, at_least, exactly, none
from wherry.cli.commands.inspect import inspect_all
from wherry.cli.contexts import DEFAULT, TLS_FILES, Context, ContextStore, check_name
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, STRING, STRING_TO_STRING
from wherry.cli.tables import Row, listing
from wherry.errors import WherryError
from wherry.golang import parse_bool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

_KEYS = ("from", "host", "ca", "cert", "key", "skip-tls-verify")
_TITLES = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "DockerEndpoint": "DOCKER ENDPOINT",
    "Error": "ERROR",
}


def store_of(session: Session) -> ContextStore:
    """The contexts beside the configuration file."""
    return ContextStore(session.config.directory)


def _endpoint(
    session: Session, store: ContextStore, settings: dict[str, str]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A ``docker`` endpoint and its certificates of ``--docker`` values; raises CliError."""
    unknown = [key for key in settings if key not in _KEYS]
    if unknown:
        raise CliError(f"unrecognized config key: {', '.join(unknown)}")
    if source := settings.get("from"):
        return _copy_of(session, store, source)
    skip = False
    if text := settings.get("skip-tls-verify"):
        try:
            skip = parse_bool(text)
        except ValueError as error:
            raise CliError(str(error)) from None
    host = settings.get("host", "")
    if host:
        from wherry.client.endpoint import Endpoint

        try:
            Endpoint(host)
        except WherryError as error:
            raise CliError(str(error)) from None
    files: dict[str, bytes] = {}
    for key, name in zip(("ca", "cert", "key"), TLS_FILES, strict=True):
        if path := settings.get(key):
            try:
                with open(path, "rb") as file:
                    files[name] = file.read()
            except OSError as error:
                raise CliError(f"open {path}: {(error.strerror or '').lower()}") from None
    return {"Host": host, "SkipTLSVerify": skip}, files


def _copy_of(
    session: Session, store: ContextStore, source: str
) -> tuple[dict[str, Any], dict[str, bytes]]:
    if source == DEFAULT:
        return {"Host": session.default_endpoint().address, "SkipTLSVerify": False}, {}
    context = store.get(source)
    return context.docker, read_files(context)


def read_files(context: Context) -> dict[str, bytes]:
    """The certificates of a context by name."""
    files = {}
    for name in context.tls_files():
        with open(f"{context.tls_path}/docker/{name}", "rb") as file:
            files[name] = file.read()
    return files


def _create(session: Session, options: Options, arguments: list[str]) -> int:
    name = arguments[0]
    store = store_of(session)
    check_name(name)
    if store.exists(name):
        raise CliError(f'context "{name}" already exists')
    if options["from"] and options["docker"]:
        raise CliError("cannot use --docker flag when --from is set")
    if options["docker"] and not options["from"]:
        endpoint, files = _endpoint(session, store, options["docker"])
    else:
        endpoint, files = _copy_of(session, store, options["from"] or session.context_name)
    description = options["description"]
    if options["from"] and not options.given("description") and options["from"] != DEFAULT:
        description = store.get(options["from"]).description
    metadata = {
        "Name": name,
        "Metadata": {"Description": description} if description else {},
        "Endpoints": {"docker": endpoint},
    }
    context = Context(name, metadata, store.root)
    store.save(context)
    store.save_tls(context, files)
    session.say(name)
    session.warn(f'Successfully created context "{name}"')
    return 0


def _update(session: Session, options: Options, arguments: list[str]) -> int:
    name = arguments[0]
    store = store_of(session)
    check_name(name)
    context = store.get(name)
    if options.given("description"):
        context.metadata["Metadata"] = {"Description": options["description"]}
    if options["docker"]:
        endpoint, files = _endpoint(session, store, options["docker"])
        context.metadata.setdefault("Endpoints", {})["docker"] = endpoint
        store.save_tls(context, files)
    store.save(context)
    session.say(name)
    session.warn(f'Successfully updated context "{name}"')
    return 0


def _row(session: Session, name: str, description: str, host: str, current: bool) -> Row:
    return Row(
        "clientContextContext",
        {
            "Name": lambda: name,
            "Current": lambda: current,
            "Description": lambda: description,
            "DockerEndpoint": lambda: host,
            "Error": lambda: "",
        },
    )


def _ls(session: Session, options: Options, arguments: list[str]) -> int:
    current = session.context_name
    rows = [
        _row(
            session,
            DEFAULT,
            "Current DOCKER_HOST based configuration",
            session.default_endpoint().address,
            current == DEFAULT,
        )
    ]
    rows += [
        _row(session, context.name, context.description, context.host, current == context.name)
        for context in store_of(session).list()
    ]
    listing(
        sorted(rows, key=lambda row: str(row.field("Name"))),
        _TITLES,
        options["format"],
        "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
        quiet=options["quiet"],
        quiet_form="{{.Name}}",
    )
    if os.environ.get("DOCKER_HOST") and not options["quiet"]:
        session.warn(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use a "
            "context, either set the global --context flag, or unset DOCKER_HOST environment "
            "variable."
        )
    return 0


def _view(session: Session, name: str) -> dict[str, Any]:
    if name == DEFAULT:
        endpoint = {"Host": session.default_endpoint().address, "SkipTLSVerify": False}
        return {
            "Name": DEFAULT,
            "Metadata": {},
            "Endpoints": {"docker": endpoint},
            "TLSMaterial": {},
            "Storage": {"MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>"},
        }
    context = store_of(session).get(name)
    files = context.tls_files()
    return {
        "Name": name,
        "Metadata": context.metadata.get("Metadata") or {},
        "Endpoints": context.metadata.get("Endpoints") or {},
        "TLSMaterial": {"docker": files} if files else {},
        "Storage": {"MetadataPath": context.meta_path, "TLSPath": context.tls_path},
    }


def _inspect(session: Session, options: Options, arguments: list[str]) -> int:
    names = arguments or [session.context_name]
    return inspect_all(session, options["format"], names, lambda name: _view(session, name))


def _rm(session: Session, options: Options, arguments: list[str]) -> int:
    store = store_of(session)
    problems = []
    for name in arguments:
        if name == DEFAULT:
            problems.append('context "default" cannot be removed')
        elif name == session.context_name and not options["force"]:
            problems.append(f"context {name} is in use, set -f flag to force remove")
        elif not store.exists(name) and not options["force"]:
            problems.append(f'context "{name}" does not exist')
        else:
            if name == session.config.text("currentContext"):
                session.config.data.pop("currentContext", None)
                session.config.save()
            store.remove(name)
            session.say(name)
    if problems:
        raise CliError("\n".join(problems))
    return 0


def _show(session: Session, options: Options, arguments: list[str]) -> int:
    session.say(session.context_name)
    return 0


def _use(session: Session, options: Options, arguments: list[str]) -> int:
    name = arguments[0]
    if name != DEFAULT:
        check_name(name)
        store_of(session).get(name)
    if name == DEFAULT:
        session.config.data.pop("currentContext", None)
    else:
        session.config.data["currentContext"] = name
    session.config.save()
    session.say(name)
    session.warn(f'Current context is now "{name}"')
    if name != DEFAULT and os.environ.get("DOCKER_HOST"):
        session.warn(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use "
            f'"{name}", either set the global --context flag, or unset DOCKER_HOST environment '
            "variable."
        )
    return 0


_DESCRIPTION = Flag("description", "", STRING, "Description of the context")
_DOCKER = Flag("docker", "", STRING_TO_STRING, "Set the endpoint: host=…,ca=…,cert=…,key=…")

CREATE = Command(
    "create [OPTIONS] CONTEXT",
    _create,
    flags=(_DESCRIPTION, _DOCKER, Flag("from", "", STRING, "Create from a named context")),
    arguments=exactly(1),
)
UPDATE = Command(
    "update [OPTIONS] CONTEXT", _update, flags=(_DESCRIPTION, _DOCKER), arguments=exactly(1)
)
LS = Command(
    "ls [OPTIONS]",
    _ls,
    flags=(
        Flag("format", "", STRING, "Format output: table, table TEMPLATE, json, or TEMPLATE"),
        Flag("quiet", "q", BOOL, "Only show context names"),
    ),
    arguments=none,
)
INSPECT = Command(
    "inspect [OPTIONS] [CONTEXT] [CONTEXT...]",
    _inspect,
    flags=(Flag("format", "f", STRING, "Format output: json, or a TEMPLATE"),),
    arguments=anything,
)
RM = Command(
    "rm CONTEXT [CONTEXT...]",
    _rm,
    flags=(Flag("force", "f", BOOL, "Force the removal of a context in use"),),
    arguments=at_least(1),
)
SHOW = Command("show", _show, arguments=none)
USE = Command("use CONTEXT", _use, arguments=exactly(1))
