"""What another process of this station is fetching already: a sync and a fill that want one object cost one download.

Only its end counts: the object in the pool, which was verified. A download that stops growing, or would take long, is
not waited for.
"""

import asyncio
import contextlib
from pathlib import Path

from station.repo.plan import Wanted
from station.storage.pool import Pool
from station.sync.partial import writing

SIZE_MIN = 1024 * 1024  # fetching less twice costs less than looking
WAIT_MAX_S = 10.0  # clients of a fill see no byte meanwhile; dnf gives up after 30 s
LOOK_S = 0.1
STALLED_LOOKS = 20  # without growth: its process has ended, or its server hangs; a busy machine pauses for a second
FIRST_LOOKS = 10  # how many it has to begin to grow


async def comes_anyway(pool: Pool, wanted: Wanted, names: str) -> bool:
    """Wait for the download whose partial matches `names` (a glob); True: the object is in the pool now.

    Raises SyncFailed "storage".
    """
    if wanted.size < SIZE_MIN:
        return False
    loop = asyncio.get_running_loop()
    ends = loop.time() + WAIT_MAX_S
    grown, idle, patience = _bytes(pool, names), 0, FIRST_LOOKS
    began, first = loop.time(), grown
    while grown is not None and idle < patience and loop.time() < ends:
        await asyncio.sleep(LOOK_S)
        now = _bytes(pool, names)
        idle = 0 if now != grown else idle + 1
        grown = now
        if now is not None and first is not None and now > first:
            patience = STALLED_LOOKS
            rate = (now - first) / (loop.time() - began)
            if loop.time() + (wanted.size - now) / rate > ends:
                return False
    with writing():
        return pool.has(wanted.checksum.hex, wanted.size)


def _bytes(pool: Pool, names: str) -> int | None:
    """How far the other download is; None: there is none."""
    with contextlib.suppress(OSError):
        return max((_size(path) for path in pool.new_partial("x").parent.glob(names)), default=None)
    return None


def _size(path: Path) -> int:
    return path.stat().st_size
