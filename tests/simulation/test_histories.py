"""The simulations at full length: 50,000 histories of the barrier, 10,000 of the gossip.

They are collected before what works with real processes, and keep a core busy while those mostly wait.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.simulation import barrier_chaos, faults

pytestmark = [pytest.mark.accept, pytest.mark.timeout(1800)]

# A fifth of the gossip's: it is the older part, and `make accept` has an hour.
SEEDS = int(os.environ.get("STATION_SEEDS", "50000"))
GOSSIP_SEEDS = SEEDS // 5
PARTS, GOSSIP_PARTS = 10, 3


def seeds_of(count: int, part: int, parts: int) -> range:
    """One part of all seeds."""
    return range(count * part // parts, count * (part + 1) // parts)


@contextmanager
def named(seed: int) -> Iterator[None]:
    """Whatever breaks inside says of which seed."""
    try:
        yield
    except Exception as broken:
        broken.add_note(f"seed {seed}")
        raise


@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_of_the_barrier_breaks_a_rule(part: int) -> None:
    seeds = seeds_of(SEEDS, part, PARTS)
    seen: Counter[str] = Counter()
    began = time.monotonic()
    for seed in seeds:
        with named(seed):
            seen.update(barrier_chaos.run_seed(seed).checks.kinds)
    took = time.monotonic() - began
    kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(seen.items()))
    print(f"barrier: seeds {seeds[0]} to {seeds[-1]}, 0 broken ({took:.0f} s); {kinds}")
    assert seen["new"] > len(seeds)
    assert seen["punctual"] > len(seeds)


@pytest.mark.parametrize("part", range(GOSSIP_PARTS))
def test_no_history_of_the_gossip_breaks_a_rule(part: int) -> None:
    seeds = seeds_of(GOSSIP_SEEDS, part, GOSSIP_PARTS)
    began = time.monotonic()
    for seed in seeds:
        with named(seed):
            faults.run_seed(seed)
    print(f"gossip: seeds {seeds[0]} to {seeds[-1]}, 0 broken ({time.monotonic() - began:.0f} s)")
