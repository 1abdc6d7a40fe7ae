from typing import Any

import pytest

from station.control.status import (
    held_requests,
    overall_state,
    peer_rows,
    storage_row,
    sync_counts,
)
from station.model.report import SourceReport, StationReport
from station.model.states import MirrorState, OverallState, StorageState
from tests.unit.control.builders import FIRST, R1, records, view

READY, SYNCED = StorageState.READY, [MirrorState.SYNCED]


@pytest.mark.parametrize(
    ("is_ready", "storage", "states", "says"),
    [
        (True, READY, SYNCED, OverallState.NORMAL),
        (True, READY, [MirrorState.SYNCED, MirrorState.QUEUED], OverallState.SYNCING),
        (True, READY, [MirrorState.SYNCING, MirrorState.FAILED], OverallState.SYNC_FAILED),
        (False, READY, [MirrorState.FAILED], OverallState.WARNING),
        (True, StorageState.FULL, SYNCED, OverallState.WARNING),
        (True, StorageState.READ_ONLY, SYNCED, OverallState.WARNING),
        (False, StorageState.STALLED, SYNCED, OverallState.ERROR),
        (False, StorageState.MISSING, SYNCED, OverallState.ERROR),
        (False, StorageState.FOREIGN, SYNCED, OverallState.ERROR),
    ],
)
def test_the_one_word_tells_what_is_worst(
    is_ready: bool, storage: StorageState, states: list[MirrorState], says: OverallState
) -> None:
    rows: list[dict[str, Any]] = [{"state": state} for state in states]
    assert overall_state(is_ready, storage, rows) is says


def test_storage_is_told_with_its_cure_and_who_shares_it() -> None:
    row = storage_row(view(state=StorageState.MISSING, detail="no mark"), {"C", "B"})
    assert (row["state"], row["detail"], row["id"]) == ("missing", "no mark", "s1")
    assert "mount it" in row["cure"]
    assert row["shared_with"] == ["B", "C"]


def test_sources_are_counted_in_all_five_states() -> None:
    counts = sync_counts([{"state": MirrorState.SYNCED}, {"state": MirrorState.SYNCED}])
    assert counts == {"unsynced": 0, "queued": 0, "syncing": 0, "synced": 2, "failed": 0}


def test_held_requests_are_summed_over_the_workers_by_their_reason() -> None:
    counters = [{"held_flip": 2, "connections": 9}, {"held_flip": 1, "held_manifest_hold": 4}]
    assert held_requests(counters) == {"flip": 3, "manifest_hold": 4}


def rows(peers: dict[str, tuple[bool, StationReport]], offset: float = 0.0) -> dict[str, Any]:
    (row,) = peer_rows("A", records(), peers, {"B": 0.523}, {"B": offset})
    return row


def test_a_peer_is_healthy_unhealthy_or_was_never_heard_of() -> None:
    report = StationReport(is_ready=True, sources={"base": SourceReport(live=FIRST)})
    row = rows({"B": (True, report)})
    assert (row["state"], row["ready"], row["live"]) == ("HEALTHY", True, {"base": R1})
    assert (row["name"], row["last_seen_s"]) == ("B", 0.52)
    row = rows({"B": (False, report)})
    assert (row["state"], row["ready"]) == ("UNHEALTHY", False)
    assert rows({})["state"] == "UNAVAILABLE"


def test_a_clock_that_makes_flips_unsafe_is_an_alarm() -> None:
    peers = {"B": (True, StationReport())}
    assert not rows(peers, 0.2)["clock_alarm"]
    row = rows(peers, -0.3)
    assert (row["clock_alarm"], row["clock_offset_ms"]) == (True, -300.0)
