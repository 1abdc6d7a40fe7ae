"""The barrier simulated at full length."""

import time
from collections import Counter

import pytest

from tests.simulation import barrier_chaos
from tests.simulation.histories import SEEDS, named, seeds_of, seldom_collected

PARTS = 10

pytestmark = [pytest.mark.accept, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_of_the_barrier_breaks_a_rule(part: int) -> None:
    seeds = seeds_of(SEEDS, part, PARTS)
    seen: Counter[str] = Counter()
    began = time.monotonic()
    with seldom_collected():
        for seed in seeds:
            with named(seed):
                seen.update(barrier_chaos.run_seed(seed).checks.kinds)
    took = time.monotonic() - began
    kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(seen.items()))
    print(f"barrier: seeds {seeds[0]} to {seeds[-1]}, 0 broken ({took:.0f} s); {kinds}")
    assert seen["new"] > len(seeds)
    assert seen["punctual"] > len(seeds)
