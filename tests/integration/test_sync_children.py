"""One sync child serves several orders, and none is left behind."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from station.sync.launcher import Launcher
from tests.integration.repositories import build_repository
from tests.integration.syncing import Syncing
from tests.integration.upstream import Upstream

LONG_S, SOON_S, DEADLINE_S = 60.0, 0.1, 10.0


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Syncing]:
    repository = build_repository(tmp_path / "upstream", packages=2)
    with Upstream(repository.root) as upstream:
        yield Syncing(tmp_path / "station", upstream.url)


@asynccontextmanager
async def launching(idle_s: float) -> AsyncIterator[Launcher]:
    launcher = Launcher(idle_s=idle_s)
    try:
        yield launcher
    finally:
        await launcher.close()


async def last(launcher: Launcher, station: Syncing) -> str:
    return [str(event["event"]) async for event in launcher.start(station.job())][-1]


def children() -> list[int]:
    """The sync children of this process that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ends meanwhile
            words = (path / "cmdline").read_bytes().split(b"\0")
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if b"station.sync.job" in words and int(fields[1]) == os.getpid():
                found.append(int(path.name))
    return found


async def test_orders_that_follow_soon_go_to_the_same_child(station: Syncing) -> None:
    async with launching(LONG_S) as launcher:
        assert await last(launcher, station) == "staged"
        (pid,) = children()
        assert await last(launcher, station) == "unchanged"
        assert children() == [pid]
    assert children() == []


async def test_two_orders_at_once_have_a_child_each(station: Syncing) -> None:
    async with launching(LONG_S) as launcher:
        other = Syncing(station.directory / "other", station.url)
        ends = await asyncio.gather(last(launcher, station), last(launcher, other))
        assert list(ends) == ["staged", "staged"]
        assert len(children()) == 2


async def test_a_child_without_orders_ends_after_a_while(station: Syncing) -> None:
    async with launching(SOON_S) as launcher:
        assert await last(launcher, station) == "staged"
        async with asyncio.timeout(DEADLINE_S):
            while children():
                await asyncio.sleep(0.01)


async def test_a_child_that_was_killed_while_it_was_idle_costs_nothing(station: Syncing) -> None:
    async with launching(LONG_S) as launcher:
        assert await last(launcher, station) == "staged"
        (pid,) = children()
        os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # the event loop was faster
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert await last(launcher, station) == "unchanged"


async def test_a_child_whose_order_was_given_up_is_not_used_again(station: Syncing) -> None:
    async with launching(LONG_S) as launcher:
        events = launcher.start(station.job())
        await anext(events)
        await events.aclose()
        assert children() == []
        assert await last(launcher, station) in ("staged", "unchanged")


async def test_a_child_that_failed_takes_the_next_order(station: Syncing) -> None:
    async with launching(LONG_S) as launcher:
        lost = Syncing(station.directory / "lost", "http://127.0.0.1:9/", limits={"attempts": 1})
        assert await last(launcher, lost) == "failed"
        (pid,) = children()
        assert await last(launcher, station) == "staged"
        assert children() == [pid]


async def test_a_child_that_grew_ends_with_its_order(station: Syncing) -> None:
    station.limits = {"kept_bytes": 1}
    async with launching(LONG_S) as launcher:
        assert await last(launcher, station) == "staged"
        assert children() == []
