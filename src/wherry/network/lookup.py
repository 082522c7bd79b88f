"""Finding a network by id, name or unique id prefix, in that order, as Docker does."""

from __future__ import annotations

from typing import overload

from wherry.errors import InvalidParameter, NotFound
from wherry.network.model import Network
from wherry.network.records import Records


@overload
def find_network(records: Records, reference: str) -> Network: ...
@overload
def find_network(records: Records, reference: str, default: None) -> Network | None: ...


def find_network(
    records: Records, reference: str, default: Network | str | None = "raise"
) -> Network | None:
    """The network that ``reference`` means.

    Raises NotFound and, for a prefix of several ids, InvalidParameter; with a default of None
    a network that is not there is None.
    """
    found = records.network(reference) or records.network_named(reference)
    if found is not None:
        return found
    matches = records.networks_by_prefix(reference) if reference else []
    if len(matches) > 1:
        raise InvalidParameter(
            f"network {reference} is ambiguous ({len(matches)} matches found on ID prefix)"
        )
    if matches:
        return matches[0]
    if default is None:
        return None
    raise NotFound(f"network {reference} not found")
