"""``wherry insert``: the original's command, as a layer with its own line in the history."""

from __future__ import annotations

import os

from wherry.cli.command import Command, exactly
from wherry.cli.errors import CliError
from wherry.cli.kinds import parse_bytes
from wherry.cli.tarstream import TarStream
from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session

_LIMIT = parse_bytes("1g")


def _fetch(url: str) -> bytes:
    """The content behind a URL; raises CliError."""
    import urllib.error
    import urllib.request

    if not url.startswith(("http://", "https://")):
        raise CliError(f"{url} is not an http or https URL")
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            content: bytes = response.read(_LIMIT + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise CliError(f"cannot fetch {url}: {getattr(error, 'reason', error)}") from None
    if len(content) > _LIMIT:
        raise CliError(f"cannot insert {url}: it is larger than 1 GiB")
    return content


def _insert(session: Session, options: Options, arguments: list[str]) -> int:
    image, url, path = arguments
    path = os.path.normpath("/" + path.lstrip("/"))
    if path == "/":
        raise CliError("the path of the file in the image is missing")
    stream = TarStream()
    stream.add_bytes(path.lstrip("/"), _fetch(url), 0o644)
    client = session.client
    before = client.call("GET", f"/images/{quote(image, '/:@')}/json").get("Config") or {}
    command = f"#(nop) INSERT {url} {path}"
    body = {"Image": image, "Cmd": ["/bin/sh", "-c", command], "Entrypoint": []}
    container = client.call("POST", "/containers/create", body=body)["Id"]
    try:
        client.call_raw(
            "PUT",
            f"/containers/{container}/archive",
            query={"path": "/"},
            body=stream.finish(),
            headers={"Content-Type": "application/x-tar"},
        )
        config = {key: value for key, value in before.items() if value is not None}
        answer = client.call(
            "POST",
            "/commit",
            query={"container": container, "comment": f"insert {url} {path}", "pause": False},
            body={"Image": image, **config},
        )
    finally:
        client.call("DELETE", f"/containers/{container}", query={"force": True, "v": True})
    session.say(str(answer["Id"]))
    return 0


INSERT = Command("insert IMAGE URL PATH", _insert, arguments=exactly(3))
