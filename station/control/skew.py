"""Stations × sources: what is live and what is ready where, and for how long all have been equal. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from station.model.report import SourceReport
from station.publish.skew import SkewRow


def skew_rows(
    measured: Iterable[SkewRow],
    reports: Mapping[str, Mapping[str, SourceReport]],
    stations: Iterable[str],
) -> list[dict[str, Any]]:
    """One row per source and station. `reports`: of the present stations, by name and source.

    `seconds_apart`: since the present stations last showed the same revision of this source, 0 while they do;
    `longest_s`: the longest such time that the answering station saw since it started.
    """
    names = sorted(stations)
    return [
        _row(name, row.source, reports.get(name))
        | {"seconds_apart": round(row.seconds_apart, 2), "longest_s": round(row.longest_s, 2)}
        for row in measured
        for name in names
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
