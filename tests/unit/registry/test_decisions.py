"""Pure decisions of the registry client: challenges, hosts, who may be told a secret."""

import pytest

from wherry.errors import InvalidParameter
from wherry.registry.challenge import Challenge, parse_challenges
from wherry.registry.credentials import Credentials, may_tell
from wherry.registry.hosts import Endpoint, RegistryOptions, endpoints, is_insecure
from wherry.registry.search import index_of
from wherry.registry.session import pause


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (
            'Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.example/token",
                        "service": "reg",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        ('Basic realm="a \\"quoted\\" word"', [Challenge("basic", {"realm": 'a "quoted" word'})]),
        (
            'Negotiate, Basic realm="x", Bearer realm=y',
            [
                Challenge("negotiate", {}),
                Challenge("basic", {"realm": "x"}),
                Challenge("bearer", {"realm": "y"}),
            ],
        ),
        ("", []),
        ("=broken", []),
    ],
)
def test_challenges(header: str, wanted: list[Challenge]) -> None:
    got = parse_challenges(header)
    assert got == wanted


@pytest.mark.parametrize(
    ("host", "url", "allowed"),
    [
        ("registry-1.docker.io", "https://auth.docker.io/token", True),
        ("reg.example.com:5000", "https://reg.example.com/token", True),
        ("reg.example.com", "http://reg.example.com/token", True),
        ("reg.example.com", "http://auth.example.com/token", False),
        ("reg.example.com", "https://evil.test/token", False),
        ("a.co.uk", "https://b.co.uk/token", False),
        ("x.a.co.uk", "https://auth.a.co.uk/token", True),
        ("10.0.0.1:5000", "https://10.0.0.2/token", False),
        ("127.0.0.1:5000", "http://127.0.0.1:5001/token", True),
        ("docker.io.evil.test", "https://auth.docker.io/token", False),
    ],
)
def test_secrets_stay_with_the_registry(host: str, url: str, allowed: bool) -> None:
    assert may_tell(host, url) is allowed


def test_default_registry_mirrors_and_pushes() -> None:
    options = RegistryOptions(mirrors=("https://mirror.example",))
    assert endpoints("docker.io", options) == [
        Endpoint("https://mirror.example", "mirror.example", mirror=True),
        Endpoint("https://registry-1.docker.io", "registry-1.docker.io"),
    ]
    assert [e.host for e in endpoints("docker.io", options, push=True)] == ["registry-1.docker.io"]
    own = RegistryOptions(default_registry="hub.example:5000")
    assert endpoints("docker.io", own)[0].url == "https://hub.example:5000"


def test_plain_http_only_where_allowed() -> None:
    assert [e.url for e in endpoints("reg.example:5000", RegistryOptions())] == [
        "https://reg.example:5000"
    ]
    insecure = RegistryOptions(insecure=("reg.example:5000", "10.1.0.0/16"))
    assert [e.url for e in endpoints("reg.example:5000", insecure)] == [
        "https://reg.example:5000",
        "http://reg.example:5000",
    ]
    assert is_insecure("10.1.2.3:80", insecure.insecure)
    assert not is_insecure("10.2.2.3:80", insecure.insecure)
    assert is_insecure("localhost:5000", ())
    assert is_insecure("[::1]:5000", ())
    assert not is_insecure("localhost.example:5000", ())


def test_a_bad_mirror_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="invalid mirror"):
        endpoints("docker.io", RegistryOptions(mirrors=("mirror.example",)))


def test_credentials_from_the_header() -> None:
    assert not Credentials.from_header(None)
    assert Credentials.from_header({"username": "u", "password": "p"}).password == "p"
    assert Credentials.from_header({"identitytoken": "t"}).identity_token == "t"
    with pytest.raises(InvalidParameter, match="password is not a string"):
        Credentials.from_header({"password": 5})


def test_which_index_is_searched() -> None:
    options = RegistryOptions()
    assert index_of("mysql", options) == ("index.docker.io", "mysql")
    assert index_of("brice/mysql", options) == ("index.docker.io", "brice/mysql")
    assert index_of("hub.example:80/mysql", options) == ("hub.example:80", "mysql")
    own = RegistryOptions(default_registry="hub.example")
    assert index_of("mysql", own) == ("hub.example", "mysql")


def test_pauses_grow_and_a_registry_s_wish_counts() -> None:
    assert 0.1 <= pause(0) <= 0.25
    assert pause(20) <= 10
    assert pause(0, "7") == 7
    assert pause(0, "100000") == 60


@pytest.mark.parametrize(
    ("wish", "least", "most"),
    [
        ("0", 0, 0),
        ("7", 7, 7),
        ("3600", 60, 60),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 60, 60),
        ("soon", 0.125, 0.25),
        ("-5", 0.125, 0.25),
        (None, 0.125, 0.25),
    ],
)
def test_a_registry_may_say_how_long_to_wait(wish: str | None, least: float, most: float) -> None:
    assert least <= pause(0, wish) <= most
