import pytest

from station.publish import duty

STATIONS = ["alpha", "beta", "gamma", "delta"]
SOURCES = [f"source_{number}" for number in range(200)]


def test_every_station_names_the_same_holder_whatever_the_order() -> None:
    for source in SOURCES:
        assert duty.holder(source, STATIONS) == duty.holder(source, reversed(STATIONS))


def test_duty_moves_only_from_the_station_that_is_gone() -> None:
    left = [station for station in STATIONS if station != "beta"]
    for source in SOURCES:
        before = duty.holder(source, STATIONS)
        if before != "beta":
            assert duty.holder(source, left) == before


def test_duties_are_spread_over_the_stations() -> None:
    held = [duty.holder(source, STATIONS) for source in SOURCES]
    for station in STATIONS:
        assert 25 <= held.count(station) <= 75


def test_nobody_cannot_hold_a_duty() -> None:
    with pytest.raises(ValueError, match="nobody"):
        duty.holder("source", [])


def test_a_storage_has_one_collector_among_those_that_share_it() -> None:
    assert duty.collector("1234", STATIONS) == duty.collector("1234", reversed(STATIONS))
    assert duty.collector("1234", ["gamma"]) == "gamma"
