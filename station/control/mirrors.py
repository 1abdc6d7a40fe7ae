"""The mirror list as people see it: state, revision, progress and reasons of each source. Pure.

The state is derived from what lies on the storage and from what the stations on that storage are doing, so that all
of them give the same answer about it, whoever ran the job.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from station.control.storage_view import StoredSource
from station.model.mirror_list import MirrorListEntry
from station.model.report import SourceReport
from station.model.states import MirrorState


def mirror_rows(
    mirror_list: Mapping[str, MirrorListEntry],
    stored: Mapping[str, StoredSource],
    reports: Mapping[str, Iterable[SourceReport]],
    everywhere: Mapping[str, Iterable[SourceReport]],
) -> list[dict[str, Any]]:
    """One row per source on the mirror list.

    `reports`: of the stations that use this storage, this one included; `everywhere`: of all that are present.
    """
    return [
        _row(source, entry, stored.get(source, StoredSource()), list(reports.get(source, ())))
        | _times(stored.get(source, StoredSource()), list(everywhere.get(source, ())))
        for source, entry in mirror_list.items()
    ]


def state_of(stored: StoredSource, reports: Iterable[SourceReport]) -> MirrorState:
    """The product's five states, for one source on one storage."""
    reports = list(reports)
    if any(r.activity == "syncing" for r in reports):
        return MirrorState.SYNCING
    if any(r.activity == "queued" for r in reports):
        return MirrorState.QUEUED
    if any(r.error for r in reports):
        return MirrorState.FAILED
    greatest = stored.greatest
    facts = stored.revisions.get(greatest.revision) if greatest else None
    return MirrorState.SYNCED if facts and facts.is_complete else MirrorState.UNSYNCED


def _row(
    source: str, entry: MirrorListEntry, stored: StoredSource, reports: list[SourceReport]
) -> dict[str, Any]:
    live = stored.greatest
    facts = stored.revisions.get(live.revision) if live else None
    state = state_of(stored, reports)
    busy = max(reports, key=lambda r: r.bytes_total, default=SourceReport())
    return {
        "source": source,
        "display_name": entry.source.display_name,
        "state": state.value,
        "revision": str(live.revision) if live else "",
        "publication": live.number if live else 0,
        "percentage": _percentage(state, busy),
        "package_count": facts.packages if facts else 0,
        "size": facts.size if facts else 0,
        "bytes_done": busy.bytes_done,
        "bytes_total": busy.bytes_total,
        "reasons": [str(reason) for reason in entry.reasons],
        "error": next((r.error for r in reports if r.error), ""),
    }


def _times(stored: StoredSource, everywhere: list[SourceReport]) -> dict[str, float | None]:
    """Of the last look at upstream that found what this storage has whole, and of the next one."""
    whole = {str(revision) for revision, facts in stored.revisions.items() if facts.is_complete}
    last = max((r.checked_at for r in everywhere if r.checked in whole), default=0.0)
    due = max((r.next_at for r in everywhere), default=0.0)
    return {"time_last_synced": last or None, "time_next_sync": due or None}


def _percentage(state: MirrorState, report: SourceReport) -> int:
    if state is MirrorState.SYNCED:
        return 100
    return 100 * report.bytes_done // report.bytes_total if report.bytes_total else 0
