"""``wherry system dial-stdio``: the far end of ``ssh://`` addresses."""

from __future__ import annotations

import os
import threading

from wherry.cli.attaching import write_all
from wherry.cli.command import Command, none
from wherry.cli.files import read_chunks
from wherry.client.http import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _dial_stdio(session: Session, options: Options, arguments: list[str]) -> int:
    stream = Stream(session.endpoint.connect())

    def send() -> None:
        try:
            for part in read_chunks(0):
                stream.write(part)
        except OSError:
            return  # the daemon has closed; the other direction sees it too
        stream.close_write()

    threading.Thread(target=send, daemon=True).start()
    while data := stream.read_some():
        write_all(1, data)
    os.close(1)
    return 0


DIAL_STDIO = Command("dial-stdio", _dial_stdio, arguments=none)
