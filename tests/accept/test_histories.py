"""The simulations at full length: 50,000 histories of the barrier, 10,000 of the gossip.

They run beside tests with real processes, which come first: each part in a process of low priority.
"""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import pytest

from tests.simulation import barrier_chaos, faults

pytestmark = [pytest.mark.accept, pytest.mark.timeout(1800)]

# A fifth of the gossip's: it is the older part, and `make accept` has an hour.
SEEDS = int(os.environ.get("STATION_SEEDS", "50000"))
GOSSIP_SEEDS = SEEDS // 5
PARTS, GOSSIP_PARTS = 10, 3


NICE = 5  # after stations, before the clients of scenarios
T = TypeVar("T")


def seeds_of(count: int, part: int, parts: int) -> range:
    """One part of all seeds."""
    return range(count * part // parts, count * (part + 1) // parts)


def barrier_seeds(seeds: range) -> Counter[str]:
    """What was seen. Raises with the seed's number when a rule is broken."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        try:
            seen.update(barrier_chaos.run_seed(seed).checks.kinds)
        except BaseException as broken:
            raise AssertionError(f"seed {seed}: {broken!r}") from broken
    return seen


def gossip_seeds(seeds: range) -> None:
    """Raises with the seed's number when a rule is broken."""
    for seed in seeds:
        try:
            faults.run_seed(seed)
        except BaseException as broken:
            raise AssertionError(f"seed {seed}: {broken!r}") from broken


def politely(run: Callable[[range], T], seeds: range) -> tuple[T, float]:
    """Its answer, and the seconds it took."""
    began = time.monotonic()
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(1, context, os.nice, (NICE,)) as pool:
        return pool.submit(run, seeds).result(), time.monotonic() - began


@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_of_the_barrier_breaks_a_rule(part: int) -> None:
    seeds = seeds_of(SEEDS, part, PARTS)
    seen, took = politely(barrier_seeds, seeds)
    kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(seen.items()))
    print(f"barrier: seeds {seeds[0]} to {seeds[-1]}, 0 broken ({took:.0f} s); {kinds}")
    assert seen["new"] > len(seeds)
    assert seen["punctual"] > len(seeds)


@pytest.mark.parametrize("part", range(GOSSIP_PARTS))
def test_no_history_of_the_gossip_breaks_a_rule(part: int) -> None:
    seeds = seeds_of(GOSSIP_SEEDS, part, GOSSIP_PARTS)
    _, took = politely(gossip_seeds, seeds)
    print(f"gossip: seeds {seeds[0]} to {seeds[-1]}, 0 broken ({took:.0f} s)")
