"""One download for a sync and a fill of the same object."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from station.repo.checksum import Checksum
from station.repo.plan import Wanted
from station.storage.pool import Pool
from station.sync import coming
from station.sync.coming import SIZE_MIN, comes_anyway
from tests.unit.storage.shelf import STATION, a_layout

BODY = b"x" * (SIZE_MIN + 1)
WANTED = Wanted("a.rpm", Checksum("sha256", hashlib.sha256(BODY).hexdigest()), len(BODY), 0)
NAMES = f"fill-*~{WANTED.checksum.hex}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coming, "LOOK_S", 0.001)


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(a_layout(tmp_path), STATION)


def fill(pool: Pool) -> Path:
    return pool.new_partial(f"fill-1-0~{WANTED.checksum.hex}")


async def test_where_nobody_else_fetches_it_nothing_is_waited_for(pool: Pool) -> None:
    assert not await comes_anyway(pool, WANTED, NAMES)


async def test_what_grows_is_waited_for_until_the_pool_has_it(pool: Pool) -> None:
    partial = fill(pool)
    partial.write_bytes(b"")

    async def grow() -> None:
        with partial.open("ab") as file:
            for start in range(0, len(BODY), 100_000):
                file.write(BODY[start : start + 100_000])
                file.flush()
                await asyncio.sleep(0.002)
        pool.add(partial, WANTED.checksum.hex)

    async with asyncio.TaskGroup() as group:
        group.create_task(grow())
        assert await comes_anyway(pool, WANTED, NAMES)


async def test_a_partial_that_a_dead_process_left_is_not_waited_for(pool: Pool) -> None:
    fill(pool).write_bytes(BODY[:1000])
    assert not await comes_anyway(pool, WANTED, NAMES)


async def test_a_download_that_takes_long_is_not_waited_for(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coming, "WAIT_MAX_S", 0.05)
    partial = fill(pool)
    partial.write_bytes(b"")

    async def drip() -> None:
        with partial.open("ab", buffering=0) as file:
            while True:
                file.write(b"x")
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        other = group.create_task(drip())
        assert not await comes_anyway(pool, WANTED, NAMES)
        other.cancel()


async def test_small_objects_are_fetched_without_a_look(pool: Pool) -> None:
    small = WANTED._replace(size=SIZE_MIN - 1)
    fill(pool).write_bytes(b"")
    assert not await comes_anyway(pool, small, NAMES)
