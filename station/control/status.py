"""The summaries that people and scripts ask for: one station, its peers. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from station.control.changes import Records
from station.control.health import CURES
from station.control.storage_view import StorageView
from station.model.report import StationReport
from station.model.states import HealthState, MirrorState, OverallState, StorageState

# Peers' clocks further apart than this make the hold around a flip unsafe (DESIGN: skew < 250 ms).
CLOCK_OFFSET_ALARM_S = 0.25


def overall_state(
    is_ready: bool, storage: StorageState, rows: list[dict[str, Any]]
) -> OverallState:
    """The one word: what is worst and concerns the administrator first."""
    states = {row["state"] for row in rows}
    if storage in (StorageState.STALLED, StorageState.MISSING, StorageState.FOREIGN):
        return OverallState.ERROR
    if not is_ready or storage is not StorageState.READY:
        return OverallState.WARNING
    if MirrorState.FAILED in states:
        return OverallState.SYNC_FAILED
    if MirrorState.SYNCING in states or MirrorState.QUEUED in states:
        return OverallState.SYNCING
    return OverallState.NORMAL


def storage_row(storage: StorageView, partners: Iterable[str]) -> dict[str, Any]:
    """The storage as this station sees it, and who shares it. Sizes in bytes."""
    return {
        "state": storage.state.value,
        "detail": storage.detail,
        "cure": CURES[storage.state],
        "id": storage.storage_id,
        "capacity": storage.capacity,
        "free": storage.free,
        "shared_with": sorted(partners),
    }


def held_requests(counters: Iterable[Mapping[str, float]]) -> dict[str, int]:
    """How many requests waited, by what they waited for, over all workers since they started."""
    found: Counter[str] = Counter()
    for worker in counters:
        for name, value in worker.items():
            if name.startswith("held_"):
                found[name.removeprefix("held_")] += int(value)
    return dict(sorted(found.items()))


def sync_counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many sources are in each of the five states."""
    counts = Counter(row["state"] for row in rows)
    return {state.value.lower(): counts[state.value] for state in MirrorState}


def peer_rows(
    own: str,
    records: Records,
    peers: Mapping[str, tuple[bool, StationReport]],
    last_seen: Mapping[str, float],
    offsets: Mapping[str, float],
) -> list[dict[str, Any]]:
    """One row per other station. `last_seen`: seconds ago; `offsets`: their wall clock minus ours, seconds."""
    return [
        _peer_row(name, record.address, peers.get(name), last_seen.get(name), offsets.get(name))
        for name, record in sorted(records.stations.items())
        if name != own
    ]


def _peer_row(
    name: str,
    address: str,
    known: tuple[bool, StationReport] | None,
    last_seen: float | None,
    offset: float | None,
) -> dict[str, Any]:
    is_present, report = known or (False, StationReport())
    if known is None:
        state = HealthState.UNAVAILABLE
    elif is_present:
        state = HealthState.HEALTHY
    else:
        state = HealthState.UNHEALTHY
    return {
        "name": name,
        "address": address,
        "state": state.value,
        "ready": is_present and report.is_ready,
        "reason": report.reason,
        "storage_state": report.storage_state,
        "live": {
            source: str(said.live.revision) for source, said in report.sources.items() if said.live
        },
        "last_seen_s": None if last_seen is None else round(last_seen, 2),
        "clock_offset_ms": None if offset is None else round(offset * 1000, 1),
        "clock_alarm": offset is not None and abs(offset) > CLOCK_OFFSET_ALARM_S,
    }
