"""Relays: files of the peers for clients of a station whose storage takes nothing. No file of ours is between.

A worker connects to our socket and says in one line of JSON what it wants: `{"source", "sha256", "size", "offset",
"end"}`. It gets those bytes as a peer sends them, judged as they pass; a connection that ends early failed.
"""

import asyncio
import contextlib
import json
import os
from pathlib import Path
from typing import Any

from station.model.identity import Revision
from station.repo.location import REPOMD
from station.runtime.lines import line
from station.sync.away import copy_manifest_away, has_copy
from station.sync.channels import Channels
from station.sync.events import Events
from station.sync.failure import SyncFailed
from station.sync.fetch import FetchFailed
from station.sync.judged import judged, part
from station.sync.order import Order

OPEN_MAX = 64  # as many as fills; clients beyond wait for one to end. Each costs some 64 KiB on either side
BACKLOG = 128
LINE_BYTES_MAX = 4096
LINE_S = 5.0  # a worker says it with the connection
STALL_S = 60.0  # a client that takes nothing; the worker ends it before


class Relays:
    """One socket for all sources. `open` tells control where it is; `close` ends all."""

    def __init__(self, events: Events, channels: Channels) -> None:
        self._events = events
        self._channels = channels
        self._orders: dict[str, Order] = {}  # the newest of each source knows who is there
        self._copying = asyncio.Lock()
        self._room = asyncio.Semaphore(OPEN_MAX)
        self._open = 0
        self._server: asyncio.Server | None = None
        self._path = Path()

    async def open(self, order: Order) -> None:
        """Event "relay": workers may ask for files of this source. With it comes the manifest, when that is asked for.

        Raises SyncFailed.
        """
        self._orders[order.source] = order
        if order.path == REPOMD:
            await self._bring_manifest(order)
        if self._server is None:
            self._path = order.state / f"relay-{os.getpid()}.sock"
            await self._listen(order.state)
        self._events.say(
            "relay",
            source=order.source,
            revision=order.revision,
            path=order.path,
            socket=str(self._path),
        )

    async def close(self) -> None:
        """Let go of all."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _bring_manifest(self, order: Order) -> None:
        async with self._copying:  # primary.xml is in memory meanwhile: one at a time
            if not has_copy(order):
                async with self._channels.use(order) as channel:
                    await copy_manifest_away(order, channel.peers)
        self._events.say("kept", source=order.source, revision=order.revision)

    async def _listen(self, state: Path) -> None:
        try:
            _remove_stale(state)
            server = await asyncio.start_unix_server(
                self._attend, self._path, backlog=BACKLOG, limit=LINE_BYTES_MAX
            )
        except OSError as error:  # a path over 107 bytes, too
            raise SyncFailed("storage", f"{self._path}: {error}", retriable=True) from error
        self._server = server

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._count(+1)
        try:
            async with self._room:
                async with asyncio.timeout(LINE_S):
                    text = await reader.readline()
                await self._send(json.loads(text), writer)
        except (OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
            line("debug", "relay.left", error=repr(error))
        except FetchFailed as error:
            line("warning", "relay.failed", error=error.detail)
        finally:
            self._count(-1)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _send(self, ask: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        order = self._orders[ask["source"]]
        sha256, size = str(Revision.parse(ask["sha256"])), int(ask["size"])
        async with self._channels.use(order) as channel, contextlib.AsyncExitStack() as stack:
            pieces = channel.peers.pieces(sha256, size)
            stack.push_async_callback(pieces.aclose)
            right = judged(pieces, sha256, size)
            stack.push_async_callback(right.aclose)
            wanted = part(right, int(ask["offset"]), int(ask["end"]))
            stack.push_async_callback(wanted.aclose)
            async for piece in wanted:
                writer.write(piece)
                async with asyncio.timeout(STALL_S):
                    await writer.drain()

    def _count(self, change: int) -> None:
        """Control keeps this process while somebody is served."""
        self._open += change
        self._events.say("relaying", open=self._open)


def _remove_stale(state: Path) -> None:
    """The sockets of children that were killed."""
    for path in state.glob("relay-*.sock"):
        if not Path(f"/proc/{path.stem.partition('-')[2]}").exists():
            path.unlink(missing_ok=True)
