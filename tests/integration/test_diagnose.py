"""`station diagnose` of a station that runs and of one that does not: what is in the file, and what is not."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from station.setup.bundle import MANIFEST
from tests.integration.lab import wait_until
from tests.integration.one_station import STATION, OneStation
from tests.integration.registration import unpacked

ADDRESS = "127.46.3.11"
PASSWORD = "canary-of-the-outer-proxy"
# Port 9 of loopback answers nobody; nothing is fetched here.
MORE = f"""
# forward = "http://before:{PASSWORD}-2@127.0.0.1:9"
"""
ONLY_RUNNING = {
    *("status.json", "stations.json", "peers.json", "mirrors.json", "mirrors-status.json"),
    *("sources.json", "profiles.json", "trust.json", "registry.json", "instances.json"),
    *("revisions.json", "metrics.txt", "processes.json", "limits.txt"),
}
ALWAYS = {
    *(MANIFEST, "station.toml", "settings.json", "check.txt", "versions.json", "storage.json"),
    *("state.json", "certificates.json"),
}


def diagnose(*words: str | Path, config: Path, check: bool = True) -> Any:
    done = subprocess.run(
        [*STATION, "diagnose", *map(str, words), "--config", str(config)],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0 or not check, done.stderr
    return done


@pytest.fixture(scope="module")
def station() -> Iterator[OneStation]:
    with OneStation(ADDRESS, more=MORE) as one:
        text = one.config.read_text()
        forward = f'[proxy]\nforward = "http://user:{PASSWORD}@127.0.0.1:9"\n'
        one.config.write_text(text.replace("[proxy]\n", forward))
        yield one


@pytest.fixture(scope="module")
def files(station: OneStation) -> dict[str, str]:
    """Of a bundle of the running station."""
    station.launch()
    wait_until("ready", station.is_ready, 30.0)
    a = station.admin
    a.tell("POST", "/sources", {"id": "base", "url": "http://127.0.0.1:9/base"})
    a.tell("POST", "/profiles", {"name": "web", "station": "StationA", "sources": ["base"]})
    a.tell("POST", "/profiles/web/keys", {"uses": 3})
    a.tell("POST", "/instances", {"id": "db1", "station": "StationA", "sources": ["base"]})
    found = unpacked(diagnose("-", config=station.config).stdout)
    one_name = {name.partition("/")[0] for name in found}
    assert len(one_name) == 1 and one_name.pop().startswith("station-diagnose-StationA-2")
    return {name.partition("/")[2]: text for name, text in found.items()}


def test_bundle_of_a_running_station_has_everything_but_what_the_host_lacks(
    files: dict[str, str],
) -> None:
    assert {*files, "journal.txt"} == ONLY_RUNNING | ALWAYS | {"journal.txt"}
    for name, text in files.items():
        assert text.strip()
        assert f"  {name} " in files[MANIFEST] or name == MANIFEST
        if name.endswith(".json"):
            json.loads(text)
    assert "journal.txt" in files[MANIFEST]


def test_bundle_says_what_the_station_says(files: dict[str, str], station: OneStation) -> None:
    said = {name: json.loads(text) for name, text in files.items() if name.endswith(".json")}
    assert said["status.json"]["name"] == "StationA"
    assert said["mirrors.json"][0]["source"] == "base"
    assert [row["id"] for row in said["instances.json"]] == ["db1"]
    assert said["instances.json"][0]["status"] == "ONBOARDING"
    registry = said["registry.json"]
    assert registry["group"]["compartment"] == "test"
    assert (registry["records"]["source"], registry["records"]["reference"]) == (1, 2)
    assert registry["settings"]["key"] == 1
    assert registry["seen"][0]["sequence"] == registry["last_write"]["sequence"] > 4
    assert "# TYPE station_ready gauge" in files["metrics.txt"]
    by_pid = {row["pid"]: row for row in said["processes.json"]}
    assert by_pid[station.pid]["pss_kib"] > 0
    for module in ("station.control.main", "station.serve.files_worker", "station.storage.child"):
        assert any(module in row["command"] for row in by_pid.values())
    assert "Max open files" in files["limits.txt"]
    assert said["storage.json"]["bytes_free"] > 0 and said["storage.json"]["mount_point"]
    assert said["certificates.json"][f"{station.root}/state/pki/peer.pem"][0]["ends"]
    assert f"{ADDRESS}" in str(said["certificates.json"])
    assert {"pki/ca.key", "registry.sqlite"} <= {row["name"] for row in said["state.json"]}


def test_no_secret_of_the_station_is_in_any_file_of_the_bundle(
    files: dict[str, str], station: OneStation
) -> None:
    keys = station.admin.ask("/profiles/web/keys")
    canaries = [PASSWORD, keys[0]["id"]]
    state = station.root / "state"
    for path in state.glob("pki/*.key"):
        canaries += path.read_text().splitlines()[1:2]
    assert len(canaries) >= 6
    for canary in canaries:
        assert not [name for name, text in files.items() if canary in text]
    assert 'forward = "http://***@127.0.0.1:9"' in files["station.toml"]


def test_bundle_is_a_new_file_for_its_owner_alone(station: OneStation, tmp_path: Path) -> None:
    said = json.loads(diagnose(tmp_path, "--json", config=station.config).stdout)
    path = Path(said["file"])
    assert path.parent == tmp_path and path.name.startswith("station-diagnose-StationA-")
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    done = diagnose(path, config=station.config, check=False)
    assert (done.returncode, b"File exists" in done.stderr) == (1, True)
    assert path.read_bytes() == before
    assert diagnose("-", "--json", config=station.config, check=False).returncode == 2


def test_station_that_does_not_run_is_diagnosed_as_far_as_it_goes(
    files: dict[str, str], station: OneStation, tmp_path: Path
) -> None:
    """The last two here: the station is stopped."""
    assert files
    station.terminate()
    done = diagnose(tmp_path / "x.tar.gz", config=station.config)
    assert b"status.json is not in it: " in done.stderr
    found = unpacked((tmp_path / "x.tar.gz").read_bytes())
    names = {name.partition("/")[2] for name in found}
    assert names - {"journal.txt"} == ALWAYS
    manifest = next(text for name, text in found.items() if name.endswith(MANIFEST))
    assert all(f"  {name} " in manifest for name in ONLY_RUNNING)
    assert not [name for name, text in found.items() if PASSWORD in text]


def test_bad_configuration_is_diagnosed_without_what_it_says(
    station: OneStation, tmp_path: Path
) -> None:
    config = tmp_path / "station.toml"
    config.write_text(station.config.read_text().replace("127.0.0.1:9", "nowhere"))
    found = unpacked(diagnose("-", config=config).stdout)
    by_name = {name.partition("/")[2]: text for name, text in found.items()}
    assert "proxy.forward: expected http://HOST:PORT" in by_name["check.txt"]
    assert "settings.json" not in by_name
    assert not [name for name, text in found.items() if PASSWORD in text]
    found = unpacked(diagnose("-", config=tmp_path / "absent").stdout)
    assert any("station-diagnose-unknown-" in name for name in found)
