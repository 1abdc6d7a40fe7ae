"""When `mirror sync --wait` has seen the outcome of the sync it asked for."""

import pytest

from station.cli.mirrors import UNTOUCHED_S, is_finished

ASKED_AT = 1000.0


def row(state: str, checked_at: float | None = None) -> dict[str, object]:
    return {"source": "s", "state": state, "time_last_synced": checked_at}


@pytest.mark.parametrize("state", ["UNSYNCED", "QUEUED", "SYNCING"])
def test_a_source_at_work_is_not_finished_however_long_it_takes(state: str) -> None:
    assert not is_finished(row(state, ASKED_AT + 1), ASKED_AT, was_at_work=True, waited_s=1e6)


@pytest.mark.parametrize("state", ["SYNCED", "FAILED"])
def test_an_outcome_from_before_the_request_is_not_taken_for_its_own(state: str) -> None:
    assert not is_finished(row(state, ASKED_AT - 1), ASKED_AT, was_at_work=False, waited_s=0.3)


@pytest.mark.parametrize("state", ["SYNCED", "FAILED"])
def test_a_source_that_was_at_work_and_is_no_more_is_finished(state: str) -> None:
    assert is_finished(row(state, ASKED_AT - 1), ASKED_AT, was_at_work=True, waited_s=0.3)


def test_a_source_looked_at_since_the_request_is_finished() -> None:
    assert is_finished(row("SYNCED", ASKED_AT + 0.1), ASKED_AT, was_at_work=False, waited_s=0.3)


def test_a_source_that_no_station_touched_is_finished_after_a_while() -> None:
    assert is_finished(row("SYNCED"), ASKED_AT, was_at_work=False, waited_s=UNTOUCHED_S)
