from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from station.control.changes import (
    BadChange,
    Records,
    create,
    delete,
    forget_station,
    station_facts,
    switch_instances,
    update,
    update_group,
)
from station.model.records import (
    GroupRecord,
    InstanceRecord,
    Kind,
    Ports,
    ProfileRecord,
    ReferenceRecord,
    ServedPorts,
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
    changed = update_group(records(), {"hostname": "lb2.example.com"}, 7.0)
    renamed = {"hostname": "lb2.example.com", "former_hostnames": ("lb",), "renamed_at": 7.0}
    assert changed == old.model_copy(update=renamed)


def test_a_group_remembers_its_last_names_and_not_the_one_it_has() -> None:
    known, names = records(), ["a", "b", "c", "d", "e", "lb", "b"]
    for now, name in enumerate(names, start=1):
        known = replace(known, group=update_group(known, {"hostname": name}, float(now)))
    assert known.group is not None
    assert known.group.former_hostnames == ("c", "d", "e", "lb")
    again = update_group(known, {"age_out_days": 7}, 99.0)
    assert (again.renamed_at, again.age_out_days) == (7.0, 7)
    assert update_group(known, {"sync_every_h": 24}, 99.0).sync_every_h == 24


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ports": {"http": 1}},
        {"ports": 1},
        {"id": "x"},
        {"hostname": ""},
        {"hostname": "a b"},
        {"sync_every_h": 0},
    ],
)
def test_nothing_else_of_a_running_group_changes(body: dict[str, Any]) -> None:
    with pytest.raises(BadChange):
        update_group(records(), body, 1.0)


def test_a_station_is_shown_with_its_group_and_who_refers_to_it() -> None:
    facts = station_facts(records(), "A")
    assert (facts["peers"], facts["profiles"], facts["instances"]) == (["B"], ["web"], [])
    assert (facts["hostname"], facts["ports"]["https"]) == ("lb", 17443)


def with_instances() -> Records:
    """db1 at B without a profile; web1, web2 at A with the profile web."""
    found = {
        "db1": InstanceRecord(id="db1", station="B"),
        "web1": InstanceRecord(id="web1", station="A", profile="web"),
        "web2": InstanceRecord(id="web2", station="A", profile="web"),
    }
    return replace(records(), instances=found)


@pytest.mark.parametrize(
    ("body", "switched"),
    [
        ({"to": "B", "instances": ["web1"]}, ["web1"]),
        ({"to": "B", "instances": ["web1", "db1"]}, ["web1"]),
        ({"to": "B", "from": "A"}, ["web1", "web2"]),
        ({"to": "A", "from": "B"}, ["db1"]),
        ({"to": "B", "profile": "web"}, ["web1", "web2"]),
        ({"to": "A", "profile": "web"}, []),
        ({"to": "B", "profile": "web", "instances": ["web2", "db1"]}, ["web2"]),
    ],
)
def test_instances_are_switched_singly_and_in_bulk_in_one_step(
    body: dict[str, Any], switched: list[str]
) -> None:
    changes = switch_instances(with_instances(), body)
    assert keys(changes) == [(Kind.INSTANCE, name, True) for name in switched]
    assert all(change.value and change.value["station"] == body["to"] for change in changes)


@pytest.mark.parametrize(
    "body",
    [
        {"to": "B"},
        {"instances": ["web1"]},
        {"to": "Nowhere", "from": "A"},
        {"to": "B", "instances": ["web1", "gone"]},
        {"to": "B", "instances": "web1"},
        {"to": "B", "profile": "gone"},
        {"to": "B", "from": "A", "colour": "red"},
    ],
)
def test_a_switch_that_is_not_clear_switches_nobody(body: dict[str, Any]) -> None:
    with pytest.raises(BadChange):
        switch_instances(with_instances(), body)


def test_a_port_is_the_groups_only_when_every_station_serves_it() -> None:
    known, body = records(), {"ports": {"https": 18443}}
    serving = {
        name: record.model_copy(update={"serves": ServedPorts(https=(17443, 18443))})
        for name, record in known.stations.items()
    }
    one = replace(known, stations={**serving, "B": known.stations["B"]})
    with pytest.raises(BadChange, match=r"not served yet by B: add it to mirror\.more_sslports"):
        update_group(one, body, 1.0)
    changed = update_group(replace(known, stations=serving), body, 1.0)
    assert changed.ports == Ports(https=18443)
    assert changed.former_hostnames == ()
