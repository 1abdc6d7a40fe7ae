"""What clients keep up while stations and balancers go and come: short requests at a rate, downloads, open tunnels.

One thread with a loop of its own, through the balancer's three ports, with an exact account of what each client saw.
A short request that fails is a failure, and so is a tunnel that cannot be had. A download that is cut asks for the rest
of the same ETag until it is whole; a tunnel that is cut is written down with the moment and the manner.
"""

import asyncio
import contextlib
import hashlib
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.integration.lab import LabUnderTest, wait_until

REQUEST_S = 20.0
PIECE_BYTES = 64 * 1024
AGAIN_S = 0.2  # between two tries for the rest of a download
TRIES_MAX = 20
LAST_DOWNLOADS_S = 60.0
PING_S = 1.0
SHORT_LIFE_S = 8.0
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Amounts:
    """Of each kind. The slowest download takes `slowest_s`, the fastest a quarter of that."""

    per_s: int = 200
    downloads: int = 50
    tunnels: int = 200
    slowest_s: float = 40.0


@dataclass(frozen=True)
class Cut:
    """A tunnel or a download that ended before its client was done. `how`: "end", or the name of an error.

    Of a download, `began` is when this connection was made and `due` when its client would have had the whole.
    """

    at: float
    how: str
    began: float = 0.0
    due: float = 0.0


class Pressure:
    """Runs from entering the block to its end, which waits for the downloads under way.

    `path`: a large file of the mirror, with its sha256; `shorts`: paths of short requests; `echo`: where tunnels lead.
    """

    def __init__(
        self,
        lab: LabUnderTest,
        path: str,
        sha256: str,
        size: int,
        shorts: list[str],
        amounts: Amounts,
    ) -> None:
        self._lab, self._path, self._sha256, self._size = lab, path, sha256, size
        self._shorts, self.amounts = shorts, amounts
        self._tls = ssl.create_default_context(cafile=lab.ca)
        balancer = lab.facts["balancer"]
        self._host = str(balancer["host"])
        self._ports = {kind: int(balancer[kind]) for kind in ("proxy", "http", "https")}
        self._kept: dict[str, list[Pair]] = {"http": [], "https": []}
        self._is_over = False
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self.echo = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.failures: list[str] = []
        self.failed_at: list[float] = []
        self.waits: list[float] = []
        self.asked_again = 0
        self.downloading = self.whole = self.resumed = 0
        self.download_cuts: list[Cut] = []
        self.open_tunnels = self.finished_tunnels = 0
        self.tunnel_cuts: list[Cut] = []

    @property
    def target(self) -> str:
        """Where the tunnels lead; the stations have to allow it."""
        return f"127.0.0.1:{self.echo.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until("all under way", self.is_full, 60.0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()
        self.echo.close()
        if self._fault is not None and error is None:
            raise self._fault

    def end(self) -> None:
        """Ask nothing more, and wait for the downloads under way."""
        self._is_over = True
        self._thread.join()

    def percentile(self, share: float) -> float:
        """How long `share` of the short requests took at most, seconds."""
        return sorted(self.waits)[int(len(self.waits) * share)]

    def account(self) -> str:
        """All of it, in a line."""
        return (
            f"{len(self.waits)} short requests, {len(self.failures)} failures, p99 {self.percentile(0.99):.3f} s, "
            f"slowest {max(self.waits):.3f} s, {self.asked_again} asked again; {self.whole} downloads whole, "
            f"{len(self.download_cuts)} cut, {self.resumed} resumed; {self.finished_tunnels} tunnels ended by their "
            f"clients, {len(self.tunnel_cuts)} cut"
        )

    def is_full(self) -> bool:
        """Whether there are as many downloads and tunnels as there shall be."""
        assert self._thread.is_alive(), self._fault
        wanted = self.amounts
        return self.downloading >= wanted.downloads and self.open_tunnels >= wanted.tunnels

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._fault = error

    async def _main(self) -> None:
        server = await asyncio.start_server(_echo, sock=self.echo)
        async with server, asyncio.TaskGroup() as group:
            for number in range(self.amounts.tunnels):
                group.create_task(self._tunnels(number))
            for number in range(self.amounts.downloads):
                group.create_task(self._downloads(number))
            group.create_task(self._short_requests(group))

    # Short requests.

    async def _short_requests(self, group: asyncio.TaskGroup) -> None:
        began, number = time.monotonic(), 0
        while not self._is_over:
            await asyncio.sleep(max(0.0, began + number / self.amounts.per_s - time.monotonic()))
            group.create_task(self._short(number))
            number += 1
        for pairs in self._kept.values():
            for _, writer in pairs:
                writer.transport.abort()

    async def _short(self, number: int) -> None:
        """Every second one on a connection that is kept, every second pair over TLS."""
        kind, keeps = ("http", "https")[number // 2 % 2], bool(number % 2)
        path = self._shorts[number // 4 % len(self._shorts)]
        began = time.monotonic()
        try:
            async with asyncio.timeout(REQUEST_S):
                status = await self._ask(kind, path, keeps)
        except (OSError, EOFError, TimeoutError) as error:
            self._fail(f"{kind} {path}", repr(error), began)
            return
        if status == 200:
            self.waits.append(time.monotonic() - began)
        else:
            self._fail(f"{kind} {path}", str(status), began)

    async def _ask(self, kind: str, path: str, keeps: bool) -> int:
        kept = self._kept[kind]
        if keeps and kept:
            pair = kept.pop()
            try:
                return await self._converse(kind, path, pair, keeps)
            except _Untouched:  # every client asks again on a new connection (RFC 9112, 9.3.1)
                self.asked_again += 1
        pair = await asyncio.open_connection(
            self._host, self._ports[kind], ssl=self._tls if kind == "https" else None
        )
        return await self._converse(kind, path, pair, keeps)

    async def _converse(self, kind: str, path: str, pair: Pair, keeps: bool) -> int:
        reader, writer = pair
        is_kept = False
        try:
            closing = "" if keeps else "Connection: close\r\n"
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n{closing}\r\n".encode())
            status, fields = await _head(reader)
            await reader.readexactly(int(fields.get("content-length", "0")))
            is_kept = (
                keeps and fields.get("connection", "").lower() != "close" and not self._is_over
            )
        finally:
            if is_kept:
                self._kept[kind].append(pair)
            else:
                writer.transport.abort()
        return status

    # Downloads.

    async def _downloads(self, number: int) -> None:
        share = 0.25 + 0.75 * number / max(1, self.amounts.downloads - 1)
        bytes_per_s = self._size / (self.amounts.slowest_s * share)
        while not self._is_over:
            self.downloading += 1
            try:
                await self._download(bytes_per_s)
            finally:
                self.downloading -= 1

    async def _download(self, bytes_per_s: float) -> None:
        have, etag, digest = 0, "", hashlib.sha256()
        ends = time.monotonic() + self.amounts.slowest_s + LAST_DOWNLOADS_S
        for _ in range(TRIES_MAX):
            sock = await self._small_window()
            if sock is None:
                await asyncio.sleep(AGAIN_S)
                continue
            reader, writer = await asyncio.open_connection(sock=sock, limit=PIECE_BYTES)
            before, began = have, time.monotonic()
            try:
                more = f"Range: bytes={have}-\r\nIf-Range: {etag}\r\n" if have else ""
                writer.write(f"GET {self._path} HTTP/1.1\r\nHost: h\r\n{more}\r\n".encode())
                status, fields = await _head(reader)
                if (status, fields.get("etag", etag)) != (
                    206 if have else 200,
                    etag or fields["etag"],
                ):
                    self._fail("download", f"{status} {fields} for the rest of {etag}", began)
                    return
                etag = fields["etag"]
                self.resumed += have > 0
                while have < self._size and time.monotonic() < ends:
                    piece = await reader.read(PIECE_BYTES)
                    if not piece:
                        raise EOFError
                    digest.update(piece)
                    have += len(piece)
                    ahead = (have - before) / bytes_per_s - (time.monotonic() - began)
                    if ahead > 0 and not self._is_over:
                        await asyncio.sleep(ahead)
                break
            except (OSError, EOFError) as error:
                how = "end" if isinstance(error, EOFError) else type(error).__name__
                due = began + (self._size - before) / bytes_per_s
                self.download_cuts.append(Cut(time.monotonic(), how, began, due))
            finally:
                writer.transport.abort()
            await asyncio.sleep(AGAIN_S)
        if have == self._size and digest.hexdigest() == self._sha256:
            self.whole += 1
        else:
            self.failures.append(f"download: {have} of {self._size} bytes, or others")

    async def _small_window(self) -> socket.socket | None:
        """A connection through which the kernel does not take a whole file ahead of its reader."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE_BYTES)
        began = time.monotonic()
        try:
            async with asyncio.timeout(REQUEST_S):
                await asyncio.get_running_loop().sock_connect(
                    sock, (self._host, self._ports["http"])
                )
        except (OSError, TimeoutError) as error:
            sock.close()
            self._fail("download", repr(error), began)
            return None
        return sock

    # Tunnels.

    async def _tunnels(self, number: int) -> None:
        """One after the other. Of two numbers one has short lives, the other one stays until it is cut."""
        await asyncio.sleep(number * 2.0 / self.amounts.tunnels)
        while not self._is_over:
            began = time.monotonic()
            try:
                async with asyncio.timeout(REQUEST_S):
                    reader, writer = await self._connect()
            except (OSError, EOFError, TimeoutError) as error:
                self._fail("tunnel", repr(error), began)
                await asyncio.sleep(AGAIN_S)
                continue
            self.open_tunnels += 1
            try:
                life_s = SHORT_LIFE_S if number % 4 < 2 else float("inf")
                if await self._use(reader, writer, began + life_s):
                    self.finished_tunnels += 1
            except (OSError, EOFError) as error:  # a TimeoutError is an OSError
                how = "end" if isinstance(error, EOFError) else type(error).__name__
                self.tunnel_cuts.append(Cut(time.monotonic(), how))
            finally:
                self.open_tunnels -= 1
                writer.transport.abort()

    async def _connect(self) -> Pair:
        reader, writer = await asyncio.open_connection(self._host, self._ports["proxy"])
        writer.write(f"CONNECT {self.target} HTTP/1.1\r\nHost: {self.target}\r\n\r\n".encode())
        try:
            status, _ = await _head(reader)
            if status != 200:
                raise ConnectionError(f"status {status}")
        except BaseException:
            writer.transport.abort()
            raise
        return reader, writer

    async def _use(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, end: float
    ) -> bool:
        """Say something each second and hear it again; half-close at last. False: the block ended first."""
        count = 0
        while time.monotonic() < end:
            if self._is_over:
                return False
            said = struct.pack("!Q", count) * 8
            async with asyncio.timeout(REQUEST_S):
                writer.write(said)
                heard = await reader.readexactly(len(said))
            assert heard == said, "a tunnel gave other bytes"
            count += 1
            # The end is seen when it comes, not at the next word.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_S):
                    raise EOFError(await reader.read(1))
        async with asyncio.timeout(REQUEST_S):
            writer.write_eof()
            if await reader.read(-1):
                raise ConnectionError("more than was said")
        return True

    def _fail(self, what: str, how: str, began: float) -> None:
        now = time.monotonic()
        self.failed_at.append(began)
        self.failures.append(f"{now:.2f}: {what}: {how} after {now - began:.2f} s")


class _Untouched(EOFError):
    """The connection ended before the first byte of an answer."""


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and fields of an answer. Raises _Untouched, EOFError, OSError."""
    try:
        data = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        if getattr(error, "partial", b""):
            raise
        raise _Untouched(repr(error)) from error
    lines = data.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:] if line)
    return int(lines[0].split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer), contextlib.suppress(OSError):
        while data := await reader.read(PIECE_BYTES):
            writer.write(data)
            await writer.drain()
