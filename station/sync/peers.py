"""Fetching by hash from the other stations of the group, over mutual TLS."""

import random
import ssl
from types import TracebackType
from typing import Self

from station.repo.errors import RepoError
from station.repo.manifest import ENTRIES_MAX
from station.runtime.lines import line
from station.sync.conversation import Conversation
from station.sync.egress import Egress
from station.sync.failure import SyncFailed
from station.sync.fetch import Bulk, Counter, FetchFailed
from station.sync.limits import Limits
from station.sync.order import Order, Peer, PeerTls
from station.sync.partial import Partial

FAILURES_MAX = 2  # in a row: a station that is away is not asked again in this job
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
        self._asked = 0
        egress = Egress((peer.url for peer in self._peers), _no_redirect)
        self._bulk = Bulk(egress, context, limits)
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
                counts = self._misses if error.absent else self._failures
                counts[peer.name] = counts.get(peer.name, 0) + 1
            except RepoError:
                self._failures[peer.name] = FAILURES_MAX  # damaged or lying
                partial.restart()
            else:
                self._failures[peer.name] = self._misses[peer.name] = 0
                return found
        return None

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
        self._asked += 1
        return [
            peer
            for peer in self._peers
            if self._failures.get(peer.name, 0) < FAILURES_MAX
            and (self._misses.get(peer.name, 0) < MISSES_MAX or self._asked % MISSES_MAX == 0)
        ]


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
