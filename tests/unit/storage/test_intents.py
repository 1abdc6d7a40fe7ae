"""Intents: seen by every collector as long as they stand, and not longer."""

from pathlib import Path

import pytest

from station.storage.errors import StorageError
from station.storage.intents import (
    declare_intent,
    read_intents,
    reclaim_intents,
    withdraw_intent,
)
from tests.unit.storage.shelf import SOURCE, a_layout, sha_of

R = "ab" * 32


def test_declared_objects_are_read_by_every_station_until_withdrawn(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    objects = [sha_of(b"a"), sha_of(b"b")]
    mine = declare_intent(layout, "A", SOURCE, R, objects)
    declare_intent(layout, "B", SOURCE, "", [])
    found = {intent.path.parent.parent.name: intent for intent in read_intents(layout)}
    assert list(found["A"].objects()) == objects
    assert (found["A"].source, found["A"].revision, found["B"].revision) == (SOURCE, R, "")
    withdraw_intent(mine)
    assert [intent.revision for intent in read_intents(layout)] == [""]


def test_only_intents_of_ended_processes_are_reclaimed(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    alive = declare_intent(layout, "A", SOURCE, R, [])
    for number, (old, new) in enumerate(
        [(alive.boot_id, "another-boot"), (f"{alive.pid}", f"{2**30}")]
    ):
        text = alive.path.read_text().replace(old, new)
        (alive.path.parent / f"dead-{number}").write_text(text)
    assert reclaim_intents(layout, "A") == 2
    assert [intent.path for intent in read_intents(layout)] == [alive.path]


def test_an_unreadable_intent_stops_who_would_collect(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    intent = declare_intent(layout, "A", SOURCE, R, [])
    intent.path.write_bytes(b"\xff")
    with pytest.raises(StorageError) as caught:
        list(read_intents(layout))
    assert caught.value.code == "damaged"
