"""What stations should have in common."""

from typing import Any

from station.control.group_checks import group_warnings
from station.model.records import GroupRecord, StationRecord


def warned(hostname: str, *stations: dict[str, Any]) -> list[str]:
    records = {
        facts["name"]: StationRecord.model_validate(
            {"address": "192.0.2.11", "storage_path": "/mnt/mirror", **facts}
        )
        for facts in stations
    }
    return group_warnings(GroupRecord(id="g", compartment="c", hostname=hostname), records)


def test_stations_that_fit_are_not_warned_of() -> None:
    hosts = {"proxy_hosts": ("192.0.2.0/24",)}
    assert warned("192.0.2.10", {"name": "A", **hosts}, {"name": "B", **hosts}) == []


def test_a_balancer_outside_of_the_allowed_ranges_is_named_with_the_station() -> None:
    outside = {"name": "A", "proxy_hosts": ("10.0.0.0/8",)}
    (warning,) = warned("192.0.2.10", outside)
    assert "station A" in warning
    assert "192.0.2.10" in warning
    assert warned("192.0.2.10", {**outside, "balancers": ("192.0.2.10/32",)}) == []
    assert warned("192.0.2.10", {**outside, "proxy_enabled": False}) == []


def test_a_name_is_not_looked_up_and_a_station_alone_is_no_balancer() -> None:
    assert warned("lb.example.com", {"name": "A"}) == []
    assert warned("192.0.2.11", {"name": "A"}) == []


def test_another_storage_path_is_advised_against() -> None:
    (warning,) = warned("lb", {"name": "A"}, {"name": "B", "storage_path": "/srv/mirror"})
    assert "/mnt/mirror on A; /srv/mirror on B" in warning
