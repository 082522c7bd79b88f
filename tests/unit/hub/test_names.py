from __future__ import annotations

import pytest

from wherry.hub.distribution import names
from wherry.hub.distribution.errors import RegistryError


@pytest.mark.parametrize("name", ["a/b", "a", "a0/b-c/d__e", "a.b/c", "x/" + "y" * 253])
def test_good_repository_names(name: str) -> None:
    assert names.repository_name(name).endswith(name)


@pytest.mark.parametrize(
    "name",
    ["", "A/b", "a/", "/a", "a//b", "a/../b", "a/.b", "a/b-", "a/b\n", "a/" + "b" * 254, "é"],
)
def test_bad_repository_names(name: str) -> None:
    with pytest.raises(RegistryError) as caught:
        names.repository_name(name)
    assert caught.value.code == "NAME_INVALID"


def test_names_without_slash_belong_to_the_official_owner() -> None:
    assert names.repository_name("mysql") == "library/mysql"
    assert names.display_name("library/mysql") == "mysql"
    assert names.display_name("library/a/b") == "library/a/b"


@pytest.mark.parametrize(
    "digest",
    ["sha256:" + "0" * 63, "sha256:" + "G" * 64, "sha256:" + "A" * 64, "md5:" + "0" * 32, "x", ":"],
)
def test_bad_digests(digest: str) -> None:
    with pytest.raises(RegistryError) as caught:
        names.digest(digest)
    assert caught.value.code == "DIGEST_INVALID"
