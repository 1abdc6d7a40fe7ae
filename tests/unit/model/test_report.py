import json

from station.model.identity import Revision
from station.model.publication import Publication
from station.model.report import SourceReport, StationReport

R = Revision("a" * 64)


def test_a_report_survives_the_wire() -> None:
    report = StationReport(
        is_ready=True,
        storage_id="s1",
        sources={
            "base": SourceReport(
                live=Publication(3, 4, R),
                revisions={R: 4},
                complete=frozenset({R}),
                retained=(R,),
                bytes_done=5,
            )
        },
    )
    assert StationReport.from_wire(json.loads(json.dumps(report.to_wire()))) == report


def test_what_a_newer_station_says_more_is_ignored() -> None:
    wire = {"is_ready": True, "mood": "fine", "sources": {"base": {"colour": "red"}}}
    assert StationReport.from_wire(wire).sources == {"base": SourceReport()}
