"""Stamps grow, stay near real time, and nothing from the future moves them."""

from hypothesis import given
from hypothesis import strategies as st

from station.gossip.clock import LOGICAL_MAX, HybridClock, is_acceptable
from station.gossip.entry import Stamp
from tests.unit.gossip.builders import MS, WALL


@given(st.lists(st.floats(0, 2_000_000_000), max_size=30))
def test_stamps_grow_whatever_the_wall_clock_does(walls: list[float]) -> None:
    clock = HybridClock()
    issued = [clock.issue(wall) for wall in walls]
    assert issued == sorted(set(issued))


def test_stamp_a_minute_ahead_is_acceptable_and_more_is_not() -> None:
    assert is_acceptable(Stamp(MS + 60_000, 0), WALL)
    assert not is_acceptable(Stamp(MS + 60_001, 0), WALL)
    assert not is_acceptable(Stamp(2**63 - 1, 2**63 - 1), WALL)
    assert is_acceptable(Stamp(0, 0), WALL)


def test_acceptance_does_not_depend_on_what_was_seen_before() -> None:
    clock = HybridClock(Stamp(MS - 2 * 365 * 86_400_000, 0))
    clock.observe(Stamp(MS, 0))
    assert clock.issue(WALL) == Stamp(MS, 1)


def test_counter_at_its_end_goes_on_in_the_next_millisecond() -> None:
    clock = HybridClock(Stamp(MS + 5, LOGICAL_MAX))
    assert clock.issue(WALL) == Stamp(MS + 6, 0)


def test_stamps_stay_monotone_across_a_restart_with_the_clock_set_back() -> None:
    before = HybridClock().issue(WALL + 3600)
    assert HybridClock(before).issue(WALL) > before
