"""The simulations at full length, on every core: 50,000 histories of the barrier, 10,000 of the gossip."""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import pytest

from tests.simulation import barrier_chaos, faults

pytestmark = [pytest.mark.accept, pytest.mark.timeout(7200)]

# A fifth of the gossip's: it is the older part, and `make accept` has an hour.
SEEDS = int(os.environ.get("STATION_SEEDS", "50000"))
GOSSIP_SEEDS = SEEDS // 5
BATCH = 250
T = TypeVar("T")


def barrier_batch(first: int) -> Counter[str]:
    """What was seen in the batch that begins with this seed. Raises with the seed's number when a rule is broken."""
    seen: Counter[str] = Counter()
    for seed in range(first, min(first + BATCH, SEEDS)):
        seen.update(_named(seed, lambda seed: barrier_chaos.run_seed(seed).checks.kinds))
    return seen


def gossip_batch(first: int) -> Counter[str]:
    """The same of the gossip, of which only the failures are interesting."""
    for seed in range(first, min(first + BATCH, GOSSIP_SEEDS)):
        _named(seed, faults.run_seed)
    return Counter()


def _named(seed: int, run: Callable[[int], T]) -> T:
    try:
        return run(seed)
    except BaseException as broken:
        raise AssertionError(f"seed {seed}: {broken!r}") from broken


@pytest.mark.parametrize("name", ["barrier", "gossip"])
def test_seeds(name: str) -> None:
    batch, count = {
        "barrier": (barrier_batch, SEEDS),
        "gossip": (gossip_batch, GOSSIP_SEEDS),
    }[name]
    began = time.monotonic()
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        seen = sum(pool.map(batch, range(0, count, BATCH)), Counter[str]())
    kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(seen.items()))
    print(f"\n{name}: {count} seeds, 0 broken ({time.monotonic() - began:.0f} s) {kinds}")
    if name == "barrier":
        assert seen["new"] > SEEDS
        assert seen["punctual"] > SEEDS
