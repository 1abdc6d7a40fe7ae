"""Stations × sources: what is live and what is ready where, and for how long all have been equal."""

from collections.abc import Mapping
from typing import Any

from station.control.station import Station
from station.model.report import SourceReport


def skew_table(station: Station) -> list[dict[str, Any]]:
    """One row per source on the mirror list and station of the group."""
    reports = {station.name: station.report().sources}
    for name, (is_present, report) in station.peers().items():
        if is_present:
            reports[name] = report.sources
    return [
        _row(name, source, reports.get(name))
        for source in station.mirror_list()
        for name in sorted(station.records().stations)
    ]


def _row(station: str, source: str, known: Mapping[str, SourceReport] | None) -> dict[str, Any]:
    if known is None:
        return {"station": station, "source": source, "state": "absent"}
    said = known.get(source, SourceReport())
    live = said.live
    if said.activity:
        state = said.activity.upper()
    elif live and live.revision in said.complete:
        state = "SYNCED"
    else:
        state = "FAILED" if said.error else "UNSYNCED"
    return {
        "station": station,
        "source": source,
        "state": state,
        "live": str(live.revision) if live else "",
        "publication": live.number if live else 0,
        "staged": sorted(said.complete - ({live.revision} if live else set())),
        "error": said.error,
    }
