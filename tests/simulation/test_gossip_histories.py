"""The gossip simulated at full length."""

import time

import pytest

from tests.simulation import faults
from tests.simulation.histories import SEEDS, named, seldom_collected

# A twentieth of the barrier's: it is the older part, and `make accept` has an hour.
GOSSIP_SEEDS = SEEDS // 20

pytestmark = [pytest.mark.accept, pytest.mark.timeout(1800)]


def test_no_history_of_the_gossip_breaks_a_rule() -> None:
    seeds = range(GOSSIP_SEEDS)
    began = time.monotonic()
    with seldom_collected():
        for seed in seeds:
            with named(seed):
                faults.run_seed(seed)
    print(f"gossip: seeds {seeds[0]} to {seeds[-1]}, 0 broken ({time.monotonic() - began:.0f} s)")
