"""What the shim is told about a container's log."""

from __future__ import annotations

import os
import re

from wherry.engine.containers.record import Record
from wherry.errors import InvalidParameter
from wherry.patterns import BadPattern, Pattern
from wherry.runtime.bundle import LogConfig
from wherry.runtime.logdrivers.options import parse_bool, parse_size
from wherry.timestamps import rfc3339


def log_config(record: Record, path: str) -> LogConfig:
    """The log of a container as its shim writes it; options were checked at creation."""
    options = dict(record.host.log_config.config or {})
    driver = record.host.log_config.type
    if driver == "none":
        return LogConfig("none")
    size = options.get("max-size", "20m" if driver == "local" else "-1")
    files = options.get("max-file", "5" if driver == "local" else "1")
    compress = options.get("compress", "true" if driver == "local" else "false")
    return LogConfig(
        driver="json-file" if driver == "local" else driver,
        path=path,
        max_size=-1 if size == "-1" else parse_size("max-size", size),
        max_file=int(files or "1"),
        compress=parse_bool("compress", compress),
        attributes=attributes(record, options),
        options=options,
        source=source(record, options),
    )


def source(record: Record, options: dict[str, str]) -> dict[str, str]:
    """Whose output it is, as drivers that send it to a service tell."""
    return {
        "container_id": record.id,
        "container_name": record.name,
        "image_id": record.image,
        "image_name": record.config.image,
        "command": " ".join(record.args),
        "created": rfc3339(record.created),
        "hostname": os.uname().nodename,
        "tag": expand_tag(options.get("tag") or "{{.ID}}", record),
    }


def attributes(record: Record, options: dict[str, str]) -> dict[str, str]:
    """The labels and variables that ``labels``, ``env`` and their regex forms choose, the tag."""
    labels = record.config.labels or {}
    variables = dict(entry.partition("=")[::2] for entry in record.config.env or () if "=" in entry)
    chosen: dict[str, str] = {}
    for names, pattern, source in (
        ("labels", "labels-regex", labels),
        ("env", "env-regex", variables),
    ):
        for name in options.get(names, "").split(","):
            if name in source:
                chosen[name] = source[name]
        if options.get(pattern):
            matcher = _compiled(pattern, options[pattern])
            chosen |= {name: value for name, value in source.items() if matcher.search(name)}
    if options.get("tag"):
        chosen["tag"] = expand_tag(options["tag"], record)
    return chosen


def _compiled(option: str, text: str) -> Pattern:
    try:
        return Pattern(text)
    except BadPattern as error:
        raise InvalidParameter(f"invalid value for {option}: {text!r}: {error}") from None


def expand_tag(template: str, record: Record) -> str:
    """A tag's template with the container's values in it."""
    values = {
        "ID": record.id[:12],
        "FullID": record.id,
        "Name": record.name,
        "ImageID": record.image.partition(":")[2][:12],
        "ImageFullID": record.image,
        "ImageName": record.config.image,
        "DaemonName": "wherry",
    }
    return re.sub(r"\{\{\s*\.(\w+)\s*\}\}", lambda match: values.get(match[1], match[0]), template)
