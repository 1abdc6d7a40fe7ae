from station.control.skew import skew_rows
from station.model.report import SourceReport
from station.publish.skew import SkewRow
from tests.unit.control.builders import FIRST, R1, R2

MEASURED = [SkewRow("base", {}, 1.234, 5.678)]


def test_every_station_has_a_row_for_every_source_with_how_long_they_were_apart() -> None:
    said = {"base": SourceReport(live=FIRST, complete=frozenset({R1, R2}))}
    here, away = skew_rows(MEASURED, {"A": said}, ["B", "A"])
    assert (here["station"], here["state"], here["live"]) == ("A", "SYNCED", R1)
    assert here["staged"] == [R2]
    assert (here["seconds_apart"], here["longest_s"]) == (1.23, 5.68)
    assert (away["station"], away["state"]) == ("B", "absent")


def test_state_is_what_the_station_does_or_has() -> None:
    said = {
        "": SourceReport(),
        "syncing": SourceReport(activity="syncing"),
        "failed": SourceReport(error="x: y"),
        "partial": SourceReport(live=FIRST),
    }
    states = {
        name: skew_rows(MEASURED, {"A": {"base": report}}, ["A"])[0]["state"]
        for name, report in said.items()
    }
    assert states == {
        "": "UNSYNCED",
        "syncing": "SYNCING",
        "failed": "FAILED",
        "partial": "UNSYNCED",
    }
