"""Small conversations with an upstream or a peer: repomd.xml, its signature and key, a manifest. Whole in memory.

httpx gives deadlines per read only, so each conversation runs under one deadline and a cap of bytes. Redirects are
followed by hand; each hop is dialled by the address that was judged, under its own name.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import httpx

from station.sync.egress import Egress, host_and_port, redirect_target
from station.sync.failure import SyncFailed
from station.sync.limits import Limits

USER_AGENT = "station-sync"
REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (lower-case names) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Conversation:
    """The small requests of one job. Use as a context manager; connections are kept while it is open."""

    def __init__(self, egress: Egress, context: ssl.SSLContext, limits: Limits) -> None:
        self._egress = egress
        self._context = context
        self._limits = limits
        # One client per host: a connection under one name is never used for another with the same address.
        self._clients: dict[tuple[str, str, int], httpx.AsyncClient] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def get(
        self, url: str, *, size_max: int, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """GET with redirects followed; any final status is an answer.

        Raises SyncFailed: "unreachable" (also: too slow, cut short, larger than `size_max` bytes) or "redirect".
        """
        try:
            async with asyncio.timeout(self._limits.small_total_s):
                return await self._follow(url, size_max, dict(headers or {}))
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            what = str(error) or type(error).__name__
            raise SyncFailed("unreachable", f"{url}: {what}", retriable=True) from error

    async def _follow(self, url: str, size_max: int, headers: dict[str, str]) -> Answer:
        hops = 0
        while True:
            answer = await self._once(url, size_max, headers)
            if answer.status not in REDIRECTS or "location" not in answer.headers:
                return answer
            url = redirect_target(url, answer.headers["location"], hops)
            hops += 1

    async def _once(self, url: str, size_max: int, headers: dict[str, str]) -> Answer:
        host, port = host_and_port(url)
        last: Exception = SyncFailed("unreachable", f"{url}: no address", retriable=True)
        for address in await self._egress.addresses(host, port):
            try:
                return await self._dial(url, host, port, address, size_max, headers)
            except httpx.ConnectError as error:
                last = error
        raise last

    async def _dial(
        self, url: str, host: str, port: int, address: str, size_max: int, headers: dict[str, str]
    ) -> Answer:
        parts = urlsplit(url)
        literal = f"[{address}]" if ":" in address else address
        dialled = urlunsplit(
            (parts.scheme, f"{literal}:{port}", parts.path or "/", parts.query, "")
        )
        client = self._client(parts.scheme, host, port)
        request = client.build_request(
            "GET",
            dialled,
            headers={"Host": parts.netloc} | headers,
            extensions={"sni_hostname": host},
        )
        response = await client.send(request, stream=True)
        try:
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > size_max:
                    raise SyncFailed(
                        "unreachable", f"{url}: over {size_max} bytes were sent", retriable=True
                    )
        finally:
            await response.aclose()
        names = {key.lower(): value for key, value in response.headers.items()}
        return Answer(response.status_code, names, bytes(body))

    def _client(self, scheme: str, host: str, port: int) -> httpx.AsyncClient:
        key = (scheme, host, port)
        if key not in self._clients:
            self._clients[key] = httpx.AsyncClient(
                verify=self._context,
                trust_env=False,
                follow_redirects=False,
                headers={"Accept-Encoding": "identity", "User-Agent": USER_AGENT},
                timeout=httpx.Timeout(self._limits.answer_s, connect=self._limits.connect_s),
            )
        return self._clients[key]
