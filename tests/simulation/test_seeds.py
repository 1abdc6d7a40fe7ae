"""Random histories. STATION_SEEDS sets how many; a failing one prints its number, and `run_seed(number)` repeats it."""

import os

import pytest

from tests.simulation.faults import run_seed

SEEDS = int(os.environ.get("STATION_SEEDS", "500"))
BATCH = 25


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_all_stations_agree_within_ten_seconds_after_any_history(first: int) -> None:
    for seed in range(first, min(first + BATCH, SEEDS)):
        run_seed(seed)
