"""Long runs of seeds: `make accept` has 50,000 histories of the barrier and 2,500 of the gossip.

They are collected before what works with real processes, and keep a core busy while those mostly wait.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

SEEDS = int(os.environ.get("STATION_SEEDS", "50000"))
# A world leaves few cycles behind; to look for them as often as is usual costs a tenth of the time.
COLLECTION = (100_000, 50, 50)


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


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Python looks for cycles less often inside."""
    before = gc.get_threshold()
    gc.set_threshold(*COLLECTION)
    try:
        yield
    finally:
        gc.set_threshold(*before)
