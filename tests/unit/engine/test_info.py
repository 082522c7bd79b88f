from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wherry.engine.info import API_VERSION, EngineFacts, info_view, version_view
from wherry.engine.system import engine_id


def test_an_engine_has_one_id_however_many_ask_first(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(engine_id, [str(tmp_path)] * 64))) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["engine-id"]


def test_version_names_the_api_in_both_places() -> None:
    view = version_view()
    assert view["ApiVersion"] == view["Components"][0]["Details"]["ApiVersion"] == API_VERSION
    assert "Experimental" not in view
    assert version_view(experimental=True)["Experimental"] is True


def test_container_counts_add_up() -> None:
    view = info_view(
        EngineFacts("id", "/data", containers_running=2, containers_paused=1, containers_stopped=4)
    )
    assert view["Containers"] == 7
    assert view["DockerRootDir"] == "/data"
    assert view["NCPU"] >= 1


def test_registries_are_told_apart_from_networks() -> None:
    facts = EngineFacts("id", "/data", insecure_registries=("reg:5000", "10.0.0.0/8"))
    config = info_view(facts)["RegistryConfig"]
    assert config["IndexConfigs"]["reg:5000"]["Secure"] is False
    assert config["InsecureRegistryCIDRs"][0] == "10.0.0.0/8"


def test_proxy_credentials_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@proxy:3128")
    assert info_view(EngineFacts("id", "/data"))["HttpProxy"] == "http://xxxxx:xxxxx@proxy:3128"
