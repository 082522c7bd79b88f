"""A network driver and a volume driver that come in a package of somebody else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon
from tests.images import busybox_archive

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

PACKAGE = '''
"""Networks without any way out, and volumes on a shelf that the options name."""

import os
import shutil

from wherry.errors import InvalidParameter
from wherry.network import netlink


class Island:
    name = "island"
    has_addresses = True
    owns_gateway = False

    def check(self, network):
        if not network.options.get("sea"):
            raise InvalidParameter("an island needs the option sea")
        return network

    def interface(self, network):
        return "is-" + network.id[:12]

    def ensure(self, network, kernel):
        name = self.interface(network)
        if kernel.link(name) is None:
            kernel.run(netlink.add_bridge(name), netlink.set_alias(name, kernel.alias))
        kernel.run(netlink.set_link(kernel.link_index(name), name, up=True))

    def destroy(self, network, kernel):
        kernel.run(netlink.delete_link(self.interface(network)))

    def plug(self, network, endpoint, namespace_fd, kernel):
        bridge = kernel.link_index(self.interface(network))
        host = kernel.instance.veth(endpoint.id[:7])
        kernel.run(
            netlink.add_veth(host, bridge, endpoint.interface, endpoint.mac, namespace_fd, 1500)
        )

    def unplug(self, network, endpoint, kernel):
        kernel.run(netlink.delete_link(kernel.instance.veth(endpoint.id[:7])))

    def withdraw(self, network, endpoint, namespace, kernel):
        host = kernel.instance.veth(endpoint.id[:7])
        kernel.run(netlink.set_down(host), netlink.leave_bridge(host))

    def is_plugged(self, network, endpoint, kernel):
        return kernel.link(kernel.instance.veth(endpoint.id[:7])) is not None

    def fence(self, network):
        return None


class Shelf:
    name = "shelf"
    scope = "global"
    root = "SHELF"

    def check(self, name, options):
        if set(options) - {"colour"}:
            raise InvalidParameter(f"create {name}: a shelf knows no option but colour")

    def create(self, name, options):
        os.makedirs(self.path(name), exist_ok=True)

    def remove(self, name, options):
        pass

    def purge(self, name):
        shutil.rmtree(self.path(name), ignore_errors=True)

    def recover(self, known):
        pass

    def path(self, name):
        return os.path.join(self.root, name)

    def mount(self, name, options):
        return self.path(name)

    def unmount(self, name, options):
        pass

    def status(self, name):
        return {"books": len(os.listdir(self.path(name)))}
'''
ENTRY_POINTS = """
[wherry.network_drivers]
island = otherhouse:Island
[wherry.volume_drivers]
shelf = otherhouse:Shelf
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, as an installer leaves it."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "shelf").mkdir()
    (folder / "otherhouse.py").write_text(PACKAGE.replace("SHELF", str(folder / "shelf")))
    information = folder / "otherhouse-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: otherhouse\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


@pytest.fixture(scope="module")
def engine(site: Path) -> Iterator[Daemon]:
    daemon = Daemon("--bip", "10.231.0.1/24")
    daemon.environment = {"PYTHONPATH": str(site)}
    with daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        yield daemon


def test_a_network_driver(engine: Daemon) -> None:
    create = ("network", "create", "-d", "island", "--subnet", "10.232.0.0/24")
    refused = engine.docker(*create, "net", check=False)
    assert "an island needs the option sea" in refused.stderr
    engine.docker(*create, "-o", "sea=north", "net")
    run = ("run", "--network", "net")
    engine.docker(*run, "-d", "--init", "--name", "friday", "busybox", "sleep", "600")
    ping = engine.docker(*run, "--rm", "busybox", "ping", "-c1", "-W5", "friday")
    assert "1 packets received" in ping.stdout
    engine.docker("rm", "-f", "friday")
    engine.docker("network", "rm", "net")


def test_a_volume_driver(engine: Daemon, site: Path) -> None:
    create = ("volume", "create", "-d", "shelf")
    refused = engine.docker(*create, "-o", "size=1", "books", check=False)
    assert "a shelf knows no option but colour" in refused.stderr
    engine.docker(*create, "-o", "colour=red", "books")
    engine.docker("run", "--rm", "-v", "books:/b", "busybox", "touch", "/b/emma", "/b/moby")
    shown = ("volume", "inspect", "-f", "{{.Driver}} {{.Scope}} {{.Status.books}}", "books")
    assert engine.docker(*shown).stdout == "shelf global 2\n"
    assert sorted(path.name for path in (site / "shelf/books").iterdir()) == ["emma", "moby"]
    engine.docker("volume", "rm", "books")
    assert not (site / "shelf/books").exists()


def test_info_names_the_drivers(engine: Daemon) -> None:
    told = engine.docker("info", "-f", "{{.Plugins.Network}} {{.Plugins.Volume}}").stdout
    assert "island" in told and "shelf" in told


def test_a_package_that_is_gone_leaves_what_it_made(engine: Daemon, site: Path) -> None:
    create = ("network", "create", "-d", "island", "--subnet", "10.232.0.0/24")
    engine.docker(*create, "-o", "sea=north", "net")
    engine.docker("volume", "create", "-d", "shelf", "books")
    engine.stop()
    away = site / "otherhouse-1.0.dist-info.away"
    shutil.move(site / "otherhouse-1.0.dist-info", away)
    try:
        engine.start()
        assert "net" in engine.docker("network", "ls", "--format", "{{.Name}}").stdout
        assert "books" in engine.docker("volume", "ls", "-q").stdout
        for flags in (("--network", "net"), ("-v", "books:/b")):
            refused = engine.docker("run", "--rm", *flags, "busybox", "true", check=False)
            assert "not found" in refused.stderr and "plugin" in refused.stderr
        assert engine.docker("volume", "rm", "books", check=False).returncode == 1
    finally:
        engine.stop()
        shutil.move(away, site / "otherhouse-1.0.dist-info")
        engine.start()
    engine.docker("volume", "rm", "books")
    engine.docker("network", "rm", "net")
