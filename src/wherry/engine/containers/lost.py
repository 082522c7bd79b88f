"""Containers whose record the disk took out of the state store.

Their files are all that is left of them, and some may still run: neither is touched, now or
later, until a person has taken what is needed and removed the folder.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress

from wherry.engine.containers.services import Services, log

_NOTE = "record-lost"


def mark(services: Services) -> None:
    """After a repair: note in each folder without a record why it stays."""
    folder = os.path.join(services.config.data_root, "containers")
    found = sorted(name for name in os.listdir(folder) if name not in services.containers)
    for name in found:
        with suppress(OSError), open(os.path.join(folder, name, _NOTE), "x") as note:
            note.write(
                f"{services.repaired}.\n"
                f"The record of container {name} is lost. Its log is in this folder, its file"
                f" system in {services.config.data_root}/roots; if it was running, it runs on."
                " Remove this folder and restart the daemon to have the rest removed.\n"
            )
            log.error(
                "the record of container %s is lost: its files and processes are left alone,"
                " see %s",
                name,
                os.path.join(folder, name, _NOTE),
            )


def identities(services: Services) -> Collection[str]:
    """The containers that are marked."""
    folder = os.path.join(services.config.data_root, "containers")
    return frozenset(
        name for name in os.listdir(folder) if os.path.exists(os.path.join(folder, name, _NOTE))
    )
