"""What a client asks for when it attaches to a container."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AttachOptions:
    """``logs`` replays what was written; ``stream`` connects to what is written from now on.

    ``detach_keys`` is Docker's notation ("ctrl-p,ctrl-q"); None means the default.
    """

    stream: bool = True
    logs: bool = False
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    detach_keys: str | None = None
