"""Options of the local driver as a mount(2) call."""

from __future__ import annotations

import pytest

from wherry.errors import InvalidParameter
from wherry.linux import mounts
from wherry.volumes import mountoptions
from wherry.volumes.mountoptions import mount_call


def test_tmpfs() -> None:
    call = mount_call({"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=5,nosuid,ro"})
    assert (call.kind, call.data) == ("tmpfs", "size=1m,uid=5")
    assert call.flags == mounts.MS_NOSUID | mounts.MS_RDONLY


@pytest.mark.parametrize(
    "options", [{"type": "none", "o": "bind"}, {"o": "bind"}, {"type": "bind"}]
)
def test_bind(options: dict[str, str]) -> None:
    call = mount_call({"device": "/srv", **options})
    assert (call.kind, call.flags, call.data) == ("", 0x1000, "")


def test_propagation_is_a_second_call() -> None:
    call = mount_call({"type": "none", "device": "/srv", "o": "rbind,rslave"})
    assert call.flags == 0x1000 | mounts.MS_REC
    assert call.propagation == mounts.MS_SLAVE | mounts.MS_REC


def test_nfs_addresses_are_resolved() -> None:
    call = mount_call({"type": "nfs", "device": ":/x", "o": "addr=nas.example,rw,nolock"})
    assert call.address == "nas.example"
    assert mountoptions.with_address(call, "10.0.0.1").data == "addr=10.0.0.1,nolock"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"foo": "bar"}, 'invalid option: "foo"'),
        ({"type": "tmpfs"}, 'missing required option: "device"'),
        ({"device": "/dev/x"}, 'missing required option: "type"'),
    ],
)
def test_bad_options_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        mountoptions.check(options)


def test_no_options_is_a_folder() -> None:
    mountoptions.check({})
    assert not mountoptions.is_mounted({})
    assert mountoptions.is_mounted({"type": "tmpfs"})
