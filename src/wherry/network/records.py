"""The network room's tables: networks, sandboxes, endpoints, given addresses, taken host ports.

Uniqueness that must survive a crash is a key of a table, so SQLite itself refuses to give an
address twice.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from wherry.network.model import (
    Address,
    Endpoint,
    Network,
    PublishedPort,
    SandboxConfig,
    endpoint_from_json,
    endpoint_json,
    network_from_json,
    network_json,
    sandbox_from_json,
    sandbox_json,
)
from wherry.storage.statedb import StateDB

_MIGRATIONS = (
    """
    CREATE TABLE networks (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        data TEXT NOT NULL
    );
    CREATE TABLE network_sandboxes (
        container TEXT PRIMARY KEY,
        data TEXT NOT NULL
    );
    CREATE TABLE network_endpoints (
        container TEXT NOT NULL,
        network TEXT NOT NULL REFERENCES networks (id),
        data TEXT NOT NULL,
        PRIMARY KEY (container, network)
    );
    CREATE INDEX network_endpoints_by_network ON network_endpoints (network);
    CREATE TABLE network_addresses (
        network TEXT NOT NULL REFERENCES networks (id),
        address TEXT NOT NULL,
        container TEXT NOT NULL,
        PRIMARY KEY (network, address)
    );
    CREATE INDEX network_addresses_by_container ON network_addresses (container);
    CREATE TABLE network_ports (
        protocol TEXT NOT NULL,
        host_address TEXT NOT NULL,
        host_port INTEGER NOT NULL,
        container TEXT NOT NULL,
        port INTEGER NOT NULL,
        PRIMARY KEY (protocol, host_address, host_port)
    );
    CREATE INDEX network_ports_by_container ON network_ports (container);
    CREATE TABLE network_last_addresses (
        container TEXT NOT NULL,
        network TEXT NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
        address TEXT NOT NULL,
        PRIMARY KEY (container, network, address)
    )
    """,
)


class Records:
    """Typed access to the tables; every method is one statement, callers make transactions."""

    def __init__(self, db: StateDB) -> None:
        self.db = db
        db.migrate("network", _MIGRATIONS)

    # Networks

    def networks(self) -> list[Network]:
        """All networks, oldest first."""
        rows = self.db.query("SELECT id, name, data FROM networks ORDER BY rowid")
        return [_network(row) for row in rows]

    def network(self, identity: str) -> Network | None:
        row = self.db.one("SELECT id, name, data FROM networks WHERE id = ?", (identity,))
        return _network(row) if row else None

    def network_named(self, name: str) -> Network | None:
        row = self.db.one("SELECT id, name, data FROM networks WHERE name = ?", (name,))
        return _network(row) if row else None

    def networks_by_prefix(self, prefix: str) -> list[Network]:
        """Networks whose id begins with ``prefix``."""
        rows = self.db.query(
            "SELECT id, name, data FROM networks WHERE substr(id, 1, ?) = ?", (len(prefix), prefix)
        )
        return [_network(row) for row in rows]

    def save_network(self, network: Network) -> None:
        with self.db.transaction() as db:
            db.execute(
                "INSERT INTO networks VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET name = excluded.name, data = excluded.data",
                (network.id, network.name, json.dumps(network_json(network))),
            )

    def delete_network(self, identity: str) -> None:
        with self.db.transaction() as db:
            db.execute("DELETE FROM network_addresses WHERE network = ?", (identity,))
            db.execute("DELETE FROM networks WHERE id = ?", (identity,))

    # Sandboxes

    def sandboxes(self) -> list[SandboxConfig]:
        rows = self.db.query("SELECT container, data FROM network_sandboxes")
        return [sandbox_from_json(row["container"], json.loads(row["data"])) for row in rows]

    def sandbox(self, container: str) -> SandboxConfig | None:
        row = self.db.one("SELECT data FROM network_sandboxes WHERE container = ?", (container,))
        return sandbox_from_json(container, json.loads(row["data"])) if row else None

    def sandboxes_of(self, containers: Sequence[str]) -> list[SandboxConfig]:
        """What these containers asked for, in the order given; those unknown are left out."""
        rows = self.db.query(
            f"SELECT container, data FROM network_sandboxes WHERE {_among(containers)}", containers
        )
        found = {row["container"]: row["data"] for row in rows}
        return [
            sandbox_from_json(container, json.loads(found[container]))
            for container in containers
            if container in found
        ]

    def find_sandbox(self, reference: str) -> SandboxConfig | None:
        """A container by name, id or the beginning of its id, in that order.

        The store looks through them: a thousand are not parsed here to find one.
        """
        row = self.db.one(
            "SELECT container, data FROM network_sandboxes"
            " WHERE container = ? OR json_extract(data, '$.name') = ? LIMIT 1",
            (reference, reference),
        ) or self.db.one(
            "SELECT container, data FROM network_sandboxes WHERE substr(container, 1, ?) = ?"
            " LIMIT 1",
            (len(reference), reference),
        )
        return sandbox_from_json(row["container"], json.loads(row["data"])) if row else None

    def save_sandbox(self, config: SandboxConfig) -> None:
        with self.db.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO network_sandboxes VALUES (?, ?)",
                (config.container, json.dumps(sandbox_json(config))),
            )

    def delete_sandbox(self, container: str) -> None:
        """Forget a container and all it holds."""
        with self.db.transaction() as db:
            self.release(container)
            for table in ("network_last_addresses", "network_sandboxes"):
                db.execute(f"DELETE FROM {table} WHERE container = ?", (container,))

    # Endpoints, addresses and ports

    def endpoints(self, container: str) -> list[Endpoint]:
        """The live endpoints of a container, in the order they were made."""
        return self.endpoints_of((container,)).get(container, [])

    def endpoints_of(self, containers: Sequence[str]) -> dict[str, list[Endpoint]]:
        """The same of several containers; those without any are left out."""
        rows = self.db.query(
            "SELECT container, network, data FROM network_endpoints"
            f" WHERE {_among(containers)} ORDER BY rowid",
            containers,
        )
        found: dict[str, list[Endpoint]] = {}
        for row in rows:
            endpoint = endpoint_from_json(row["container"], row["network"], json.loads(row["data"]))
            found.setdefault(endpoint.container, []).append(endpoint)
        return found

    def endpoints_of_network(self, network: str) -> list[Endpoint]:
        rows = self.db.query(
            "SELECT container, data FROM network_endpoints WHERE network = ? ORDER BY rowid",
            (network,),
        )
        return [
            endpoint_from_json(row["container"], network, json.loads(row["data"])) for row in rows
        ]

    def containers_with_endpoints(self) -> list[str]:
        rows = self.db.query(
            "SELECT container FROM network_endpoints UNION SELECT container FROM network_ports"
            " UNION SELECT container FROM network_addresses WHERE container != ''"
        )
        return [row["container"] for row in rows]

    def save_endpoint(self, endpoint: Endpoint) -> None:
        with self.db.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO network_endpoints VALUES (?, ?, ?)",
                (endpoint.container, endpoint.network, json.dumps(endpoint_json(endpoint))),
            )

    def addresses(self, network: str) -> set[Address]:
        """All addresses that are given in a network."""
        rows = self.db.query("SELECT address FROM network_addresses WHERE network = ?", (network,))
        return {_address(row["address"]) for row in rows}

    def last_addresses(self, container: str, network: str) -> list[Address]:
        """Addresses that the container had when it last ran."""
        rows = self.db.query(
            "SELECT address FROM network_last_addresses WHERE container = ? AND network = ?",
            (container, network),
        )
        return [_address(row["address"]) for row in rows]

    def take_address(self, network: str, address: Address, container: str) -> bool:
        """Give an address; False when it is given already."""
        with self.db.transaction() as db:
            try:
                db.execute(
                    "INSERT INTO network_addresses VALUES (?, ?, ?)",
                    (network, str(address), container),
                )
            except sqlite3.IntegrityError:
                return False
            return True

    def ports(self, container: str | None = None) -> list[tuple[str, PublishedPort]]:
        """Taken host ports with the container that has them; of one container or of all."""
        where = "" if container is None else " WHERE container = ?"
        rows = self.db.query(
            f"SELECT * FROM network_ports{where} ORDER BY rowid",
            () if container is None else (container,),
        )
        return [(row["container"], _port(row)) for row in rows]

    def ports_of(self, containers: Sequence[str]) -> dict[str, list[PublishedPort]]:
        """Taken host ports of several containers; those without any are left out."""
        rows = self.db.query(
            f"SELECT * FROM network_ports WHERE {_among(containers)} ORDER BY rowid", containers
        )
        found: dict[str, list[PublishedPort]] = {}
        for row in rows:
            found.setdefault(row["container"], []).append(_port(row))
        return found

    def save_ports(self, container: str, ports: Iterable[PublishedPort]) -> None:
        with self.db.transaction() as db:
            db.executemany(
                "INSERT INTO network_ports VALUES (?, ?, ?, ?, ?)",
                [
                    (port.protocol, str(port.host_address), port.host_port, container, port.port)
                    for port in ports
                ],
            )

    def release(self, container: str, network: str | None = None) -> None:
        """Give back a container's endpoints, addresses and ports, of one network or all.

        The addresses are remembered as the first choice for the next start.
        """
        where, values = "container = ?", [container]
        if network is not None:
            where, values = "container = ? AND network = ?", [container, network]
        with self.db.transaction(volatile=True) as db:
            db.execute(f"DELETE FROM network_last_addresses WHERE {where}", values)
            db.execute(
                "INSERT INTO network_last_addresses"
                f" SELECT container, network, address FROM network_addresses WHERE {where}",
                values,
            )
            db.execute(f"DELETE FROM network_addresses WHERE {where}", values)
            db.execute(f"DELETE FROM network_endpoints WHERE {where}", values)
            if network is None:
                db.execute("DELETE FROM network_ports WHERE container = ?", (container,))


def _among(containers: Sequence[str]) -> str:
    """The condition that ``container`` is one of as many as are given as parameters."""
    return f"container IN ({', '.join('?' * len(containers))})"


def _port(row: sqlite3.Row) -> PublishedPort:
    return PublishedPort(
        row["protocol"], row["port"], _address(row["host_address"]), row["host_port"]
    )


def _network(row: sqlite3.Row) -> Network:
    return _parsed(row["id"], row["name"], row["data"])


# Every start asks which addresses are given, and most stay the same.
@functools.lru_cache(maxsize=1 << 14)
def _address(text: str) -> Address:
    return ip_address(text)


# Every start and every new network asks for networks; what they say hardly ever changes.
@functools.lru_cache(maxsize=4096)
def _parsed(identity: str, name: str, data: str) -> Network:
    return network_from_json(identity, name, json.loads(data))
