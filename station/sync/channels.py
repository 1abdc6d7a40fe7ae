"""Open connections of one order or of many: the upstream of a source and its peers, with the pool behind them."""

import contextlib
import functools
import ssl
from collections.abc import AsyncIterator, Hashable
from dataclasses import dataclass

from station.forward.address import judge
from station.sync.conversation import Conversation
from station.sync.egress import Egress
from station.sync.fetch import Bulk
from station.sync.objects import Objects
from station.sync.order import Order
from station.sync.peers import Peers

CHANNELS_MAX = 64  # kept open for fills; the longest unused one is closed for a new one


@dataclass(frozen=True, slots=True)
class Channel:
    """What an order needs to fetch and to store."""

    conversation: Conversation
    peers: Peers
    objects: Objects


@contextlib.asynccontextmanager
async def open_channel(order: Order) -> AsyncIterator[Channel]:
    """The channel of one order."""
    async with contextlib.AsyncExitStack() as stack:
        egress, context = Egress([order.url], judge), _context(order.is_sslverify_enabled)
        upstream = await stack.enter_async_context(Bulk(egress, context, order.limits))
        small = await stack.enter_async_context(Conversation(egress, context, order.limits))
        peers = await stack.enter_async_context(Peers(order, order.limits))
        objects = stack.enter_context(contextlib.closing(Objects(order, upstream, peers)))
        yield Channel(small, peers, objects)


@dataclass(slots=True)
class _Kept:
    stack: contextlib.AsyncExitStack
    channel: Channel
    users: int = 0


class Channels:
    """Channels that are used again by later orders of the same source. `close` when done."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, _Kept] = {}  # longest unused first

    @contextlib.asynccontextmanager
    async def use(self, order: Order) -> AsyncIterator[Channel]:
        """The channel for this order, opened or taken up again."""
        key = (order.source, order.url, order.is_sslverify_enabled, order.peers, order.peer_tls)
        kept = self._kept.pop(key, None)
        if kept is None:
            stack = contextlib.AsyncExitStack()
            kept = _Kept(stack, await stack.enter_async_context(open_channel(order)))
            rival = self._kept.pop(key, None)  # opened by another fill while we waited
            if rival is not None:
                await stack.aclose()
                kept = rival
        self._kept[key] = kept
        kept.users += 1
        try:
            yield kept.channel
        finally:
            kept.users -= 1
            await self._shrink()

    async def close(self) -> None:
        """Close all."""
        while self._kept:
            _, kept = self._kept.popitem()
            await kept.stack.aclose()

    async def _shrink(self) -> None:
        spare = [key for key, kept in self._kept.items() if not kept.users]
        for key in spare[: max(len(self._kept) - CHANNELS_MAX, 0)]:
            await self._kept.pop(key).stack.aclose()


@functools.cache  # the system's anchors take 20 ms to read
def _context(is_verified: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
