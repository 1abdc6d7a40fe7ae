"""Bulk downloads: many objects over few kept-alive connections, hashed and written as the pieces come.

Nothing is trusted but the digest: no content coding, no cookies, no environment proxies, redirects by hand, each
address judged before it is dialled, every wait under a deadline and a minimum rate.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from station.repo.errors import RepoError
from station.sync.conversation import REDIRECTS, USER_AGENT
from station.sync.egress import Egress, host_and_port, redirect_target
from station.sync.failure import SyncFailed
from station.sync.limits import Limits
from station.sync.partial import Partial, writing

READ_BYTES = 1024 * 1024  # one read of the socket; larger ones gain nothing
KEEP_ALIVE_S = 30.0  # below the idle time of every common server
RETRY_AFTER_MAX_S = 60.0  # a longer wish ends this job; the schedule tries again

# Told how many bytes have just come.
Counter = Callable[[int], None]


class FetchFailed(Exception):
    """One attempt at one object failed. `absent`: the server has no such file; `transient`: worth another attempt."""

    def __init__(
        self, code: str, detail: str, *, transient: bool, absent: bool = False, wait_s: float = 0.0
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.transient = transient
        self.absent = absent
        self.wait_s = wait_s  # the server's wish, bounded


class Bulk:
    """The connections of one job. Use as a context manager."""

    def __init__(
        self,
        egress: Egress,
        context: ssl.SSLContext,
        limits: Limits,
        *,
        read_bytes: int = READ_BYTES,
    ) -> None:
        self._egress = egress
        self._limits = limits
        self._context = context
        self._read_bytes = read_bytes

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=self._limits.connections,
            resolver=_JudgedResolver(self._egress),
            use_dns_cache=False,
            ssl=self._context,
            keepalive_timeout=KEEP_ALIVE_S,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=self._read_bytes,
            headers={"Accept-Encoding": "identity", "User-Agent": USER_AGENT},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._limits.connect_s),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def fetch(
        self, url: str, partial: Partial, count: Counter, *, fresh: bool = False, etag: str = ""
    ) -> None:
        """Bring `partial` to its end from `url`, resuming where it is. `fresh` asks caches on the way to look again.

        `etag` is the server's strong ETag of the object when it is known beforehand. Raises FetchFailed; SyncFailed
        ("no-space", "storage") when the bytes cannot be written. Whether they are the right ones is the caller's
        question to `partial`.
        """
        try:
            async with asyncio.timeout(self._limits.object_s(partial.limit)):
                await self._follow(url, partial, count, fresh, etag)
        except RepoError as error:
            raise FetchFailed("checksum", f"{url}: {error}", transient=True) from error
        except SyncFailed as error:
            if error.code in ("no-space", "storage"):
                raise
            raise FetchFailed(error.code, error.detail, transient=error.retriable) from error
        except (TimeoutError, aiohttp.ClientError, ssl.SSLError, ValueError, OSError) as error:
            what = str(error) or "too slow"
            raise FetchFailed("unreachable", f"{url}: {what}", transient=True) from error

    async def pieces(self, url: str, *, start: int, size: int) -> AsyncGenerator[bytes, None]:
        """The bytes of an object of `size` bytes from `start` on, as they come and no faster than they are taken.

        Raises FetchFailed. Whether they are the right ones is the caller's question.
        """
        try:
            async with contextlib.AsyncExitStack() as stack:
                response = await self._ask(url, {"Range": f"bytes={start}-"} if start else {})
                # After the last byte it goes back to the others all the same.
                stack.callback(response.close)
                if response.status != (206 if start else 200):
                    raise _bad_status(url, response)
                if response.content_length != size - start:
                    detail = f"{url}: {response.content_length} bytes are offered from {start} on, not {size - start}"
                    raise FetchFailed("checksum", detail, transient=True)
                while True:
                    async with asyncio.timeout(self._limits.rate_window_s):
                        piece = await response.content.readany()
                    if not piece and response.content.at_eof():
                        return
                    yield piece
        except (TimeoutError, aiohttp.ClientError, ssl.SSLError, ValueError, OSError) as error:
            what = str(error) or "too slow"
            raise FetchFailed("unreachable", f"{url}: {what}", transient=True) from error

    async def _ask(self, url: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        host, port = host_and_port(url)
        await self._egress.addresses(host, port)  # a literal address never meets the resolver
        async with asyncio.timeout(self._limits.answer_s):
            return await self._session.get(url, headers=headers, allow_redirects=False)

    async def _follow(
        self, url: str, partial: Partial, count: Counter, fresh: bool, etag: str
    ) -> None:
        headers = {"Cache-Control": "no-cache", "Pragma": "no-cache"} if fresh else {}
        validator = etag or partial.validator
        if partial.received and partial.received == partial.size:
            return  # a crash came between the last byte and the link
        if partial.received and validator:
            headers |= {"Range": f"bytes={partial.received}-", "If-Range": validator}
        hops = 0
        while True:
            response = await self._ask(url, headers)
            async with contextlib.AsyncExitStack() as stack:
                stack.callback(response.release)
                if response.status not in REDIRECTS or "Location" not in response.headers:
                    await self._take(url, response, partial, count)
                    return
                url = redirect_target(url, response.headers["Location"], hops)
            hops += 1

    async def _take(
        self, url: str, response: aiohttp.ClientResponse, partial: Partial, count: Counter
    ) -> None:
        with writing():
            if response.status == 206 and _starts_at(response) == partial.received:
                partial.begin(partial.received)
            elif response.status == 200:
                partial.begin(0)
            else:
                response.close()
                if response.status == 416:  # what we have is longer than what is there now
                    partial.restart()
                raise _bad_status(url, response)
        if response.content_length is not None:
            promised = partial.position + response.content_length
            if promised > partial.limit or partial.size not in (None, promised):
                response.close()
                raise FetchFailed(
                    "checksum",
                    f"{url}: {promised} bytes are offered, the metadata says {partial.limit}",
                    transient=True,
                )
        etag = response.headers.get("ETag", "")
        try:
            with writing():
                partial.keep_validator("" if etag.startswith("W/") else etag)
            await self._read(url, response, partial, count)
        except BaseException:
            response.close()  # the rest of the body is not wanted
            raise

    async def _read(
        self, url: str, response: aiohttp.ClientResponse, partial: Partial, count: Counter
    ) -> None:
        loop = asyncio.get_running_loop()
        window_s = self._limits.rate_window_s
        window_end, in_window = loop.time() + window_s, 0
        while True:
            piece = b""
            try:
                async with asyncio.timeout_at(window_end):
                    piece = await response.content.readany()
                    if not piece and response.content.at_eof():
                        return
            except TimeoutError:
                if in_window < self._limits.rate_bytes_per_s * window_s:
                    raise FetchFailed(
                        "unreachable",
                        f"{url}: {in_window} bytes in {window_s:.0f} s, stopped at {partial.received} "
                        f"of {partial.size}",
                        transient=True,
                    ) from None
                window_end, in_window = loop.time() + window_s, 0
            if piece:
                in_window += len(piece)
                with writing():
                    partial.write(piece)
                count(len(piece))


class _JudgedResolver(AbstractResolver):
    """Names resolve to what the egress rules leave of them."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._egress.addresses(host, port)
        ]

    async def close(self) -> None:
        pass


def _starts_at(response: aiohttp.ClientResponse) -> int:
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    start = rest.partition("-")[0]
    return int(start) if unit == "bytes" and start.isascii() and start.isdecimal() else -1


def _bad_status(url: str, response: aiohttp.ClientResponse) -> FetchFailed:
    status = response.status
    wish = response.headers.get("Retry-After", "")
    wait_s = float(wish) if wish.isascii() and wish.isdecimal() and len(wish) < 9 else 0.0
    return FetchFailed(
        "status",
        f"{urlsplit(url)._replace(query='').geturl()}: {status} {(response.reason or '')[:80]}",
        transient=status in (408, 416, 425, 429) or status >= 500,
        absent=status in (404, 410),
        wait_s=min(wait_s, RETRY_AFTER_MAX_S),
    )
