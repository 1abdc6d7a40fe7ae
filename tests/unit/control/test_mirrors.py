import pytest

from station.control.mirrors import mirror_rows, state_of
from station.control.storage_view import StoredRevision, StoredSource
from station.model.identity import Revision
from station.model.mirror_list import MirrorListEntry, Reason
from station.model.publication import Publication
from station.model.records import SourceRecord
from station.model.report import SourceReport
from station.model.states import MirrorState

R = Revision("1" * 64)


def stored(*, is_complete: bool) -> StoredSource:
    return StoredSource((Publication(1, 10, R),), {R: StoredRevision(is_complete, 5, 500, 10)})


def test_state_is_synced_when_every_byte_of_what_is_live_is_there_whoever_fetched_it() -> None:
    assert state_of(stored(is_complete=True), []) is MirrorState.SYNCED


def test_state_is_unsynced_while_bytes_are_missing() -> None:
    assert state_of(stored(is_complete=False), []) is MirrorState.UNSYNCED
    assert state_of(StoredSource(), []) is MirrorState.UNSYNCED


def test_work_of_any_station_on_the_storage_is_seen_by_all() -> None:
    reports = [SourceReport(), SourceReport(activity="syncing")]
    assert state_of(stored(is_complete=True), reports) is MirrorState.SYNCING


def test_failure_is_told_though_the_last_revision_is_served() -> None:
    assert state_of(stored(is_complete=True), [SourceReport(error="x: y")]) is MirrorState.FAILED


def test_row_tells_revision_size_progress_and_reasons() -> None:
    source = SourceRecord(id="base", url="http://u/")
    entry = MirrorListEntry(source, (Reason("profile", "web", "A"),))
    report = SourceReport(activity="syncing", bytes_done=25, bytes_total=100)
    rows = mirror_rows({"base": entry}, {"base": stored(is_complete=False)}, {"base": [report]}, {})
    assert rows[0]["state"] == "SYNCING"
    assert rows[0]["percentage"] == 25
    assert rows[0]["revision"] == R
    assert (rows[0]["package_count"], rows[0]["size"]) == (5, 500)
    assert rows[0]["reasons"] == ["profile web (station A)"]
    assert rows[0]["time_next_sync"] is None


@pytest.mark.parametrize(("is_complete", "last"), [(True, 50.0), (False, None)])
def test_last_synced_is_the_last_look_whose_find_is_whole_here_whoever_looked(
    *, is_complete: bool, last: float | None
) -> None:
    entry = MirrorListEntry(SourceRecord(id="base", url="http://u/"), ())
    other = SourceReport(checked_at=60.0, checked="2" * 64)
    duty = SourceReport(checked_at=50.0, checked=R, next_at=90.0)
    everywhere = {"base": [SourceReport(), other, duty]}
    (row,) = mirror_rows({"base": entry}, {"base": stored(is_complete=is_complete)}, {}, everywhere)
    assert (row["time_last_synced"], row["time_next_sync"]) == (last, 90.0)
