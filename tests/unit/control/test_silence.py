"""When an instance is silent, when its references go, and that they come back; years in a few calls."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from station.control.changes import Records
from station.control.silence import UNSEEN_S, Silent, silence_changes
from station.model.last_seen import Sightings
from station.model.records import InstanceRecord, Kind, ReferenceRecord
from tests.unit.control import builders

DAY_S = 86_400.0
START = 1_800_000_000.0
GRACE_S = 30 * DAY_S


class Fleet:
    """One group with the registered instance `db1` → base, over days."""

    def __init__(self, **fields: Any) -> None:
        known = {"id": "db1", "station": "A", "secret_digest": "x", "registered_at": START}
        reference = ReferenceRecord(holder_kind="instance", holder="db1", source="base")
        self.records: Records = replace(
            builders.records(),
            instances={"db1": InstanceRecord.model_validate(known | fields)},
            references={reference.key: reference},
        )
        self.settings: dict[str, Mapping[str, Any]] = {}
        self.sightings = Sightings()
        self.grace_s = GRACE_S
        self.since = START

    def look(self, days: float, *, seen: bool = False) -> int:
        """What one look at that day does; how many changes it wrote."""
        now = START + days * DAY_S
        if seen:
            self.sightings.note("db1", now)
        marks = {
            mark: bucket
            for mark, bucket in self.sightings.marks().items()
            if bucket * 300 > now - UNSEEN_S
        }
        changes = silence_changes(
            self.records,
            self.settings,
            marks,
            grace_s=self.grace_s,
            listening_since=self.since,
            now=now,
        )
        references = dict(self.records.references)
        for change in changes:
            if change.kind is Kind.SETTINGS:
                self.settings.pop(change.key, None)
                if change.value is not None:
                    self.settings[change.key] = change.value
            elif change.value is None:
                del references[change.key]
            else:
                references[change.key] = ReferenceRecord.model_validate(change.value)
        self.records = replace(self.records, references=references)
        return len(changes)

    @property
    def refers_to(self) -> list[str]:
        return self.records.sources_of("instance", "db1")


def test_references_go_only_when_the_grace_has_passed_since_the_silence_was_noticed() -> None:
    fleet = Fleet()
    assert fleet.look(1.1, seen=True) == 0
    assert fleet.look(2.2) == 1  # unseen for a day: written down, nothing else
    assert fleet.look(2.3) == 0
    assert fleet.look(32.1) == 0
    assert fleet.refers_to == ["base"]
    assert fleet.look(32.3) == 2
    assert fleet.refers_to == []
    assert fleet.look(400) == 0
    assert "db1" in fleet.records.instances


def test_who_comes_back_gets_its_references_back() -> None:
    fleet = Fleet()
    fleet.look(2.2)
    fleet.look(40)
    assert fleet.refers_to == []
    assert fleet.look(50, seen=True) == 2
    assert fleet.refers_to == ["base"]
    assert fleet.settings == {}


def test_who_comes_back_within_the_grace_begins_anew() -> None:
    fleet = Fleet()
    fleet.look(2.2)
    fleet.look(31, seen=True)
    assert fleet.settings == {}
    fleet.look(33)
    fleet.look(60)
    assert fleet.refers_to == ["base"]


def test_a_source_that_is_gone_meanwhile_is_not_referred_to_again() -> None:
    fleet = Fleet()
    fleet.look(2.2)
    fleet.look(40)
    fleet.records = replace(fleet.records, sources={})
    fleet.look(50, seen=True)
    assert fleet.refers_to == []


def test_a_station_that_has_just_begun_to_listen_says_nothing_of_silence() -> None:
    fleet = Fleet()
    fleet.since = START + 100 * DAY_S
    assert fleet.look(100.9) == 0
    assert fleet.look(101.1) == 1


def test_what_a_person_recorded_and_what_has_just_registered_is_not_silent() -> None:
    by_hand = Fleet(secret_digest="")
    assert by_hand.look(1000) == 0
    fresh = Fleet(registered_at=START + 9.5 * DAY_S)
    assert fresh.look(10) == 0


def test_a_grace_of_none_takes_nothing() -> None:
    fleet = Fleet()
    fleet.grace_s = 0.0
    fleet.look(2.2)
    fleet.look(4000)
    assert fleet.refers_to == ["base"]


def test_a_deleted_instance_leaves_no_record_of_its_silence() -> None:
    fleet = Fleet()
    fleet.look(2.2)
    assert fleet.settings
    fleet.records = replace(fleet.records, instances={}, references={})
    fleet.look(3)
    assert fleet.settings == {}


def test_what_is_no_record_of_silence_counts_for_nothing() -> None:
    good = Silent("db1", 5.0, ("base",)).change()
    assert Silent.parse(good.key, good.value) == Silent("db1", 5.0, ("base",))
    assert Silent.parse("left:db1", good.value) is None
    assert Silent.parse("silent:db1", {"at": "x"}) is None
