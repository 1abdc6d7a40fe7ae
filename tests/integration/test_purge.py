"""What left the mirror list goes when an operator says so, from every storage, and not against a freeze."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.dnf import Dnf
from tests.integration.lab import LabUnderTest, StationUnderTest, wait_until
from tests.integration.repositories import build_repository
from tests.integration.upstream import Upstream

NETWORK = "127.42.13"
LOOKS_S = 6.0  # stations look every 5 s for what is to go


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    root = build_repository(tmp_path_factory.mktemp("upstream"), packages=3).root
    with Upstream(root) as server:
        yield server


@pytest.fixture(scope="module")
def lab(upstream: Upstream) -> Iterator[LabUnderTest]:
    with LabUnderTest(NETWORK, "--stations", "2") as running:
        a = running.stations[0]
        for source in ("old", "kept"):
            a.tell("POST", "/sources", {"id": source, "url": upstream.url})
        a.tell("POST", "/profiles", {"name": "p", "station": a.name, "sources": ["old", "kept"]})
        running.wait_synced("old", "kept")
        yield running


def purge(station: StationUnderTest, *sources: str, **more: bool) -> Any:
    return station.tell("POST", "/mirrors/purge", {"sources": list(sources), **more})


def stored(station: StationUnderTest) -> set[str]:
    return {path.name for path in (station.storage / "sources").iterdir()}


def test_what_is_referred_to_is_not_purged(lab: LabUnderTest) -> None:
    a = lab.stations[0]
    with pytest.raises(AssertionError, match=r"profile p \(station StationA\) refers to it"):
        purge(a, "old")
    assert {"old", "kept"} <= stored(a)


def test_a_dry_run_says_what_would_go_and_takes_nothing(lab: LabUnderTest) -> None:
    a, b = lab.stations
    a.tell("PATCH", "/profiles/p", {"sources": ["kept"]})

    def rows() -> Any:
        return purge(b, dry_run=True)["sources"]

    wait_until("known to have left", rows, 15.0)
    (row,) = rows()
    assert (row["source"], row["revisions"], row["objections"]) == ("old", 1, [])
    assert row["bytes"] > 3000
    assert row["left_at"] and row["stations"] == [a.name, b.name]
    assert all("old" in stored(station) for station in lab.stations)


def test_a_freeze_holds_what_left_unless_forced_and_named(lab: LabUnderTest) -> None:
    a, b = lab.stations
    a.tell("POST", "/sources/old/freeze", {})
    wait_until("known to both", lambda: b.ask("/sources/old")["is_frozen"], 5.0)
    with pytest.raises(AssertionError, match="source old is frozen; --force overrides it"):
        purge(b, "old")
    (row,) = purge(b, "old", dry_run=True, force=True)["sources"]
    assert (row["objections"], row["overrides"]) == ([], ["source old is frozen"])
    assert all("old" in stored(station) for station in lab.stations)


def test_nothing_goes_while_a_station_is_away_and_then_it_goes_everywhere(
    lab: LabUnderTest,
) -> None:
    a, b = lab.stations
    b.kill_all()
    wait_until("seen as away", lambda: a.ask("/status")["peers_present"] == 0, 15.0)
    answer = purge(a, "old", force=True)
    assert answer["waits"] == f"out of contact with {b.name}"
    time.sleep(LOOKS_S)
    assert "old" in stored(a)
    b.start_again()
    wait_until("gone everywhere", lambda: not any("old" in stored(s) for s in (a, b)), 40.0)
    assert all("kept" in stored(station) for station in (a, b))
    wait_until("the registry forgets it", lambda: not purge(a, dry_run=True)["sources"], 20.0)


def test_a_source_that_is_listed_again_after_its_purge_is_mirrored_and_served(
    lab: LabUnderTest, tmp_path: Path
) -> None:
    a, b = lab.stations
    a.tell("POST", "/sources/old/unfreeze")
    b.tell("PATCH", "/profiles/p", {"sources": ["kept", "old"]})
    lab.wait_synced("old", deadline_s=60.0)
    assert all("old" in stored(station) for station in lab.stations)
    dnf = Dnf(tmp_path)
    dnf.repo("old", mirrorlist=f"{lab.http}/mirrorlist/old/p")
    dnf.install("lab-all").check()
    assert not purge(a, dry_run=True)["sources"], "it is not about to leave again"
