"""Two clocks: one that only goes forward, one that others can be asked for."""

import pytest

from station.runtime.clock import SystemClock, system_clock


def test_the_boot_clock_never_goes_back() -> None:
    clock = SystemClock()
    seen = [clock.boot() for _ in range(100)]
    assert seen == sorted(seen)


def test_skew_moves_the_wall_clock_alone() -> None:
    right, wrong = SystemClock(), SystemClock(3600.0)
    assert 3599.0 < wrong.wall() - right.wall() < 3601.0
    assert abs(wrong.boot() - right.boot()) < 1.0


def test_tests_of_skew_set_it_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATION_WALL_OFFSET_MS", "-7200000")
    assert system_clock().wall() - SystemClock().wall() < -7199.0
