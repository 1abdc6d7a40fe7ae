"""Where an instance finds the group, with a balancer and without."""

import pytest

from station.control.changes import Records
from station.control.instance_place import OTHERS_MAX, TOLD_AFTER_S, Place, place_of, shown_group
from station.model.records import GroupRecord, StationRecord


def place(hostname: str, station: str, *stations: StationRecord) -> Place:
    group = GroupRecord(id="g", compartment="c", hostname=hostname)
    known = {record.name: record for record in stations}
    return place_of(Records(group, known, {}, {}, {}, {}, {}), group, station)


A, B, C = (StationRecord(name=name, address=f"{name.lower()}.example.com") for name in "ABC")


def test_with_a_balancer_everybody_goes_there_and_knows_the_stations_its_own_first() -> None:
    found = place("lb.example.com", "B", A, B, C)
    assert found == Place("lb.example.com", ("b.example.com", "a.example.com", "c.example.com"))


def test_without_one_each_goes_to_the_station_it_refers_to_and_knows_the_others() -> None:
    assert place("a.example.com", "B", A, B, C) == Place(
        "b.example.com", ("a.example.com", "c.example.com")
    )
    assert place("a.example.com", "A", A, B).host == "a.example.com"


def test_a_station_that_is_gone_leaves_its_instances_to_the_groups_name() -> None:
    assert place("a.example.com", "Gone", A, B).host == "a.example.com"


def test_a_station_with_a_certificate_from_elsewhere_is_not_named_by_its_address() -> None:
    foreign = B.model_copy(update={"sslcert": "/etc/pki/b.pem"})
    assert place("a.example.com", "B", A, foreign) == Place("a.example.com", ())


@pytest.mark.parametrize("count", [1, 9])
def test_the_others_are_at_most_a_few(count: int) -> None:
    many = [StationRecord(name=f"S{n}", address=f"192.0.2.{n}") for n in range(count)]
    assert len(place("lb", "S0", *many).others) == min(count, OTHERS_MAX)


@pytest.mark.parametrize(
    ("names", "after_s", "shown"),
    [
        (["new.example.com", "old.example.com"], TOLD_AFTER_S, "new.example.com"),
        (["new.example.com", "old.example.com"], TOLD_AFTER_S - 1, "old.example.com"),
        (["old.example.com"], 3600.0, "old.example.com"),
        (["*.example.com"], 3600.0, "new.example.com"),
        (None, 3600.0, "old.example.com"),
    ],
)
def test_a_new_name_is_told_once_certificates_are_good_for_it(
    names: list[str] | None, after_s: float, shown: str
) -> None:
    group = GroupRecord(
        id="g",
        compartment="c",
        hostname="new.example.com",
        former_hostnames=("older.example.com", "old.example.com"),
        renamed_at=1000.0,
    )
    assert shown_group(group, names, 1000.0 + after_s).hostname == shown
    never = group.model_copy(update={"former_hostnames": (), "renamed_at": 0.0})
    assert shown_group(never, names, 1.0).hostname == "new.example.com"
