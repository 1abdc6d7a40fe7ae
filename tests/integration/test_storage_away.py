"""A station whose storage is gone, read-only or full: it says so, serves what its peers have, and writes nothing."""

import hashlib
import http.client
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.dnf import Dnf
from tests.integration.lab import LabUnderTest, StationUnderTest, wait_until
from tests.integration.repositories import Repository, build_repository
from tests.integration.upstream import Upstream

NETWORK = "127.42.15"
PACKAGE_BYTES = 2_000_000
# Long before the barrier leaves a station behind that makes no progress (60 s).
FLIP_S = 30.0
ANSWER_S = 1.0

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return build_repository(tmp_path_factory.mktemp("upstream"), packages=4, size=PACKAGE_BYTES)


@pytest.fixture(scope="module")
def lab(upstream: Upstream) -> Iterator[LabUnderTest]:
    with LabUnderTest(NETWORK, "--stations", "2") as running:
        running.stations[0].mirror("s", upstream.url, "p")
        running.wait_synced("s")
        yield running


def fetch(station: StationUnderTest, path: str, **headers: str) -> tuple[int, bytes, str]:
    """Status, body and ETag of a file of the live view, asked of one station."""
    url = f"http://{station.host}:17080/repo/s/{path}"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return answer.status, answer.read(), answer.headers["ETag"]


def state_of(station: StationUnderTest) -> str:
    return str((station.ask("/status") or {"storage": {"state": ""}})["storage"]["state"])


def assert_serves(station: StationUnderTest, repository: Repository) -> None:
    """Every file of the repository as it is now, whole."""
    for path, sha256 in repository.files().items():
        status, body, etag = fetch(station, path)
        assert (status, etag) == (200, f'"{sha256}"'), path
        assert hashlib.sha256(body).hexdigest() == sha256, path


def assert_refused_at_once(station: StationUnderTest, path: str) -> None:
    began = time.monotonic()
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(station, path)
    caught.value.close()
    assert (caught.value.code, time.monotonic() - began < ANSWER_S) == (503, True), path


def has_peer(station: StationUnderTest) -> bool:
    return any(row["state"] == "HEALTHY" for row in station.ask("/peers") or [])


def other_surfaces_answer(station: StationUnderTest) -> None:
    for path in ("/status", "/peers", "/mirrors", "/sources"):
        began = time.monotonic()
        assert station.ask(path) is not None, path
        assert time.monotonic() - began < ANSWER_S, path
    with urllib.request.urlopen(f"http://{station.host}:16080/health/live", timeout=5) as answer:
        assert answer.status == 200


def change_upstream(lab: LabUnderTest, repository: Repository, by: StationUnderTest) -> None:
    """It changes, and all stations show it."""
    repository.bump(add=1, update=1)
    by.tell("POST", "/mirrors/sync", {"sources": ["s"]})

    def is_shown() -> bool:
        return all(fetch(s, "repodata/repomd.xml")[1] == repository.repomd for s in lab.stations)

    took = wait_until("the new revision is shown by all", is_shown, FLIP_S)
    print(f"shown by all {took:.1f} s after the upstream changed")


@pytest.fixture
def missing(lab: LabUnderTest) -> Iterator[StationUnderTest]:
    """The first station; where its storage was mounted there is an empty directory now."""
    station = lab.stations[0]
    real = station.storage.with_name("real")
    station.storage.rename(real)
    station.storage.mkdir()
    try:
        wait_until("told as missing", lambda: state_of(station) == "missing", 10.0)
        yield station
    finally:
        station.storage.rmdir()
        real.rename(station.storage)
        wait_until("ready again", lambda: state_of(station) == "ready", 10.0)
        lab.wait_synced("s")


def test_a_station_without_its_storage_serves_old_and_new_and_writes_nothing(
    lab: LabUnderTest, missing: StationUnderTest, repository: Repository, tmp_path: Path
) -> None:
    assert not missing.ask("/status")["ready"], "a balancer has better ones"
    assert_serves(missing, repository)
    (package,) = [p for p in repository.rpms() if re.search(r"lab-0*1-", p.name)][:1]
    whole = package.read_bytes()
    at = len(whole) // 2
    status, body, _ = fetch(missing, package.name, Range=f"bytes={at}-{at + 99_999}")
    assert (status, body) == (206, whole[at : at + 100_000])
    status, body, _ = fetch(missing, package.name, Range="bytes=-70000")
    assert (status, body) == (206, whole[-70_000:])
    change_upstream(lab, repository, lab.stations[1])
    assert_serves(missing, repository)
    dnf = Dnf(tmp_path)
    dnf.repo("s", baseurl=f"http://{missing.host}:17080/repo/s/")
    dnf.install("lab-all").check()
    other_surfaces_answer(missing)
    assert not list(missing.storage.iterdir()), "nothing is written where the marker is not"


def test_wrong_bytes_of_a_peer_are_never_passed_on_whole(
    lab: LabUnderTest, missing: StationUnderTest, repository: Repository
) -> None:
    peer, package = lab.stations[1], repository.rpms()[-1]
    content = package.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    stored = peer.storage / "pool" / sha256[:2] / sha256
    wrong = bytearray(content)
    wrong[1_000_000] ^= 1
    stored.write_bytes(wrong)
    try:
        with pytest.raises((http.client.IncompleteRead, ConnectionError)) as caught:
            fetch(missing, package.name)
        if isinstance(caught.value, http.client.IncompleteRead):
            assert len(caught.value.partial) < len(content)
    finally:
        stored.write_bytes(content)
    assert fetch(missing, package.name)[1] == content


def test_what_is_asked_for_before_the_station_knows_that_its_storage_is_gone_is_passed_on(
    lab: LabUnderTest, repository: Repository
) -> None:
    """As `missing`, without waiting: in the second until the next look, the first fill finds out."""
    station = lab.stations[0]
    real = station.storage.with_name("real")
    station.storage.rename(real)
    station.storage.mkdir()
    try:
        assert_serves(station, repository)
        assert not list(station.storage.iterdir())
    finally:
        station.storage.rmdir()
        real.rename(station.storage)
        wait_until("ready again", lambda: state_of(station) == "ready", 10.0)
        lab.wait_synced("s")


def test_with_no_peer_there_what_is_missing_is_refused_at_once_and_served_when_the_storage_is_back(
    lab: LabUnderTest, repository: Repository
) -> None:
    """Before the station knows, and after: a clean answer that a client and a balancer can act on."""
    station, peer = lab.stations
    known = set(repository.rpms())
    change_upstream(lab, repository, station)
    lab.wait_synced("s")
    # Asked for by nobody yet: what was passed on a moment ago is remembered to be had so.
    one, two, *_ = (path.name for path in repository.rpms() if path not in known)
    peer.kill_all()
    try:
        wait_until("alone", lambda: not has_peer(station), 30.0)
        real = station.storage.with_name("real")
        station.storage.rename(real)
        station.storage.mkdir()
        try:
            assert_refused_at_once(station, one)
            wait_until("told as missing", lambda: state_of(station) == "missing", 10.0)
            assert_refused_at_once(station, two)
        finally:
            station.storage.rmdir()
            real.rename(station.storage)
            wait_until("ready again", lambda: state_of(station) == "ready", 10.0)
        assert_serves(station, repository)
    finally:
        peer.start_again()
        lab.wait_synced("s", deadline_s=60.0)


def in_namespace(pid: int, *command: str) -> None:
    subprocess.run(["nsenter", "-t", str(pid), "-m", *command], check=True, timeout=20)


@pytest.fixture
def mounted(lab: LabUnderTest) -> Iterator[tuple[StationUnderTest, int]]:
    """The first station in a mount namespace of its own, its storage a small tmpfs; a pid to enter it by."""
    station = lab.stations[0]
    station.kill_all()
    script = (
        f"cp -a {station.storage} {station.storage}.copy && "
        f"mount -t tmpfs -o size=192m tmpfs {station.storage} && "
        f'cp -a {station.storage}.copy/. {station.storage}/ && exec "$@"'
    )
    station.start_again("unshare", "-m", "sh", "-ec", script, "sh")
    try:
        wait_until("ready", lambda: (station.ask("/status") or {}).get("ready"), 20.0)
        yield station, station.pid
    finally:
        station.kill_all()
        shutil.rmtree(f"{station.storage}.copy")
        station.start_again()
        lab.wait_synced("s", deadline_s=60.0)


@pytest.mark.accept
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_read_only_and_full_storages_are_told_apart_and_what_they_lack_is_passed_on(
    lab: LabUnderTest, mounted: tuple[StationUnderTest, int], repository: Repository
) -> None:
    station, pid = mounted
    root_free = shutil.disk_usage(lab.root).free
    in_namespace(pid, "mount", "-o", "remount,ro", str(station.storage))
    wait_until("told as read-only", lambda: state_of(station) == "read-only", 15.0)
    assert "mount it read-write" in station.ask("/status")["storage"]["cure"]
    assert_serves(station, repository)
    change_upstream(lab, repository, lab.stations[1])
    assert_serves(station, repository)
    other_surfaces_answer(station)
    in_namespace(pid, "mount", "-o", "remount,rw", str(station.storage))
    wait_until("ready again", lambda: state_of(station) == "ready", 15.0)
    lab.wait_synced("s")
    filler = str(station.storage / "filler")
    in_namespace(pid, "sh", "-c", f"dd if=/dev/zero of={filler} bs=1M 2>/dev/null || true")
    wait_until("told as full", lambda: state_of(station) == "full", 15.0)
    assert "make room" in station.ask("/status")["storage"]["cure"]
    change_upstream(lab, repository, lab.stations[1])
    assert_serves(station, repository)
    other_surfaces_answer(station)
    assert root_free - shutil.disk_usage(lab.root).free < 64 * 1024 * 1024, (
        "the root disk is not filled instead"
    )
    in_namespace(pid, "rm", filler)
    wait_until("ready again", lambda: state_of(station) == "ready", 15.0)
    lab.wait_synced("s")
