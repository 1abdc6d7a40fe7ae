import pytest

from station.control.leaving import (
    GRACE_S,
    Left,
    freezes_of,
    leaving_changes,
    left_sources,
    purges_due,
    stations_that_left,
)
from station.model.records import Kind
from tests.unit.control.builders import R1, records

NOW = 1_800_000_000.0


def changes(
    listed: tuple[str, ...] = (),
    stored: tuple[str, ...] = ("base",),
    known: tuple[str, ...] = ("base",),
    left: dict[str, Left] | None = None,
    *,
    are_all_present: bool = True,
) -> list[tuple[str, bool]]:
    """Which records are written (True) and deleted (False)."""
    found = leaving_changes(
        listed, stored, known, left or {}, are_all_present=are_all_present, wall=NOW
    )
    assert all(change.kind is Kind.SETTINGS for change in found)
    return [(change.key, change.value is not None) for change in found]


def test_the_record_is_read_back_as_it_was_written() -> None:
    left = Left("base", NOW, True, False)
    change = left.change()
    settings = {change.key: change.value, "token:x": {"any": 1}, "left:y": {"at": "soon"}}
    assert left_sources(settings) == {"base": left}


def test_what_lies_on_a_storage_and_is_no_longer_listed_gets_a_time() -> None:
    assert changes() == [("left:base", True)]
    assert changes(listed=("base",)) == []
    assert changes(left={"base": Left("base", NOW)}) == []


def test_a_registry_that_never_knew_a_source_does_not_say_that_it_left() -> None:
    assert changes(known=()) == []


def test_what_comes_back_on_the_list_has_not_left() -> None:
    assert changes(listed=("base",), left={"base": Left("base", 0.0)}) == [("left:base", False)]


@pytest.mark.parametrize(
    ("at", "are_all_present", "is_forgotten"),
    [(NOW - GRACE_S, True, True), (NOW - GRACE_S, False, False), (NOW - 1, True, False)],
)
def test_the_time_is_forgotten_once_it_is_over_and_no_storage_has_the_source(
    at: float, are_all_present: bool, is_forgotten: bool
) -> None:
    found = changes(stored=(), left={"base": Left("base", at)}, are_all_present=are_all_present)
    assert found == ([("left:base", False)] if is_forgotten else [])


def due(left: Left, *, is_frozen: bool = False, listed: tuple[str, ...] = ()) -> list[str]:
    group = records(is_frozen=is_frozen)
    return purges_due(group, listed, ["base"], {"base": left}, wall=NOW)


def test_files_go_a_grace_period_after_their_source_left_or_when_somebody_says_so() -> None:
    assert due(Left("base", NOW - GRACE_S + 1)) == []
    assert due(Left("base", NOW - GRACE_S)) == ["base"]
    assert due(Left("base", NOW, is_purged=True)) == ["base"]


def test_what_is_listed_never_goes() -> None:
    assert due(Left("base", 0.0, is_purged=True, is_forced=True), listed=("base",)) == []


def test_a_freeze_holds_what_left_unless_the_purge_was_forced() -> None:
    assert due(Left("base", 0.0, is_purged=True), is_frozen=True) == []
    assert due(Left("base", 0.0, is_purged=True, is_forced=True), is_frozen=True) == ["base"]


def test_freezes_are_named_as_people_call_them() -> None:
    group = records(is_frozen=True, frozen={"base": R1})
    assert freezes_of(group, "base") == [
        "source base is frozen",
        "profile web is frozen at 111111111111",
    ]
    assert freezes_of(group, "other") == []


def test_only_stations_that_the_group_removed_are_forgotten_on_a_storage() -> None:
    found, members, removed = ["B", "C", "D"], {"A", "B"}, {"A", "B", "C"}
    assert stations_that_left(found, members, removed.__contains__) == ["C"]
    assert stations_that_left(found, members, lambda _: False) == [], "a registry begun anew"
