"""``--gpus``: requests for devices by count or name."""

from __future__ import annotations

from wherry.cli.kinds import read_csv
from wherry.golang import parse_int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _count(text: str) -> int:
    if text == "all":
        return -1
    try:
        return parse_int(text, base=10)
    except ValueError:
        raise ValueError(
            f'invalid count ({text}): value must be either "all" or an integer: invalid syntax'
        ) from None


def parse_gpus(text: str) -> dict[str, Any]:
    """One ``--gpus`` value as the API's DeviceRequest; raises ValueError."""
    request: dict[str, Any] = {
        "Driver": "",
        "Count": 0,
        "DeviceIDs": None,
        "Capabilities": None,
        "Options": {},
    }
    seen: set[str] = set()
    for field in read_csv(text):
        key, equals, value = field.partition("=")
        if key in seen:
            raise ValueError(f"gpu request key '{key}' can be specified only once")
        seen.add(key)
        if not equals:
            seen.add("count")
            request["Count"] = _count(key)
        elif key == "driver":
            request["Driver"] = value
        elif key == "count":
            request["Count"] = _count(value)
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "capabilities":
            request["Capabilities"] = [[*value.split(","), "gpu"]]
        elif key == "options":
            options = (pair.partition("=") for pair in read_csv(value))
            request["Options"] = {name: content for name, _, content in options}
        else:
            raise ValueError(f"unexpected key '{key}' in '{field}'")
    if "count" not in seen and request["DeviceIDs"] is None:
        request["Count"] = 1
    if request["Capabilities"] is None:
        request["Capabilities"] = [["gpu"]]
    return request
