"""The sync child: `python -m station.sync.job`. Orders on standard input, events on standard output.

It ends with its input, so that it never outlives control. A "sync", "copy" or "manifest" order is the only one of its
child, and decides the exit code: 0 or 1. "fill" orders may follow one another, and run side by side.
"""

import asyncio
import contextlib
import os
import signal
import ssl
import sys
import time

from station.forward.address import judge
from station.model.identity import Revision
from station.runtime.clock import system_clock
from station.runtime.lines import line, set_process
from station.runtime.tasks import Tasks
from station.storage.layout import Layout
from station.storage.pool import Pool
from station.sync.conversation import Conversation
from station.sync.copying import copy, copy_metadata
from station.sync.egress import Egress
from station.sync.events import Events
from station.sync.failure import SyncFailed
from station.sync.fetch import Bulk
from station.sync.fill import Fill, reclaim_fills
from station.sync.memory import alone
from station.sync.objects import Objects
from station.sync.order import Order
from station.sync.peers import Peers
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

    async def run(self, orders: asyncio.StreamReader) -> int:
        """Until an order that stands alone is done, or there are no more. Returns the exit code."""
        while text := await orders.readline():
            try:
                order = Order.parse(text)
            except SyncFailed as failure:
                self._events.failed(failure)
                return 1
            set_process(f"sync-{order.source}" if order.kind != "fill" else "fill")
            if order.kind == "fill":
                self._tasks.start(self._fill(order), name=f"fill {order.path}")
                continue
            work = self._tasks.start(self._alone(order), name=f"{order.kind} {order.source}")
            end = self._tasks.start(orders.read(), name="end of input")
            await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
            code = work.result() if work.done() else INTERRUPTED_EXIT_CODE
            await self._tasks.close()
            return code
        await self._tasks.close()
        return 0

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
        async with contextlib.AsyncExitStack() as stack:
            egress, context = Egress([order.url], judge), _context(order)
            upstream = await stack.enter_async_context(Bulk(egress, context, order.limits))
            peers = await stack.enter_async_context(Peers(order, order.limits))
            objects = stack.enter_context(contextlib.closing(Objects(order, upstream, peers)))
            staging = stack.enter_context(contextlib.closing(Staging(order, objects, self._events)))
            pool = Pool(Layout(order.storage), order.station)
            try:
                if order.kind == "manifest":
                    await copy_metadata(order, peers, objects, staging, pool)
                elif order.kind == "copy":
                    self._staged(await copy(order, peers, objects, staging, pool))
                else:
                    small = Conversation(egress, context, order.limits)
                    conversation = await stack.enter_async_context(small)
                    self._staged(await sync(order, conversation, staging, system_clock()))
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

    async def _fill(self, order: Order) -> None:
        reclaim_fills(Layout(order.storage).partial(order.station))
        async with contextlib.AsyncExitStack() as stack:
            egress = Egress([order.url], judge)
            upstream = await stack.enter_async_context(Bulk(egress, _context(order), order.limits))
            peers = await stack.enter_async_context(Peers(order, order.limits))
            objects = stack.enter_context(contextlib.closing(Objects(order, upstream, peers)))
            await Fill(order, peers, objects, self._events).run()


def _context(order: Order) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not order.is_sslverify_enabled:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


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
