from collections.abc import Sequence
from typing import Any

import pytest

from station.control.changes import (
    BadChange,
    Records,
    create,
    delete,
    forget_station,
    station_facts,
    update,
    update_group,
)
from station.model.records import (
    GroupRecord,
    InstanceRecord,
    Kind,
    ProfileRecord,
    ReferenceRecord,
    SourceRecord,
    StationRecord,
)
from station.peering.changes import Change

URL = "https://upstream.example/base/"


def records() -> Records:
    """Two stations, two sources, profile `web` → base, instance `db1` → base."""
    references = [
        ReferenceRecord(holder_kind="profile", holder="web", source="base"),
        ReferenceRecord(holder_kind="instance", holder="db1", source="base"),
    ]
    return Records(
        GroupRecord(id="g", compartment="c", hostname="lb"),
        {name: StationRecord(name=name, address=name) for name in ("A", "B")},
        {name: SourceRecord(id=name, url=URL) for name in ("base", "apps")},
        {"web": ProfileRecord(name="web", station="A")},
        {"db1": InstanceRecord(id="db1", station="B")},
        {reference.key: reference for reference in references},
        {},
    )


def keys(changes: Sequence[Change]) -> list[tuple[Kind, str, bool]]:
    return [(change.kind, change.key, change.value is not None) for change in changes]


def test_profile_and_its_references_are_one_step() -> None:
    body = {"name": "all", "station": "B", "sources": ["base", "apps", "base"]}
    assert keys(create(records(), Kind.PROFILE, body)) == [
        (Kind.PROFILE, "all", True),
        (Kind.REFERENCE, "profile:all:base", True),
        (Kind.REFERENCE, "profile:all:apps", True),
    ]


def test_deleting_a_source_takes_every_reference_to_it() -> None:
    assert keys(delete(records(), Kind.SOURCE, "base")) == [
        (Kind.SOURCE, "base", False),
        (Kind.REFERENCE, "profile:web:base", False),
        (Kind.REFERENCE, "instance:db1:base", False),
    ]


def test_deleting_a_profile_leaves_the_references_of_others() -> None:
    assert keys(delete(records(), Kind.PROFILE, "web")) == [
        (Kind.PROFILE, "web", False),
        (Kind.REFERENCE, "profile:web:base", False),
    ]


def test_new_source_list_of_a_profile_replaces_the_old_one() -> None:
    changes = update(records(), Kind.PROFILE, "web", {"sources": ["apps"]})
    assert keys(changes) == [
        (Kind.PROFILE, "web", True),
        (Kind.REFERENCE, "profile:web:apps", True),
        (Kind.REFERENCE, "profile:web:base", False),
    ]


@pytest.mark.parametrize(
    ("kind", "body", "status", "says"),
    [
        (Kind.SOURCE, {"id": "../x", "url": URL}, 400, "id: "),
        (Kind.SOURCE, {"id": "x", "url": "ftp://h/"}, 400, "expected http"),
        (Kind.SOURCE, {"id": "x", "url": "http://u:p@h/"}, 400, "credentials"),
        (Kind.SOURCE, {"id": "x"}, 400, "url: Field required"),
        (Kind.SOURCE, {"id": "base", "url": URL}, 409, "exists already"),
        (Kind.PROFILE, {"name": "p", "station": "Z"}, 400, "there is: A, B"),
        (Kind.PROFILE, {"name": "p", "station": "A", "sources": ["nope"]}, 404, "apps, base"),
        (Kind.PROFILE, {"name": "p", "station": "A", "sources": "base"}, 400, "list of source"),
        (Kind.INSTANCE, {"id": "i", "station": "A", "colour": 1}, 400, "colour"),
    ],
)
def test_bad_input_is_one_clear_error(
    kind: Kind, body: dict[str, Any], status: int, says: str
) -> None:
    with pytest.raises(BadChange) as refused:
        create(records(), kind, body)
    assert refused.value.status == status
    assert says in str(refused.value)


def test_every_problem_of_a_record_is_told_at_once() -> None:
    with pytest.raises(BadChange) as refused:
        create(records(), Kind.SOURCE, {"id": "..", "url": "x", "arch": "vax"})
    assert all(field in str(refused.value) for field in ("id: ", "url: ", "arch: "))


def test_referenced_station_is_not_forgotten_without_a_place_to_move_to() -> None:
    with pytest.raises(BadChange, match="profile web") as refused:
        forget_station(records(), "A", None)
    assert refused.value.status == 409


def test_forgetting_a_station_moves_what_refers_to_it_in_the_same_step() -> None:
    changes = forget_station(records(), "A", "B")
    assert keys(changes) == [(Kind.STATION, "A", False), (Kind.PROFILE, "web", True)]
    assert changes[1].value is not None and changes[1].value["station"] == "B"


def test_a_group_gets_another_name_and_keeps_its_id_and_ports() -> None:
    old = records().group
    assert old is not None
    changed = update_group(records(), {"hostname": "lb2.example.com"})
    assert changed == old.model_copy(update={"hostname": "lb2.example.com"})


@pytest.mark.parametrize(
    "body", [{}, {"ports": {"http": 1}}, {"id": "x"}, {"hostname": ""}, {"hostname": "a b"}]
)
def test_nothing_else_of_a_running_group_changes(body: dict[str, Any]) -> None:
    with pytest.raises(BadChange):
        update_group(records(), body)


def test_a_station_is_shown_with_its_group_and_who_refers_to_it() -> None:
    facts = station_facts(records(), "A")
    assert (facts["peers"], facts["profiles"], facts["instances"]) == (["B"], ["web"], [])
    assert (facts["hostname"], facts["ports"]["https"]) == ("lb", 17443)
