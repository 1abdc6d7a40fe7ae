"""500 clients at one moment want the same 50 MB package of a station with an empty disk."""

import hashlib
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.herd import HerdResult, MemoryWatch, stampede
from tests.integration.lab import LabUnderTest, StationUnderTest, wait_until
from tests.integration.one_station import OneStation
from tests.integration.repositories import Repository, build_repository
from tests.integration.upstream import Upstream

NETWORK = "127.42.18"
ALONE = "127.42.19.11"
CLIENTS = 500
PACKAGE_BYTES = 50_000_000
MEMORY_MIB = 32.0
ALL_S = 240.0

pytestmark = [pytest.mark.accept, pytest.mark.alone, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    root = tmp_path_factory.mktemp("upstream")
    return build_repository(root, packages=1, size=PACKAGE_BYTES, prefix="large")


@pytest.fixture(scope="module")
def upstream(repository: Repository) -> Iterator[Upstream]:
    with Upstream(repository.root) as server:
        yield server


def large(repository: Repository) -> Path:
    (found,) = [path for path in repository.rpms() if path.name.startswith("large-0001")]
    return found


@dataclass
class HerdRun:
    """`greatest_mib`: PSS of all processes of the station, those that sync included, while the clients were there."""

    result: HerdResult
    greatest_mib: float
    fetches: float


def judge(what: str, one: HerdRun, herd: HerdRun, package: Path) -> None:
    result, fetched = herd.result, herd.fetches
    growth = herd.greatest_mib - one.greatest_mib
    print(
        f"\n{what}: {CLIENTS} clients, {package.stat().st_size} bytes: {result.whole} whole, the last after "
        f"{result.slowest_s:.1f} s; fetched {fetched:.2f} times; memory {one.greatest_mib:.0f} MiB with one client, "
        f"{growth:+.1f} MiB with {CLIENTS}"
    )
    assert (result.whole, result.statuses) == (CLIENTS, {200: CLIENTS})
    assert result.sha256s == {hashlib.sha256(package.read_bytes()).hexdigest()}
    assert growth <= MEMORY_MIB
    assert fetched < 1.5


def at_a_new_station(upstream: Upstream, package: Path, clients: int) -> HerdRun:
    with OneStation(ALONE).start() as station:
        upstream.forget()
        with MemoryWatch(station.pid) as memory:
            station.admin.tell("POST", "/sources", {"id": "s", "url": upstream.url})
            profile = {"name": "p", "station": "StationA", "sources": ["s"]}
            station.admin.tell("POST", "/profiles", profile)
            wait_until("it is published", lambda: station.answers("/mirrorlist/s/p"), 20.0)
            result = stampede(ALONE, [f"/repo/s/{package.name}"], clients, ALL_S)
        fetched = upstream.requests(re.escape(package.name))
        return HerdRun(result, memory.greatest, len(fetched))


def test_at_a_new_station_the_upstream_sees_one_request(
    upstream: Upstream, repository: Repository
) -> None:
    package = large(repository)
    one, herd = (at_a_new_station(upstream, package, count) for count in (1, CLIENTS))
    judge("new station", one, herd, package)


def sent_to_peers(station: StationUnderTest) -> float:
    """Bytes that its workers sent to other stations."""
    workers = station.ask("/status")["workers"].values()
    return float(sum(counters.get("bytes_peers", 0) for counters in workers))


def at_an_emptied_station(
    lab: LabUnderTest, repository: Repository, package: Path, clients: int
) -> HerdRun:
    whole, emptied = lab.stations
    emptied.kill_all()
    for name in ("pool", "sources", "staging"):
        shutil.rmtree(emptied.storage / name)
        (emptied.storage / name).mkdir()
    before = sent_to_peers(whole)
    emptied.start_again()
    wait_until("it answers", lambda: (emptied.ask("/status") or {}).get("ready"), 30.0)
    with MemoryWatch(emptied.pid) as memory:
        result = stampede(emptied.host, [f"/repo/s/{package.name}"], clients, ALL_S)
        lab.wait_synced("s", deadline_s=60.0)
    time.sleep(2.0)  # workers tell their counters each second
    # The other package of the repository is as large as this one, and is copied as well.
    both = sum(path.stat().st_size for path in repository.rpms())
    sent = sent_to_peers(whole) - before
    return HerdRun(result, memory.greatest, 1 + (sent - both) / package.stat().st_size)


def test_at_a_station_whose_disk_was_exchanged_its_peer_sends_it_once(
    upstream: Upstream, repository: Repository
) -> None:
    package = large(repository)
    with LabUnderTest(NETWORK, "--stations", "2") as lab:
        whole = lab.stations[0]
        whole.tell("POST", "/sources", {"id": "s", "url": upstream.url})
        whole.tell("POST", "/profiles", {"name": "p", "station": whole.name, "sources": ["s"]})
        lab.wait_synced("s", deadline_s=60.0)
        upstream.forget()
        one, herd = (at_an_emptied_station(lab, repository, package, n) for n in (1, CLIENTS))
        judge("exchanged disk", one, herd, package)
        assert not upstream.requests(r"\.rpm$")
