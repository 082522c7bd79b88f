"""The firewall text: what is an element of what, and only differences are sent."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from wherry.network import firewall
from wherry.network.firewall import Fence, Publication, State

A, B = ip_address("172.17.0.2"), ip_address("fd00::2")
ANY4, ANY6 = ip_address("0.0.0.0"), ip_address("::")


def elements(*fences: Fence, ports: tuple[Publication, ...] = ()) -> dict[str, set[str]]:
    found = firewall.elements(State(frozenset(fences), frozenset(ports)))
    return {name: set(values) for name, values in found.items() if values}


def test_an_ordinary_bridge() -> None:
    assert elements(Fence("b", subnets=(ip_network("10.0.0.0/8"),))) == {
        "bridges": {'"b"'},
        "within": {'"b" . "b"'},
        "hairpin4": {"10.0.0.0/8 . 10.0.0.0/8"},
        "masquerade4": {'"b"'},
        "masquerade6": {'"b"'},
    }


def test_an_ip_version_without_rules_passes() -> None:
    state = State(
        frozenset({Fence("b", subnets=(ip_network("10.0.0.0/8"), ip_network("fd00::/64")))}),
        frozenset({Publication("tcp", ANY6, 80, B, 80), Publication("tcp", ANY4, 80, A, 80)}),
        versions=frozenset({4}),
    )
    found = {name for name, values in firewall.elements(state).items() if values}
    assert found == {"passed", "bridges", "within", "hairpin4", "masquerade4", "any4"}
    assert "elements = { ipv6 }" in firewall.table("t", state)
    assert firewall.changes("t", State(versions=frozenset({4})), state).count("any6") == 0


def test_an_internal_bridge_does_not_leave() -> None:
    found = elements(Fence("b", internal=True))
    assert found["internal"] == {'"b"'}
    assert "masquerade4" not in found


def test_without_icc_nothing_is_within() -> None:
    assert "within" not in elements(Fence("b", icc=False))


def test_routed_networks_keep_their_addresses() -> None:
    found = elements(Fence("b", mode4="routed", mode6="nat-unprotected"))
    assert "masquerade4" not in found
    assert found["open6"] == {'"b"'}


def test_a_chosen_source_address_replaces_masquerade() -> None:
    found = elements(Fence("b", source4=ip_address("192.0.2.2")))
    assert found["source4"] == {'"b" : 192.0.2.2'}
    assert "masquerade4" not in found
    assert found["masquerade6"] == {'"b"'}


def test_trusted_interfaces_reach_the_bridge() -> None:
    found = elements(Fence("b", trusted=frozenset(("eth0", "vxlan.1"))))
    assert found["trusted"] == {'"eth0" . "b"', '"vxlan.1" . "b"'}


def test_publications() -> None:
    found = elements(
        ports=(
            Publication("tcp", ANY4, 80, A, 8080),
            Publication("udp", ip_address("192.0.2.1"), 53, A, 53),
            Publication("tcp", ANY6, 80, B, 8080),
        )
    )
    assert found["any4"] == {"tcp . 80 : 172.17.0.2 . 8080"}
    assert found["at4"] == {"192.0.2.1 . udp . 53 : 172.17.0.2 . 53"}
    assert found["any6"] == {"tcp . 80 : fd00::2 . 8080"}


def test_loopback_is_not_opened_by_the_firewall() -> None:
    assert elements(ports=(Publication("tcp", ip_address("127.0.0.1"), 80, A, 80),)) == {}


publications = st.builds(
    Publication,
    st.sampled_from(["tcp", "udp"]),
    st.just(ANY4),
    st.integers(1, 5),
    st.just(A),
    st.just(1),
)
states = st.builds(
    State,
    st.frozensets(st.builds(Fence, st.sampled_from("abc"), internal=st.booleans()), max_size=1),
    st.frozensets(publications),
)


@given(states, states)
def test_changes_lead_from_one_state_to_the_other(old: State, new: State) -> None:
    current = {name: set(values) for name, values in firewall.elements(old).items()}
    for line in firewall.changes("t", old, new).splitlines():
        verb, _, _, _, name, _, rest = line.split(" ", 6)
        values = rest.removesuffix(" }").split(", ")
        if verb == "add":
            current[name] |= set(values)
        else:
            current[name] = {
                value for value in current[name] if value.partition(" : ")[0] not in values
            }
    assert current == firewall.elements(new)


def test_no_change_is_no_transaction() -> None:
    state = State(frozenset({Fence("b")}))
    assert firewall.changes("t", state, state) == ""


def test_every_rule_and_element_is_explained() -> None:
    state = State(frozenset({Fence("b")}), frozenset({Publication("tcp", ANY4, 80, A, 80)}))
    explained = firewall.explain("t", state, {"b": "network n", str(A): "container c"})
    assert all(one.meaning for one in explained)
    text = firewall.table("t", state)
    for one in explained:
        if one.meaning != "hook" and "@" not in one.where:
            assert one.text in text
    assert any("container c" in one.meaning for one in explained)
