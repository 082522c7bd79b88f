"""Sizes as people write them."""

import pytest

from wherry.errors import InvalidParameter
from wherry.storage.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("512", 512), ("1k", 1024), ("10G", 10 << 30), ("1.5m", 3 << 19), ("2 GB", 2 << 30),
     ("2GiB", 2 << 30), (" 1t ", 1 << 40)],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1x", "1e9", "much", "1 2"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid size"):
        parse_size(text)
