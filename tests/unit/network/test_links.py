"""Legacy links: hosts lines and variables."""

from __future__ import annotations

from ipaddress import ip_interface

import pytest

from wherry.errors import InvalidParameter
from wherry.network import links
from wherry.network.model import Endpoint
from wherry.network.requests import sandbox_config


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("db", ("db", "db")),
        ("db:store", ("db", "store")),
        ("/db:/web/store", ("db", "store")),
    ],
)
def test_link_forms(text: str, parsed: tuple[str, str]) -> None:
    assert links.parse_link(text) == parsed


def test_an_empty_link_is_refused() -> None:
    with pytest.raises(InvalidParameter):
        links.parse_link(":x")


def test_hosts_and_variables() -> None:
    target = sandbox_config(
        "d" * 64, "db", {"ExposedPorts": {"5432/tcp": {}, "53/udp": {}}, "Hostname": "h"}, {}, None
    )
    endpoint = Endpoint("e", "d" * 64, "n", "eth0", "02:..", ip_interface("172.17.0.2/16"))  # type: ignore[arg-type]
    linked = [links.Linked("my-db", target, endpoint)]
    assert links.hosts(linked) == [("172.17.0.2", "my-db h db")]
    config = sandbox_config("c" * 64, "web", {}, {}, None)
    found = links.environment(config, linked, lambda container: ("PW=x=y", "PATH=/bin", "HOME=/"))
    assert found == (
        "MY_DB_NAME=/web/my-db",
        "MY_DB_PORT=udp://172.17.0.2:53",
        "MY_DB_PORT_53_UDP=udp://172.17.0.2:53",
        "MY_DB_PORT_53_UDP_ADDR=172.17.0.2",
        "MY_DB_PORT_53_UDP_PORT=53",
        "MY_DB_PORT_53_UDP_PROTO=udp",
        "MY_DB_PORT_5432_TCP=tcp://172.17.0.2:5432",
        "MY_DB_PORT_5432_TCP_ADDR=172.17.0.2",
        "MY_DB_PORT_5432_TCP_PORT=5432",
        "MY_DB_PORT_5432_TCP_PROTO=tcp",
        "MY_DB_ENV_PW=x=y",
    )
