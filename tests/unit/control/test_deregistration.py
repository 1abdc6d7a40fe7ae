"""How an instance is deleted: who is gone at once, who is waited for, and for how long."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.control.changes import BadChange, Records
from station.control.deregistration import (
    OVERDUE_MAX,
    WAITS_S,
    Deleting,
    ask_to_leave,
    delete_now,
    deleting_of,
    overdue,
    stays,
)
from station.model.records import InstanceRecord, Kind, ReferenceRecord
from station.peering.changes import Change
from tests.unit.control import builders

NOW = 1_800_000_000.0
REFERENCE = ReferenceRecord(holder_kind="instance", holder="db1", source="base")
Settings = dict[str, Mapping[str, Any]]


def records(*names: str, secret: str = "d") -> Records:
    made = {name: InstanceRecord(id=name, station="A", secret_digest=secret) for name in names}
    references = {REFERENCE.key: REFERENCE} if "db1" in names else {}
    return replace(builders.records(), instances=made, references=references)


def marked(at: float, *names: str) -> Settings:
    return {Deleting(name, at).key: {"at": at} for name in names}


def keys(changes: list[Change]) -> set[tuple[Kind, str, bool]]:
    return {(change.kind, change.key, change.value is None) for change in changes}


def test_machine_that_registered_is_waited_for_and_refers_to_nothing_meanwhile() -> None:
    settings: Settings = {"silent:db1": {"at": 1.0, "sources": ["base"]}}
    changes, mark = ask_to_leave(records("db1"), settings, "db1", NOW)
    assert mark == Deleting("db1", NOW)
    assert mark.until == NOW + WAITS_S
    assert keys(changes) == {
        (Kind.SETTINGS, "silent:db1", True),
        (Kind.REFERENCE, REFERENCE.key, True),
        (Kind.SETTINGS, "deleting:db1", False),
    }


def test_machine_that_never_registered_is_gone_at_once() -> None:
    changes, mark = ask_to_leave(records("db1", secret=""), {}, "db1", NOW)
    assert mark is None
    assert (Kind.INSTANCE, "db1", True) in keys(changes)


def test_deleting_again_neither_changes_nor_prolongs() -> None:
    settings = marked(NOW - 50, "db2")
    assert ask_to_leave(records("db2"), settings, "db2", NOW) == ([], Deleting("db2", NOW - 50))


def test_what_is_gone_leaves_no_mark_for_another_of_its_name() -> None:
    changes = delete_now(records("db1"), marked(NOW, "db1"), "db1")
    assert keys(changes) == {
        (Kind.INSTANCE, "db1", True),
        (Kind.REFERENCE, REFERENCE.key, True),
        (Kind.SETTINGS, "deleting:db1", True),
    }
    with pytest.raises(BadChange, match="no instance"):
        ask_to_leave(records(), {}, "db1", NOW)


def test_machine_that_registers_anew_stays() -> None:
    assert keys(stays(marked(NOW, "db1", "db2"), "db1")) == {(Kind.SETTINGS, "deleting:db1", True)}
    assert stays({}, "db1") == []


def test_machine_that_never_comes_back_is_deleted_when_its_time_is_over() -> None:
    settings = marked(NOW, "db1")
    assert overdue(records("db1"), settings, NOW + WAITS_S - 1) == []
    changes = overdue(records("db1"), settings, NOW + WAITS_S)
    assert keys(changes) == keys(delete_now(records("db1"), settings, "db1"))


def test_mark_of_nobody_goes() -> None:
    assert keys(overdue(records(), marked(NOW, "db1"), NOW)) == {
        (Kind.SETTINGS, "deleting:db1", True)
    }


def test_one_look_deletes_so_many_and_no_more() -> None:
    names = [f"m{number}" for number in range(OVERDUE_MAX + 7)]
    gone = [
        c for c in overdue(records(*names), marked(0.0, *names), NOW) if c.kind is Kind.INSTANCE
    ]
    assert len(gone) == OVERDUE_MAX


@given(
    st.dictionaries(
        st.one_of(st.just("deleting:db1"), st.text(max_size=20)),
        st.one_of(st.none(), st.text(), st.dictionaries(st.just("at"), st.text() | st.integers())),
    )
)
def test_settings_that_are_no_marks_delete_nobody(settings: dict[str, Any]) -> None:
    value = settings.get("deleting:db1")
    is_mark = isinstance(value, dict) and isinstance(value.get("at"), int)
    assert (deleting_of(settings, "db1") is not None) is is_mark
    if not is_mark:
        assert not [c for c in overdue(records("db1"), settings, NOW) if c.kind is Kind.INSTANCE]
