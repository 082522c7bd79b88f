"""hosts, resolv.conf and hostname of containers."""

from __future__ import annotations

import pytest

from wherry.errors import InvalidParameter
from wherry.network import files
from wherry.network.files import Resolver


def test_resolv_conf_is_read_as_the_c_library_does() -> None:
    text = "# c\nnameserver 1.1.1.1 # x\nsearch a\ndomain b c\noptions ndots:2\nnameserver ::1\n"
    assert files.parse_resolv_conf(text) == Resolver(("1.1.1.1", "::1"), ("b", "c"), ("ndots:2",))


@pytest.mark.parametrize(
    ("host", "ipv6", "servers"),
    [
        (("10.0.0.1",), False, ("10.0.0.1",)),
        (("127.0.0.53", "10.0.0.1"), False, ("10.0.0.1",)),
        (("fe80::1%eth0", "10.0.0.1"), False, ("10.0.0.1",)),
        (("fd00::53",), True, ("fd00::53",)),
        (("127.0.0.53",), False, ("8.8.8.8", "8.8.4.4")),
    ],
)
def test_a_container_gets_the_host_resolvers_that_it_can_reach(
    host: tuple[str, ...], ipv6: bool, servers: tuple[str, ...]
) -> None:
    assert files.container_resolver(Resolver(host), (), (), (), ipv6=ipv6).servers == servers


def test_own_settings_replace_those_of_the_host() -> None:
    host = Resolver(("10.0.0.1",), ("host.example",), ("ndots:5",))
    own = files.container_resolver(host, ("9.9.9.9",), ("a.example",), ("timeout:1",), ipv6=False)
    assert files.resolv_conf(own) == ("nameserver 9.9.9.9\nsearch a.example\noptions timeout:1\n")


def test_a_dot_means_no_search_list() -> None:
    host = Resolver(("10.0.0.1",), ("host.example",))
    assert files.container_resolver(host, (), (".",), (), ipv6=False).search == ()


def test_hosts_has_local_extra_and_own_lines() -> None:
    text = files.hosts([("172.17.0.2", "web")], [("10.0.0.9", "db")], ipv6=False)
    assert text == "127.0.0.1\tlocalhost\n10.0.0.9\tdb\n172.17.0.2\tweb\n"
    assert "::1\tlocalhost ip6-localhost ip6-loopback\n" in files.hosts([])


@pytest.mark.parametrize(
    ("host", "domain", "names"),
    [
        ("web", "", "web"),
        ("web", "example.org", "web.example.org web"),
        ("web.example.org", "", "web.example.org web"),
    ],
)
def test_own_names(host: str, domain: str, names: str) -> None:
    assert files.own_names(host, domain) == names


def test_extra_hosts() -> None:
    assert files.parse_extra_host("db:10.0.0.1", ()) == [("10.0.0.1", "db")]
    assert files.parse_extra_host("db:[fd00::1]", ()) == [("fd00::1", "db")]
    assert files.parse_extra_host("db:fd00::1", ()) == [("fd00::1", "db")]
    both = files.parse_extra_host("h:host-gateway", ("172.17.0.1", "fd00::1"))
    assert both == [("172.17.0.1", "h"), ("fd00::1", "h")]


@pytest.mark.parametrize("entry", ["db", ":1.1.1.1", "db:no-address", "a\nb:1.1.1.1", "db:"])
def test_bad_extra_hosts_are_refused(entry: str) -> None:
    with pytest.raises(InvalidParameter):
        files.parse_extra_host(entry, ("172.17.0.1",))


def test_bad_servers_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="bad DNS server address: x"):
        files.check_servers(["1.1.1.1", "x"])
