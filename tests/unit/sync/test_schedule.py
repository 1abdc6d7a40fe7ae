"""One recurring job per source, three retries after a failure, runs on demand."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from station.model.identity import SourceId
from station.sync.schedule import RETRIES, RETRY_AFTER_S, Schedule

LAB = SourceId("lab")
HOUR = 3600.0


@pytest.fixture
def due() -> list[str]:
    return []


@pytest.fixture
async def schedule(due: list[str]) -> AsyncIterator[Schedule]:
    schedule = Schedule(due.append)
    schedule.start()
    yield schedule
    schedule.close()


def waits(schedule: Schedule) -> float:
    next_run = schedule.next_run(LAB)
    assert next_run is not None
    return next_run - datetime.now(UTC).timestamp()


async def test_the_first_run_comes_at_a_random_time_within_the_interval(
    schedule: Schedule,
) -> None:
    schedule.set(LAB, HOUR)
    assert 0.4 * HOUR < waits(schedule) <= HOUR


async def test_setting_the_same_again_does_not_push_the_run_away(schedule: Schedule) -> None:
    schedule.set(LAB, HOUR)
    before = schedule.next_run(LAB)
    schedule.set(LAB, HOUR)
    assert schedule.next_run(LAB) == before
    schedule.set(LAB, 10 * HOUR)
    assert schedule.next_run(LAB) != before


async def test_all_that_comes_is_listed_a_little_late(
    schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert schedule.next_runs() == {}
    schedule.set(LAB, HOUR)
    assert schedule.next_runs() == {}
    monkeypatch.setattr("station.sync.schedule.LISTED_S", 0.0)
    schedule = Schedule(lambda source: None)
    schedule.start()
    schedule.set(LAB, HOUR)
    assert schedule.next_runs() == {LAB: schedule.next_run(LAB)}
    schedule.close()


async def test_an_interval_below_a_minute_is_refused(schedule: Schedule) -> None:
    with pytest.raises(ValueError, match="at least 60"):
        schedule.set(LAB, 5)


async def test_a_source_that_left_is_not_run_any_more(schedule: Schedule) -> None:
    schedule.set(LAB, HOUR)
    schedule.failed(LAB, retriable=True)
    schedule.remove(LAB)
    assert (schedule.next_run(LAB), schedule.sources()) == (None, frozenset())


async def test_a_failure_is_retried_three_times_five_minutes_apart(schedule: Schedule) -> None:
    schedule.set(LAB, 10 * HOUR)
    for _ in range(RETRIES):
        assert schedule.failed(LAB, retriable=True) == RETRY_AFTER_S
        assert RETRY_AFTER_S - 10 < waits(schedule) <= RETRY_AFTER_S
    assert schedule.failed(LAB, retriable=True) is None


async def test_a_success_forgets_the_failures(schedule: Schedule) -> None:
    schedule.set(LAB, 10 * HOUR)
    for _ in range(RETRIES):
        schedule.failed(LAB, retriable=True)
    schedule.succeeded(LAB)
    assert waits(schedule) > RETRY_AFTER_S
    assert schedule.failed(LAB, retriable=True) == RETRY_AFTER_S


async def test_what_will_not_heal_by_itself_is_not_retried(schedule: Schedule) -> None:
    schedule.set(LAB, HOUR)
    assert schedule.failed(LAB, retriable=False) is None
