"""The sync child: `python -m station.sync.job`. Orders on standard input, events on standard output.

It ends with its input, so that it never outlives control. "sync", "copy" and "manifest" orders follow one another, each
after the event "idle" of the one before; the last decides the exit code: 0 or 1. "fill" and "relay" orders run side by
side.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from pathlib import Path

from station.model.identity import Revision
from station.runtime.clock import system_clock
from station.runtime.lines import line, set_process
from station.runtime.tasks import Tasks
from station.storage.layout import Layout
from station.storage.pool import Pool
from station.sync.away import copy_manifest_away
from station.sync.channels import Channels, open_channel
from station.sync.copying import copy, copy_metadata
from station.sync.events import Events
from station.sync.failure import SyncFailed
from station.sync.fill import Fill, reclaim_fills
from station.sync.memory import alone
from station.sync.order import Order
from station.sync.relays import Relays
from station.sync.run import sync
from station.sync.staging import Staged, Staging

NICENESS = 10  # hashing and parsing must not take the cores from the workers
ORDER_BYTES_MAX = 32 * 1024 * 1024  # a fill of many objects
INTERRUPTED_EXIT_CODE = 2


class Job:
    """Runs orders as they come."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._tasks = Tasks()
        self._channels = Channels()
        self._relays = Relays(events, self._channels)
        self._has_filled = False
        self._has_served = False

    async def run(self, orders: asyncio.StreamReader) -> int:
        """Until there are no more. Returns the exit code."""
        code = 0
        coming = self._tasks.start(orders.readline(), name="next order")
        while text := await coming:
            coming = self._tasks.start(orders.readline(), name="next order")
            try:
                order = Order.parse(text)
            except SyncFailed as failure:
                self._events.failed(failure)
                if self._has_served:
                    continue  # the others are none the worse
                return 1
            if order.kind in ("fill", "relay"):
                self._serve(order)
                continue
            set_process(f"sync-{order.source}")
            work = self._tasks.start(self._alone(order), name=f"{order.kind} {order.source}")
            await asyncio.wait({work, coming}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not coming.result():
                code = INTERRUPTED_EXIT_CODE
                break
            code = await work
            if _peak_bytes() > order.limits.kept_bytes:
                break
            self._events.say("idle")
        await self._tasks.close()
        await self._relays.close()
        await self._channels.close()
        return code

    def _serve(self, order: Order) -> None:
        """Clients wait for this one."""
        set_process("fill")
        self._has_served = True
        if order.kind == "fill" and not self._has_filled:
            self._has_filled = True
            reclaim_fills(Layout(order.storage).partial(order.station))
        self._tasks.start(self._answer(order), name=f"{order.kind} {order.path}")

    async def _alone(self, order: Order) -> int:
        try:
            async with asyncio.timeout(order.limits.job_s):
                with alone(order.state, order.source):
                    await self._work(order)
        except SyncFailed as failure:
            self._events.failed(failure)
            return 1
        except TimeoutError:
            detail = f"not over after {order.limits.job_s:.0f} s"
            self._events.failed(SyncFailed("deadline", detail, retriable=True))
            return 1
        return 0

    async def _work(self, order: Order) -> None:
        async with open_channel(order) as channel:
            peers, objects = channel.peers, channel.objects
            if order.is_away:
                age = await copy_manifest_away(order, peers)
                self._events.say("metadata", revision=order.revision, order=age)
                return
            pool = Pool(Layout(order.storage), order.station)
            with contextlib.closing(Staging(order, objects, self._events)) as staging:
                try:
                    if order.kind == "manifest":
                        await copy_metadata(order, peers, objects, staging, pool)
                    elif order.kind == "copy":
                        self._staged(await copy(order, peers, objects, staging, pool))
                    else:
                        clock = system_clock()
                        self._staged(await sync(order, channel.conversation, staging, clock))
                except SyncFailed as failure:
                    if failure.code == "no-space":
                        objects.reclaim()
                    raise

    def _staged(self, result: Staged | Revision) -> None:
        if isinstance(result, Revision):
            self._events.say("unchanged", revision=result)
            return
        self._events.say(
            "staged",
            revision=result.revision,
            order=result.order,
            package_count=result.package_count,
            size=result.size,
            missing=list(result.missing),
        )

    async def _answer(self, order: Order) -> None:
        names = {"source": order.source, "revision": order.revision or "", "path": order.path}
        try:
            if order.kind == "relay":
                await self._relays.open(order)
                return
            async with self._channels.use(order) as channel:
                await Fill(order, channel.peers, channel.objects, self._events).run()
        except SyncFailed as failure:
            self._events.failed(failure, **names)
        except Exception as error:
            # Clients wait for this file: they are told, whatever it was, and the log has the rest.
            told = SyncFailed("job", f"{type(error).__name__}: {error}", retriable=True)
            self._events.failed(told, **names)
            raise


def _peak_bytes() -> int:
    """The most memory it ever had. (Of getrusage, the parent's would count, too.)"""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


async def _main() -> int:
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=ORDER_BYTES_MAX)
    protocol = asyncio.StreamReaderProtocol(orders)
    transport, _ = await loop.connect_read_pipe(lambda: protocol, sys.stdin.buffer)
    try:
        return await Job(Events(sys.stdout, time.monotonic)).run(orders)
    finally:
        transport.close()


def main() -> None:
    """Run until the input ends. Exit codes: 0 done, 1 failed, 2 the input ended first."""
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: control decides
    set_process("sync")
    try:
        code = asyncio.run(_main())
    except BrokenPipeError:
        code = INTERRUPTED_EXIT_CODE
    line("debug", "sync.ended", code=code)
    sys.stdout.flush()
    os._exit(code)  # threads that wait for a hanging mount do not keep us


if __name__ == "__main__":
    main()
