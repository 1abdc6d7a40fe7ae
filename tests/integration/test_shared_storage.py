"""Three stations on one directory: they know it, do the work once, and say the same."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.dnf import Dnf
from tests.integration.lab import LabUnderTest, StationUnderTest, wait_until
from tests.integration.repositories import Repository, build_repository
from tests.integration.upstream import Upstream

NETWORK = "127.42.11"

# What one station does reaches the others by gossip and by the next listing of the storage: until then their answers
# may differ, and never for longer.
AGREE_S = 3.0
SAMPLE_S = 0.1
SAID = ("state", "revision", "package_count", "size", "error")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return build_repository(tmp_path_factory.mktemp("upstream"), packages=12, size=100_000)


@pytest.fixture(scope="module")
def lab() -> Iterator[LabUnderTest]:
    with LabUnderTest(NETWORK, "--shared") as running:
        yield running


def partners(station: StationUnderTest) -> list[str]:
    return list(
        (station.ask("/status") or {"storage": {"shared_with": []}})["storage"]["shared_with"]
    )


def said(station: StationUnderTest) -> Any:
    return {s: tuple(row[name] for name in SAID) for s, row in station.mirrors().items()}


def test_stations_on_one_directory_recognise_each_other(lab: LabUnderTest) -> None:
    wait_until("all recognised", lambda: all(len(partners(s)) == 2 for s in lab.stations), 30.0)
    ids = {(s.ask("/status") or {})["storage"]["id"] for s in lab.stations}
    assert len(ids) == 1


def test_one_fetches_all_have_it_and_every_sample_says_the_same(
    lab: LabUnderTest, upstream: Upstream, repository: Repository, tmp_path: Path
) -> None:
    a = lab.stations[0]
    a.mirror("large", upstream.url, "larges")
    samples = differing(lab, lambda: is_synced(lab, "large"), 40.0)
    print(f"{samples.count} samples, at most {samples.longest_s:.2f} s apart")
    assert samples.longest_s <= AGREE_S
    repository.bump(update=3)
    a.tell("POST", "/mirrors/sync", {"sources": ["large"]})
    before = a.mirrors()["large"]["revision"]
    samples = differing(
        lab,
        lambda: (
            is_synced(lab, "large")
            and all(s.mirrors()["large"]["revision"] != before for s in lab.stations)
        ),
        40.0,
    )
    print(f"{samples.count} samples, at most {samples.longest_s:.2f} s apart")
    assert samples.longest_s <= AGREE_S
    fetched = [r.path for r in upstream.requests(r"\.rpm$") if r.status == 200]
    assert len(fetched) == len(set(fetched)), "each object was fetched once"
    dnf = Dnf(tmp_path)
    dnf.repo("large", mirrorlist=f"{lab.http}/mirrorlist/large/larges")
    dnf.install("lab-all").check()


def test_a_storage_without_its_mark_is_left_alone_and_the_station_says_so(
    lab: LabUnderTest,
) -> None:
    station = lab.stations[0]
    marker = station.storage / "station.storage"
    away = station.storage.parent / "station.storage.away"
    marker.rename(away)
    try:
        wait_until("seen by all", lambda: all(state_of(s) == "missing" for s in lab.stations), 10.0)
        status = station.ask("/status")
        assert "station.storage" in status["storage"]["detail"]
        assert "mount it" in status["storage"]["cure"]
        assert not status["ready"]
        time.sleep(2.0)  # what was under way ends
        before = names_below(station.storage)
        station.tell("POST", "/mirrors/sync", {"all": True})
        time.sleep(3.0)
        assert names_below(station.storage) == before
        for path in ("/peers", "/mirrors", "/sources"):
            began = time.monotonic()
            assert station.ask(path) is not None
            assert time.monotonic() - began < 1.0
        present = [row["state"] for row in station.ask("/peers")]
        assert present == ["HEALTHY", "HEALTHY"], "gossip does not need the storage"
    finally:
        away.rename(marker)
    wait_until("ready again", lambda: all(state_of(s) == "ready" for s in lab.stations), 10.0)
    lab.wait_synced("large")


def test_another_storage_in_the_place_of_ours_is_refused_until_it_is_adopted(
    lab: LabUnderTest,
) -> None:
    station = lab.stations[0]
    marker = station.storage / "station.storage"
    text = marker.read_text()
    known = (station.ask("/status") or {})["storage"]["id"]
    marker.write_text(text.replace(known, "f" * 32))
    try:
        wait_until("refused", lambda: state_of(station) == "foreign", 10.0)
        status = station.ask("/status")
        assert known in status["storage"]["detail"] and "f" * 32 in status["storage"]["detail"]
        assert "storage init" in status["storage"]["cure"]
    finally:
        marker.write_text(text)
    wait_until("ready again", lambda: all(state_of(s) == "ready" for s in lab.stations), 10.0)


def test_a_station_with_its_own_storage_lives_in_the_group_of_those_that_share_one(
    lab: LabUnderTest, upstream: Upstream, repository: Repository
) -> None:
    a, b, own = lab.stations
    own.kill_all()
    shared, own.storage = own.storage, own.config.parent / "mirror"
    own.storage.mkdir()
    text = own.config.read_text()
    own.config.write_text(text.replace(f'"{shared}"', f'"{own.storage}"'))
    words = [sys.executable, "-m", "station", "storage", "init", "--config", str(own.config)]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    own.start_again()
    lab.wait_synced("large", deadline_s=60.0)
    upstream.forget()
    repository.bump(update=2)
    before = a.mirrors()["large"]["revision"]
    own.tell("POST", "/mirrors/sync", {"sources": ["large"]})

    def is_followed() -> bool:
        shown = {s.mirrors()["large"]["revision"] for s in lab.stations}
        return len(shown) == 1 and before not in shown and is_synced(lab, "large")

    wait_until("all follow", is_followed, 40.0)
    assert (partners(a), partners(b), partners(own)) == ([b.name], [a.name], [])
    assert said(a) == said(b)
    fetched = [r.path for r in upstream.requests(r"\.rpm$") if r.status == 200]
    assert fetched and len(fetched) == len(set(fetched)), "each changed object was fetched once"


def test_a_station_that_was_removed_leaves_nothing_on_the_storage(lab: LabUnderTest) -> None:
    keeper, gone = lab.stations[0], lab.stations[2]
    staging = keeper.storage / "staging" / gone.name
    assert staging.is_dir()
    gone.kill_all()
    wait_until("seen as away", lambda: keeper.ask("/status")["peers_present"] == 1, 15.0)
    keeper.tell("DELETE", f"/stations/{gone.name}")
    wait_until("its files are gone", lambda: not staging.exists(), 30.0)
    assert (keeper.storage / "staging" / keeper.name).is_dir()


class Samples:
    """How often all stations were asked, and the longest time that their answers differed (seconds)."""

    def __init__(self) -> None:
        self.count = 0
        self.longest_s = 0.0


def differing(lab: LabUnderTest, is_over: Any, deadline_s: float) -> Samples:
    """Ask all stations at once, again and again, until `is_over`."""
    samples, apart_since = Samples(), None
    end = time.monotonic() + deadline_s
    with ThreadPoolExecutor(len(lab.stations)) as pool:
        while time.monotonic() < end:
            answers = list(pool.map(said, lab.stations))
            now = time.monotonic()
            samples.count += 1
            if all(answer == answers[0] for answer in answers):
                apart_since = None
                if is_over():
                    return samples
            else:
                apart_since = now if apart_since is None else apart_since
                samples.longest_s = max(samples.longest_s, now - apart_since)
            time.sleep(SAMPLE_S)
    raise AssertionError(f"not over after {deadline_s:.0f} s: {answers}")


def is_synced(lab: LabUnderTest, source: str) -> bool:
    return all(s.mirrors().get(source, {}).get("state") == "SYNCED" for s in lab.stations)


def state_of(station: StationUnderTest) -> str:
    return str((station.ask("/status") or {"storage": {"state": ""}})["storage"]["state"])


def names_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))
