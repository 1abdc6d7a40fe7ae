import pytest

from station.serve.faults import NONE, Faults


def test_nothing_is_switched_off_unless_somebody_says_so() -> None:
    assert Faults.from_environment({}) == NONE
    assert Faults.from_environment({"STATION_FAULTS": ""}) == NONE


def test_each_word_switches_one_thing_off() -> None:
    found = Faults.from_environment({"STATION_FAULTS": "union-off,freshness-off"})
    assert found == Faults(no_union=True, no_freshness=True)
    assert Faults.from_environment({"STATION_FAULTS": "hold-off"}) == Faults(no_hold=True)
    assert Faults.from_environment({"STATION_FAULTS": "pins-off"}) == Faults(no_pins=True)


def test_word_that_is_no_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="hold-of"):
        Faults.from_environment({"STATION_FAULTS": "hold-of"})
