"""Objects into the pool: from the peers by hash, then from upstream by name; verified, or not at all."""

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from station.repo.checksum import Checksum
from station.repo.errors import RepoError
from station.repo.location import to_url_path
from station.repo.plan import Wanted
from station.storage.layout import Layout
from station.storage.pool import Pool
from station.sync.coming import comes_anyway
from station.sync.content import Stored
from station.sync.failure import SyncFailed
from station.sync.fetch import Bulk, Counter, FetchFailed
from station.sync.order import Order
from station.sync.partial import (
    Partial,
    name_of_fill,
    name_of_sync,
    storage_failure,
    writing,
)
from station.sync.peers import Peers

THREADS = 4  # fsyncs under way: a journal commits several for the price of one
UNREACHABLE_MAX = 8  # objects, each tried three times: upstream is away, not a file


class Objects:
    """The objects of one order. `close` when done."""

    def __init__(self, order: Order, upstream: Bulk, peers: Peers) -> None:
        self._order = order
        self._is_fill = order.kind == "fill"
        self._layout = Layout(order.storage)
        self._pool = Pool(self._layout, order.station)
        self._upstream = upstream
        self._peers = peers
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="pool")

    def close(self) -> None:
        """Wait for what is being made durable, end the threads."""
        self._threads.shutdown(wait=True)

    def has(self, wanted: Wanted) -> bool:
        """Whether it lies in the pool already. Raises SyncFailed "storage"."""
        with writing():
            return wanted.sha256 is not None and self._pool.has(wanted.sha256, wanted.size)

    async def get(self, path: str, checksum: Checksum, size: int | None, count: Counter) -> Stored:
        """Fetch the object and give it its name in the pool; a sync goes on with the partial of an earlier run.

        Raises FetchFailed: not to be had, or not the right bytes; SyncFailed "no-space", "storage".
        """
        if size is not None and checksum.kind == "sha256":
            wanted = Wanted(path, checksum, size, 0)
            other = name_of_sync("*", checksum.hex) if self._is_fill else f"fill-*~{checksum.hex}"
            if await comes_anyway(self._pool, wanted, other):
                return Stored(checksum.hex, size)
        with writing():
            place = self._pool.new_partial(self._name(checksum.hex))
        partial = Partial(place, checksum, size)
        try:
            with writing():
                partial.open(resume=True)
            return await self.bring(path, partial, count)
        except BaseException:
            if self._is_fill:
                partial.discard()
            raise
        finally:
            partial.close()

    async def bring(self, path: str, partial: Partial, count: Counter) -> Stored:
        """Bring an open partial to its end and into the pool. Raises as `get`."""
        sha256 = await self._peers.fetch(partial, count)
        if sha256 is None:
            sha256 = await self._from_upstream(path, partial, count)
        size = partial.received
        partial.close()
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._threads, self._pool.add, partial.path, sha256)
        except OSError as error:
            raise storage_failure(error) from error
        with writing():
            partial.forget_validator()
        return Stored(sha256, size)

    async def put(self, contents: Sequence[bytes]) -> None:
        """Small files that are in memory. Raises SyncFailed "no-space", "storage"."""
        loop = asyncio.get_running_loop()
        with writing():
            for content in contents:
                await loop.run_in_executor(self._threads, self._put, content)

    async def settle(self, objects: Sequence[str]) -> None:
        """Make the names of these objects durable. Raises SyncFailed "no-space", "storage"."""
        loop = asyncio.get_running_loop()
        with writing():
            await loop.run_in_executor(self._threads, self._pool.settle, objects)

    async def get_all(
        self,
        missing: Sequence[Wanted],
        count: Counter,
        done: Callable[[Wanted], None],
        connections: int,
    ) -> dict[str, FetchFailed]:
        """Fetch them, each with its own verdict; returns those that are not to be had, by path.

        Raises SyncFailed "no-space", "storage", or what stands for all when upstream is away.
        """
        verdicts: dict[str, FetchFailed] = {}
        queue = iter(missing)

        async def work() -> None:
            for wanted in queue:
                try:
                    await self.get(wanted.path, wanted.checksum, wanted.size, count)
                except FetchFailed as error:
                    verdicts[wanted.path] = error
                    if (
                        sum(one.code == "unreachable" for one in verdicts.values())
                        > UNREACHABLE_MAX
                    ):
                        raise SyncFailed("unreachable", error.detail, retriable=True) from error
                else:
                    done(wanted)

        await together([work() for _ in range(min(connections, len(missing)))])
        return verdicts

    def reclaim(self) -> None:
        """Remove the partials of this source. Never raises: what stays is found by the next run."""
        with contextlib.suppress(OSError):
            for path in self._layout.partial(self._order.station).glob(
                name_of_sync(self._order.source, "*")
            ):
                path.unlink(missing_ok=True)

    def _name(self, digits: str) -> str:
        return name_of_fill(digits) if self._is_fill else name_of_sync(self._order.source, digits)

    async def _from_upstream(self, path: str, partial: Partial, count: Counter) -> str:
        url = self._order.url + to_url_path(path)
        limits = self._order.limits
        for attempt in range(1, limits.attempts + 1):
            try:
                await self._upstream.fetch(url, partial, count, fresh=attempt > 1)
                return partial.finish()
            except RepoError as error:
                last = FetchFailed("checksum", f"{url}: {error}", transient=True)
            except FetchFailed as error:
                last = error
            if last.code == "checksum":
                with writing():
                    partial.restart()
            if not last.transient or attempt == limits.attempts:
                raise last
            pause = max(last.wait_s, limits.retry_s * 2 ** (attempt - 1))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
        raise AssertionError("attempts is at least 1")

    def _put(self, content: bytes) -> None:
        sha256 = hashlib.sha256(content).hexdigest()
        if self._pool.has(sha256, len(content)):
            return
        partial = self._pool.new_partial(self._name(sha256))
        partial.unlink(missing_ok=True)
        partial.write_bytes(content)
        self._pool.add(partial, sha256)


async def together(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all at once. The first failure ends the others, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as failed:
        first: BaseException = failed
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
