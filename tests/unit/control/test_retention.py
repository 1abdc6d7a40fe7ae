import pytest

from station.control.retention import (
    RETAIN_S,
    frozen_revisions,
    revision_rows,
    staged_revisions,
    why_not_remove,
)
from station.control.storage_view import StoredSource
from station.model.report import SourceReport, StationReport
from tests.unit.control.builders import FIRST, R1, R2, R3, SECOND, held, records

ALL = ("A", "B")


def test_revisions_stay_for_a_weekend_or_a_day_longer_than_clients_keep_their_metadata() -> None:
    assert RETAIN_S == 72 * 3600.0


def test_freezes_of_sources_and_profiles_hold_revisions() -> None:
    assert frozen_revisions(records()) == {}
    group = records(is_frozen=True, frozen_revision=R1, frozen={"base": R2})
    assert frozen_revisions(group) == {"base": {R1, R2}}
    assert frozen_revisions(records(is_frozen=True)) == {}, "what is live is kept as such"


def test_what_is_registered_shown_or_prepared_anywhere_is_staged() -> None:
    report = StationReport(sources={"base": SourceReport(live=FIRST, candidate=R3)})
    assert staged_revisions(records(publication=SECOND), [report]) == {"base": {R1, R2, R3}}


@pytest.mark.parametrize(
    ("present", "has_exchanged", "is_new_epoch", "is_known", "says"),
    [
        (ALL, True, False, True, ""),
        (ALL, True, True, True, ""),
        (ALL, True, False, False, ""),
        (("A",), True, False, True, "out of contact with B"),
        (ALL, False, False, True, "not heard"),
        (ALL, True, True, False, "begun anew and knows nothing of base"),
    ],
)
def test_nothing_is_removed_out_of_contact_or_by_a_wiped_registry(
    present: tuple[str, ...], has_exchanged: bool, is_new_epoch: bool, is_known: bool, says: str
) -> None:
    why = why_not_remove(
        records(),
        ["base"],
        present,
        has_exchanged=has_exchanged,
        is_new_epoch=is_new_epoch,
        is_known={"base": is_known},
    )
    assert says in why and bool(says) == bool(why)


def test_rows_say_why_each_revision_is_kept_and_for_how_long_at_least() -> None:
    stored = StoredSource((FIRST, SECOND), {R1: held(10), R2: held(20), R3: held(5)})
    rows = revision_rows(stored, frozen=(), staged=(), idle_s={R1: 3600.0})
    assert [(row["revision"], row["kept"], row["kept_for_s"]) for row in rows] == [
        (R2, "live", None),
        (R1, "was live", RETAIN_S - 3600.0),
        (R3, "not yet judged", 24 * 3600.0),
    ]
    assert [row["publication"] for row in rows] == [2, 1, 0]


def test_a_freeze_keeps_a_revision_as_long_as_it_lasts_and_age_lets_go_of_it() -> None:
    stored = StoredSource((FIRST, SECOND), {R1: held(10), R2: held(20)})
    (_, row) = revision_rows(stored, frozen=[R1], staged=(), idle_s=None)
    assert (row["kept"], row["kept_for_s"]) == ("frozen", None)
    (_, row) = revision_rows(stored, frozen=(), staged=(), idle_s={R1: RETAIN_S + 1})
    assert row["kept"].startswith("nothing")
    assert row["kept_for_s"] == 0.0
