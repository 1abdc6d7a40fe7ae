"""The difference between two clocks, from the times of an exchange."""

import pytest

from station.peering.offset import OffsetFilter, Sample, header_value


def exchange(there: float, back: float, at: float, peer_ahead: float, wall: float = 1e9) -> Sample:
    """An exchange begun at boot `at`; our wall clock is `wall` + boot, the peer's `peer_ahead` more."""
    received = wall + at + there + peer_ahead
    sample = Sample.of(header_value(received, received + 0.5), at, at + there + 0.5 + back)
    assert sample is not None
    return sample


def test_symmetric_way_gives_the_exact_offset() -> None:
    clocks = OffsetFilter()
    clocks.add(exchange(0.02, 0.02, 100.0, peer_ahead=0.2))
    offset, error = clocks.offset(100.54, 1e9 + 100.54) or (0.0, 0.0)
    assert offset == pytest.approx(0.2, abs=1e-5)
    assert error == pytest.approx(0.02, abs=1e-4)


def test_asymmetric_way_stays_within_the_stated_error() -> None:
    for there, back in ((0.3, 0.0), (0.0, 0.3), (0.1, 0.02)):
        clocks = OffsetFilter()
        clocks.add(exchange(there, back, 100.0, peer_ahead=-0.2))
        offset, error = clocks.offset(101.0, 1e9 + 101.0) or (0.0, 0.0)
        assert abs(offset + 0.2) <= error + 1e-5


def test_shortest_way_counts() -> None:
    clocks = OffsetFilter()
    for number, way in enumerate((0.4, 0.001, 0.4, 0.3)):
        clocks.add(exchange(way, 0.0, 100.0 + number, peer_ahead=0.2))
    offset, error = clocks.offset(104.0, 1e9 + 104.0) or (0.0, 0.0)
    assert offset == pytest.approx(0.2, abs=0.001)
    assert error < 0.002


def test_step_of_the_peers_clock_is_seen_with_the_next_exchange() -> None:
    clocks = OffsetFilter()
    clocks.add(exchange(0.001, 0.001, 100.0, peer_ahead=0.2))
    clocks.add(exchange(0.05, 0.05, 101.0, peer_ahead=3600.0))
    offset, _ = clocks.offset(102.0, 1e9 + 102.0) or (0.0, 0.0)
    assert offset == pytest.approx(3600.0, abs=0.1)


def test_step_of_our_own_clock_changes_the_offset_at_once() -> None:
    clocks = OffsetFilter()
    clocks.add(exchange(0.001, 0.001, 100.0, peer_ahead=0.2))
    offset, _ = clocks.offset(102.0, 1e9 + 102.0 + 60.0) or (0.0, 0.0)
    assert offset == pytest.approx(0.2 - 60.0, abs=0.001)


@pytest.mark.parametrize(
    "header", ["", "1", "1 2 3", "x y", "nan 1", "1 inf", "2 1", "1 " + "2" * 70]
)
def test_header_that_is_none_of_ours_gives_no_sample(header: str) -> None:
    assert Sample.of(header, 1.0, 2.0) is None


def test_no_exchange_means_no_offset() -> None:
    assert OffsetFilter().offset(1.0, 2.0) is None
