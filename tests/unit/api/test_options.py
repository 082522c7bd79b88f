import json
from pathlib import Path

import pytest

from wherry.api.options import load, parse_flags, usage
from wherry.api.settings import engine_config, features
from wherry.engine.options import EngineConfig
from wherry.errors import InvalidParameter


def test_flags_in_every_form() -> None:
    assert parse_flags(
        ["-H", "unix:///a", "--host=tcp://b", "-D", "--tls=false", "--mtu", "1400", "-lwarn",
         "--log-opt", "max-size=1m", "--log-opt=max-file=2", "--default-ulimit", "nofile=1:2",
         "--default-address-pool", "base=10.0.0.0/8,size=24"]
    ) == {
        "host": ["unix:///a", "tcp://b"],
        "debug": True,
        "tls": False,
        "mtu": 1400,
        "log-level": "warn",
        "log-opt": {"max-size": "1m", "max-file": "2"},
        "default-ulimit": {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}},
        "default-address-pool": [{"base": "10.0.0.0/8", "size": 24}],
    }  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [["--colour"], ["-H"], ["extra"], ["--mtu", "big"], ["--debug=maybe"], ["--log-opt", "x"],
     ["--default-ulimit", "nofile=x"], ["--default-address-pool", "size=1"], ["-Z"]],
)  # fmt: skip
def test_wrong_flags_are_refused(arguments: list[str]) -> None:
    with pytest.raises(InvalidParameter):
        parse_flags(arguments)


def config(folder: Path, data: object) -> str:
    path = folder / "daemon.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return f"--config-file={path}"


def test_the_file_fills_in_what_flags_leave_open(tmp_path: Path) -> None:
    options = load([config(tmp_path, {"labels": ["a=b"], "hosts": ["unix:///x"]}), "--debug"])
    assert options["label"] == ["a=b"]
    assert options["host"] == ["unix:///x"]
    assert options["debug"] is True
    assert options["data-root"] == "/var/lib/wherry"
    assert options["registry-mirror"] == []


def test_a_key_in_both_places_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidParameter,
        match=r"specified both as a flag and in the configuration file: debug: \(from flag: true,"
        r" from file: false\)",
    ):
        load([config(tmp_path, {"debug": False}), "--debug"])


@pytest.mark.parametrize(
    "data",
    [{"colour": 1}, {"debug": "yes"}, {"dns": "1.1.1.1"}, {"dns": [1]}, [], "{", {"mtu": True}],
)
def test_wrong_files_are_refused(tmp_path: Path, data: object) -> None:
    with pytest.raises(InvalidParameter):
        load([config(tmp_path, data)])


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="no such file"):
        load([f"--config-file={tmp_path}/none"])


def test_log_options_of_both_places_join(tmp_path: Path) -> None:
    options = load([config(tmp_path, {"log-opts": {"max-size": "1m"}}), "--log-opt", "max-file=3"])
    assert options["log-opt"] == {"max-size": "1m", "max-file": "3"}


def settings(*arguments: str) -> EngineConfig:
    return engine_config(load(["--config-file=/dev/null", *arguments]))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--containerd=/run/containerd.sock"], "without containerd"),
        (["--authorization-plugin", "x"], "no authorization plugins"),
        (["--metrics-addr=:9323"], "no metrics address"),
        (["--exec-opt", "native.cgroupdriver=systemd"], "the driver is cgroupfs"),
        (["--exec-opt", "isolation=x"], "unknown exec option: isolation"),
        (["--feature", "containerd-snapshotter=true"], "without containerd"),
        (["--feature", "nosuch=true"], "unknown feature: nosuch"),
        (["--feature", "buildkit=maybe"], "invalid value for feature buildkit"),
        (["--userns-remap=someone"], "ids of its own"),
        (["--oom-score-adjust=1001"], "invalid oom-score-adjust"),
        (["--shutdown-timeout=-2"], "invalid shutdown-timeout"),
        (["--init-path=/no/such"], "no such program"),
        (["--default-registry=http://hub:5000"], "is not HOST"),
        (["--default-network-opt", "bridge=x"], "not bridge=OPTION=VALUE"),
    ],
)
def test_what_does_not_exist_here_is_refused_with_a_reason(
    arguments: list[str], reason: str
) -> None:
    with pytest.raises(InvalidParameter, match=reason):
        settings(*arguments)


def test_what_does_not_exist_here_may_be_turned_off(tmp_path: Path) -> None:
    data = {"containerd": "", "features": {"containerd-snapshotter": False, "buildkit": False}}
    options = load([config(tmp_path, data)])
    assert features(options["feature"]) == {"containerd-snapshotter": False, "buildkit": False}
    with pytest.raises(InvalidParameter, match="metrics-addr: Wherry's daemon has no"):
        load([config(tmp_path, {"metrics-addr": ":1"})])


def test_flags_reach_the_engine() -> None:
    made = settings(
        "--live-restore=false", "--shutdown-timeout=3", "--init-path=/bin/sh",
        "--exec-opt=native.cgroupdriver=cgroupfs", "--userns-remap=host", "--feature=buildkit=true",
        "--default-network-opt=bridge=a=1", "--default-network-opt", "bridge=b=2=3",
        "--bip6=fd00::1/64",
    )  # fmt: skip
    assert (made.live_restore, made.shutdown_timeout, made.init_path) == (False, 3, "/bin/sh")
    assert made.userns_host
    assert made.features == {"buildkit": True}
    assert made.network.default_network_options == {"bridge": {"a": "1", "b": "2=3"}}
    assert made.network.bip6 == "fd00::1/64"


@pytest.mark.parametrize(
    ("arguments", "versions"),
    [([], (4, 6)), (["--ip6tables=false"], (4,)), (["--iptables=false"], ())],
)
def test_firewall_versions(arguments: list[str], versions: tuple[int, ...]) -> None:
    assert settings(*arguments).network.firewall_versions == versions


def test_the_help_names_every_option() -> None:
    assert "--data-root" in usage()
    assert "-H, --host" in usage()
