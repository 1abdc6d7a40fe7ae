"""Fetching by hash from the other stations of the group, over mutual TLS."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncGenerator
from dataclasses import replace
from types import TracebackType
from typing import Self

from station.repo.errors import RepoError
from station.repo.manifest import ENTRIES_MAX
from station.runtime.lines import line
from station.sync.conversation import Conversation
from station.sync.egress import Egress
from station.sync.failure import SyncFailed
from station.sync.fetch import READ_BYTES, Bulk, Counter, FetchFailed
from station.sync.limits import Limits
from station.sync.order import Order, Peer, PeerTls
from station.sync.partial import Partial

FAILURES_MAX = 2  # in a row: a station that is away is left alone for a while
REST_S = 5.0  # as long as a station counts as present that is not
# Where a client waits, a station that does not answer (it may be frozen) is passed over for the next one in good time:
# dnf gives up after 30 s without a byte, often after 10.
WAITED_FOR_S = 3.0
# No fetch waits behind another one, which may go as slowly as its client reads; each holds little meanwhile.
WAITED_FOR_MAX = 64
WAITED_FOR_BYTES = 64 * 1024
LIAR_REST_S = 600.0  # one that sent wrong bytes
MISSES_MAX = 16  # in a row: a station that has not begun with this source is asked for every 16th object only
MANIFEST_BYTES_MAX = min(ENTRIES_MAX * 200, 256 * 1024 * 1024)


class Peers:
    """The peers of one order. Use as a context manager."""

    def __init__(self, order: Order, limits: Limits) -> None:
        self._peers: list[Peer] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without anchors it trusts nobody
        if order.peers and order.peer_tls:
            try:
                context = peer_context(order.peer_tls)
                self._peers = random.sample(order.peers, len(order.peers))
            except (OSError, ssl.SSLError) as error:
                line("error", "sync.peer_tls", error=error)  # upstream alone will do
        self._failures: dict[str, int] = {}
        self._misses: dict[str, int] = {}
        self._rests_until: dict[str, float] = {}
        self._asked = 0
        self._is_waited_for = order.kind in ("fill", "relay")
        if self._is_waited_for:
            limits = replace(
                limits,
                connections=WAITED_FOR_MAX,
                connect_s=WAITED_FOR_S,
                answer_s=WAITED_FOR_S,
                rate_window_s=WAITED_FOR_S,
            )
        egress = Egress((peer.url for peer in self._peers), _no_redirect)
        read_bytes = WAITED_FOR_BYTES if self._is_waited_for else READ_BYTES
        self._bulk = Bulk(egress, context, limits, read_bytes=read_bytes)
        self._conversation = Conversation(egress, context, limits)

    async def __aenter__(self) -> Self:
        await self._bulk.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._bulk.__aexit__(kind, error, trace)
        await self._conversation.__aexit__(kind, error, trace)

    async def fetch(self, partial: Partial, count: Counter) -> str | None:
        """Bring `partial` to its end from whoever has it; its sha256, or None. Only for a known sha256.

        Raises SyncFailed ("no-space", "storage").
        """
        if partial.checksum.kind != "sha256":
            return None
        sha256 = partial.checksum.hex
        for peer in self._candidates():
            try:
                await self._bulk.fetch(
                    f"{peer.url}/pool/{sha256}", partial, count, etag=f'"{sha256}"'
                )
                found = partial.finish()
            except FetchFailed as error:
                self._failed(peer, is_miss=error.absent)
            except RepoError:
                self._rest(peer, LIAR_REST_S)  # damaged or lying
                partial.restart()
            else:
                self._failures[peer.name] = self._misses[peer.name] = 0
                return found
        return None

    async def pieces(self, sha256: str, size: int) -> AsyncGenerator[bytes, None]:
        """The bytes of an object as a peer sends them; where one ends in the middle, another goes on. Not judged.

        Raises FetchFailed: no peer has it, or not the rest.
        """
        at, why = 0, "no peer is known"
        for peer in self._candidates():
            is_miss = False
            try:
                pieces = self._bulk.pieces(f"{peer.url}/pool/{sha256}", start=at, size=size)
                async with contextlib.aclosing(pieces):
                    async for piece in pieces:
                        at += len(piece)
                        yield piece
            except FetchFailed as error:
                why, is_miss = error.detail, error.absent
            else:
                if at == size:
                    self._failures[peer.name] = self._misses[peer.name] = 0
                    return
                why = f"{peer.name} ended after {at} of {size} bytes"
            self._failed(peer, is_miss=is_miss)
        raise FetchFailed("missing", f"{sha256}: {why}", transient=True)

    async def manifest(self, source: str, revision: str) -> bytes:
        """The manifest as some peer has it: a hint, until it was made again from the metadata.

        Raises SyncFailed "unreachable": no peer gave it.
        """
        why = "no peer is known"
        for peer in self._peers:
            url = f"{peer.url}/manifest/{source}/{revision}"
            try:
                answer = await self._conversation.get(url, size_max=MANIFEST_BYTES_MAX)
            except SyncFailed as error:
                why = error.detail
                continue
            if answer.status == 200:
                return answer.body
            why = f"{url}: {answer.status}"
        raise SyncFailed("unreachable", f"no peer gave the manifest: {why}", retriable=True)

    def _candidates(self) -> list[Peer]:
        """Whom to ask. Where a client waits: all, those that rest last."""
        self._asked += 1
        now = asyncio.get_running_loop().time()
        awake = [p for p in self._peers if now >= self._rests_until.get(p.name, 0.0)]
        if self._is_waited_for:
            return awake + [peer for peer in self._peers if peer not in awake]
        is_turn = self._asked % MISSES_MAX == 0
        return [p for p in awake if is_turn or self._misses.get(p.name, 0) < MISSES_MAX]

    def _failed(self, peer: Peer, *, is_miss: bool) -> None:
        counts = self._misses if is_miss else self._failures
        counts[peer.name] = counts.get(peer.name, 0) + 1
        if not is_miss and counts[peer.name] >= FAILURES_MAX:
            self._rest(peer, REST_S)

    def _rest(self, peer: Peer, seconds: float) -> None:
        self._rests_until[peer.name] = asyncio.get_running_loop().time() + seconds


def peer_context(files: PeerTls) -> ssl.SSLContext:
    """TLS towards peers: the group's intermediate is the only anchor, our certificate is shown.

    No host name is compared: addresses come from member records, and what is fetched is judged by its hash. Raises
    OSError, ssl.SSLError for files that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cafile=files.ca)
    context.load_cert_chain(files.cert, files.key)
    return context


def _no_redirect(address: str) -> str:
    return "a peer never redirects elsewhere"
