"""Reads one client's request heads, one after the other, and refuses what is none."""

import ssl
from abc import ABC, abstractmethod

from station.http.answer import error_answer
from station.http.head import Refusal, Request, find_end, parse_head
from station.runtime.clock import system_clock
from station.serve.relay import Relay
from station.serve.reply import Client
from station.serve.sender import Sender
from station.serve.shared import Shared
from station.serve.transfer import Socket, send

RECEIVE_BYTES = 8192
REQUESTS_PER_EVENT = 32  # of one pipelining client, before the others have their turn
LINGER_BYTES_MAX = 256 * 1024
_clock = system_clock()


class Reader(Sender, ABC):
    """The reading half of a connection: while an answer is under way, further requests wait."""

    __slots__ = ("_buffer", "_head", "_lingered", "_recv", "_relay", "_request")

    def __init__(self, shared: Shared, sock: Socket, client: Client) -> None:
        super().__init__(shared, sock, client)
        self._recv = sock.recv
        self._buffer = bytearray()
        self._head = b""
        self._request: Request | None = None  # the one that has no answer yet
        self._relay: Relay | None = None
        self._lingered = 0

    @abstractmethod
    def close(self, *, is_reset: bool = False) -> None:
        """Give back everything. May be called more than once."""

    @abstractmethod
    def _take(self, data: bytes) -> None:
        """Bytes arrived; none at the end of them."""

    @abstractmethod
    def _take_request(self, request: Request) -> None:
        """A whole head, `_head`, was read: have it answered."""

    @property
    def is_idle(self) -> bool:
        """Between two requests."""
        is_busy = self._request or self._transfer or self._relay or self._buffer
        return not is_busy and self.limit != "linger"

    def close_if_idle(self) -> None:
        """Close between two requests; one that has arrived by now is answered first.

        Who has just connected has asked nothing yet, and gets its time for that.
        """
        if self.limit == "head":
            return
        if self.is_idle:
            self.readable()
        if self.is_idle:
            self._part()

    def readable(self) -> None:
        """Bytes arrived, or may have."""
        if self._transfer is not None:
            self.pause_reading()  # the next request waits in the kernel until this answer is out
            return
        try:
            data = self._recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            if not self._is_reading:
                self.read_with(self.readable)
            return
        except OSError:
            self.close()
            return
        self._take(data)

    def _advance(self) -> None:
        """Answer the requests in the buffer, in order, while nothing is in the way."""
        for _ in range(REQUESTS_PER_EVENT):
            is_busy = self._request or self._transfer or self._relay or self.limit == "linger"
            if is_busy or not self.is_open:
                return
            buffer = self._buffer
            while buffer[:2] == b"\r\n":  # RFC 9112, 2.2: an empty line before a request is ignored
                del buffer[:2]
            end = find_end(buffer)
            if end is None:
                self._wait_for_head()
                return
            if isinstance(end, Refusal):
                self._refuse(end)
                return
            self._head = bytes(buffer[:end])
            del buffer[:end]
            request = parse_head(self._head)
            if isinstance(request, Refusal):
                self._refuse(request)
                return
            self._take_request(request)
        if self.is_open:
            self.pause_reading()  # the end of the client's bytes must not overtake those in the buffer
            self._loop.call_soon(self._advance)

    def _wait_for_head(self) -> None:
        if self.has_decrypted:
            self._loop.call_soon(self._read_decrypted)
        elif not self._is_reading:
            self.read_with(self.readable)
        if self._buffer and self.limit != "head":
            self._shared.guard.watch(self, self._shared.limits.head_s, "head")

    def _read_decrypted(self) -> None:
        if self.is_open:
            self.readable()

    def _go_on(self) -> None:
        if not self.is_open:
            return
        if self._buffer or self.has_decrypted:
            self._loop.call_soon(self._advance)
        elif not self._is_reading:
            self.read_with(self.readable)

    def _refuse(self, refusal: Refusal) -> None:
        """Say why, once; then nothing on this connection can be trusted."""
        shared = self._shared
        shared.counters.add("refused")
        shared.counters.add(f"requests_{self._client.listener}_{refusal.status}")
        data = error_answer(refusal.status, refusal.reason, date=int(_clock.wall()))
        try:
            send(self._sock, data)
        except OSError:  # full or gone: an error is not worth a wait
            self.close()
            return
        self._linger(self._shared.limits.linger_s)

    def _part(self) -> None:
        """Close; but whom a file was sent says first that it has all of it, by closing too.

        Megabytes of it may still be in the kernel's buffers and a balancer's, which drops what it has when the last
        worker is gone and the station counts as down. Where others wait for room it has less time for that.
        """
        limits, guard = self._shared.limits, self._shared.guard
        if self._had_file:
            self._linger(limits.linger_s if guard.is_crowded else limits.idle_s)
        else:
            self.close()

    def _linger(self, seconds: float) -> None:
        """Our last word was said; read what was under way, so that no reset overtakes it."""
        self._buffer.clear()
        self._request = None
        try:
            self.end_sending()
        except (OSError, ValueError):
            self.close()
            return
        self._shared.guard.watch(self, seconds, "linger")
        self.read_with(self._discard)

    def _discard(self) -> None:
        try:
            data = self._recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except (OSError, ValueError):
            data = b""
        self._lingered += len(data)
        if not data or self._lingered > LINGER_BYTES_MAX:
            self.close()
