"""When ``run`` and ``create`` pull the image that a creation lacks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from wherry.cli.commands import run
from wherry.cli.commands.run import create_container
from wherry.client.errors import NotFoundError

OPTIONS = {"pull": "missing", "platform": "linux/arm64", "cidfile": "", "quiet": True, "name": ""}


@pytest.mark.parametrize(
    ("reason", "pulled"),
    [
        ("No such image: a:latest", True),
        ("image with reference a was found but does not match the specified platform", True),
        ("No such container: b", False),
    ],
)
def test_what_a_pull_can_help_is_pulled(
    monkeypatch: pytest.MonkeyPatch, reason: str, pulled: bool
) -> None:
    pulls: list[str] = []

    def call(*_: Any, **__: Any) -> dict[str, Any]:
        if pulls:
            return {"Id": "made"}
        raise NotFoundError(404, reason)

    monkeypatch.setattr(run, "_pull", lambda _session, image, *_: pulls.append(image))
    session: Any = SimpleNamespace(client=SimpleNamespace(call=call))
    options: Any = OPTIONS
    if pulled:
        assert create_container(session, options, {"Image": "a"}) == "made"
    else:
        with pytest.raises(NotFoundError, match=reason):
            create_container(session, options, {"Image": "a"})
    assert pulls == (["a"] if pulled else [])
