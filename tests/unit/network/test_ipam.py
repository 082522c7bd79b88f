"""Address management: nothing is given twice, everything comes back, Docker's words."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import Conflict, Forbidden, InvalidParameter
from wherry.network import allocation, ipam
from wherry.network.ipam import DEFAULT_POOLS, AddressPool, Pool, Subnet, parse_pool
from wherry.network.model import EndpointConfig, Network
from wherry.network.records import Records
from wherry.storage.statedb import StateDB


@pytest.fixture
def records() -> Records:
    return Records(StateDB(":memory:"))


def subnets(pool: AddressPool) -> Iterator[Subnet]:
    """The networks that a pool is cut into, lowest first."""
    return iter(pool.base.subnets(new_prefix=max(pool.size, pool.base.prefixlen)))


def small_network(records: Records, prefix: int = 29) -> Network:
    network = Network(
        id="n" * 64,
        name="small",
        driver="bridge",
        created="",
        pools=(parse_pool({"Subnet": f"10.9.0.0/{prefix}"}),),
    )
    records.save_network(network)
    allocation.reserve(records, network)
    return network


def give(records: Records, network: Network, container: str, ipv4: str = "") -> str:
    endpoint = allocation.give_endpoint(
        records,
        network,
        EndpointConfig(network.name, ipv4=ipv4),
        container,
        "eth0",
        (),
        has_addresses=True,
    )
    return str(endpoint.address(4))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40))
def test_no_address_is_given_twice_and_all_come_back(steps: list[tuple[bool, int]]) -> None:
    records = Records(StateDB(":memory:"))
    network = small_network(records)
    held: dict[str, str] = {}
    for starts, number in steps:
        container = f"c{number}"
        if starts and container not in held:
            if len(held) == 5:  # 8 addresses less network, broadcast, gateway
                with pytest.raises(Conflict, match="no available IPv4 addresses"):
                    give(records, network, container)
                continue
            address = give(records, network, container)
            assert address not in held.values()
            assert ip_address(address) in network.pools[0].subnet
            assert address not in ("10.9.0.0", "10.9.0.1", "10.9.0.7")
            held[container] = address
        elif not starts:
            records.release(container)
            held.pop(container, None)
    for container in list(held):
        records.release(container)
    assert records.addresses(network.id) == {ip_address("10.9.0.1")}


def test_a_container_gets_its_last_address_back_when_it_is_free(records: Records) -> None:
    network = small_network(records)
    give(records, network, "a")
    second = give(records, network, "b")
    records.release("a")
    records.release("b")
    assert give(records, network, "b") == second


def test_a_static_address_that_is_given_is_refused(records: Records) -> None:
    network = small_network(records)
    give(records, network, "a", ipv4="10.9.0.5")
    with pytest.raises(Forbidden, match="Address already in use"):
        give(records, network, "b", ipv4="10.9.0.5")


@pytest.mark.parametrize(
    ("address", "message"),
    [("10.8.0.1", "no configured subnet or ip-range contain the IP address 10.8.0.1")],
)
def test_a_static_address_outside_the_subnet_is_refused(
    records: Records, address: str, message: str
) -> None:
    with pytest.raises(InvalidParameter, match=message):
        give(records, small_network(records), "a", ipv4=address)


def test_default_pools_are_those_of_docker() -> None:
    first = [str(next(subnets(pool))) for pool in DEFAULT_POOLS]
    assert first[0] == "172.17.0.0/16"
    assert first[-2:] == ["172.31.0.0/16", "192.168.0.0/20"]
    assert len(list(subnets(DEFAULT_POOLS[-1]))) == 16


@given(st.sets(st.integers(0, 30)))
def test_a_free_subnet_overlaps_nothing(numbers: set[int]) -> None:
    everything = [subnet for pool in DEFAULT_POOLS for subnet in subnets(pool)]
    taken = [everything[number] for number in numbers]
    if len(taken) == len(everything):
        with pytest.raises(Conflict, match="fully subnetted"):
            ipam.free_subnet(DEFAULT_POOLS, 4, taken)
        return
    found = ipam.free_subnet(DEFAULT_POOLS, 4, taken)
    assert not any(found.overlaps(other) for other in taken)


_NETWORKS = st.tuples(st.integers(0, 255), st.integers(20, 32)).map(
    lambda pair: ip_network((0x0A000000 + pair[0] * 16, pair[1]), strict=False)
)


@given(st.lists(_NETWORKS, max_size=12), st.integers(22, 30))
def test_the_lowest_free_subnet_between_any_others(taken: list[Subnet], size: int) -> None:
    pool = AddressPool(ip_network("10.0.0.0/22"), size)
    free = [one for one in subnets(pool) if not any(one.overlaps(other) for other in taken)]
    if free:
        assert ipam.free_subnet([pool], 4, taken) == free[0]
    else:
        with pytest.raises(Conflict):
            ipam.free_subnet([pool], 4, taken)


def test_a_host_route_inside_a_pool_blocks_it() -> None:
    routes = [ip_network("172.16.0.0/14"), ip_network("0.0.0.0/0")]
    assert str(ipam.free_subnet(DEFAULT_POOLS, 4, routes)) == "172.20.0.0/16"


def test_pools_may_be_small() -> None:
    pools = (AddressPool(ip_network("10.1.0.0/24"), 28),)
    taken = [ip_network("10.1.0.0/28")]
    assert str(ipam.free_subnet(pools, 4, taken)) == "10.1.0.16/28"


def test_ipv6_without_pools_gets_a_unique_local_subnet() -> None:
    subnet = next(subnets(ipam.unique_local_pool(b"abcde")))
    assert str(subnet) == "fd61:6263:6465::/64"


@pytest.mark.parametrize(
    ("config", "gateway", "first"),
    [
        ({"Subnet": "10.0.0.0/24"}, "10.0.0.1", "10.0.0.2"),
        ({"Subnet": "10.0.0.0/24", "Gateway": "10.0.0.254"}, "10.0.0.254", "10.0.0.1"),
        ({"Subnet": "10.0.0.0/24", "IPRange": "10.0.0.128/25"}, "10.0.0.128", "10.0.0.129"),
        (
            {"Subnet": "10.0.0.0/24", "AuxiliaryAddresses": {"a": "10.0.0.1", "b": "10.0.0.3"}},
            "10.0.0.2",
            "10.0.0.4",
        ),
        ({"Subnet": "10.0.0.0/31"}, "10.0.0.0", "10.0.0.1"),
        ({"Subnet": "fd00:1::/64"}, "fd00:1::1", "fd00:1::2"),
    ],
)
def test_gateway_and_first_address(config: dict[str, str], gateway: str, first: str) -> None:
    pool = parse_pool(config)
    assert str(pool.gateway) == gateway
    assert str(ipam.free_address(pool, [])) == first


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"Subnet": "nonsense"}, "invalid CIDR address: nonsense"),
        ({"Subnet": "10.0.0.1/24"}, "it should be 10.0.0.0/24"),
        ({"Subnet": "10.0.0.0/24", "IPRange": "10.1.0.0/25"}, "inside the parent subnet"),
        ({"Subnet": "10.0.0.0/24", "Gateway": "10.1.0.1"}, "doesn't contain this address"),
        ({"Subnet": "10.0.0.0/24", "AuxiliaryAddresses": {"a": "x"}}, "invalid auxiliary address"),
    ],
)
def test_bad_pools_are_refused(config: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        parse_pool(config)


def test_a_full_range_gives_nothing() -> None:
    subnet = ip_network("10.0.0.0/30")
    pool = Pool(subnet, ip_address("10.0.0.1"))
    assert ipam.free_address(pool, [ip_address("10.0.0.2")]) is None


def test_requested_subnets_must_not_overlap_other_networks(records: Records) -> None:
    small_network(records)
    other = Network(
        id="o" * 64,
        name="other",
        driver="bridge",
        created="",
        pools=(parse_pool({"Subnet": "10.9.0.0/16"}),),
    )
    with pytest.raises(Forbidden, match="Pool overlaps with other one"):
        allocation.choose_pools(records, other, DEFAULT_POOLS, [])
