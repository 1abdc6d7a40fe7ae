"""Sends what does not fit into one send: long bytes, files by sendfile, files over TLS, files that still grow.

A transfer makes a bounded step at each event, so that one fast reader cannot hold the others up.
"""

import os
import socket
import ssl
from enum import Enum
from typing import Protocol

from station.serve.world import Fill

STEP_BYTES = 2 * 1024 * 1024
TLS_PIECE_BYTES = 256 * 1024
TLS_PIECES_PER_EVENT = 8
# Of a file not yet verified: a client never has it whole before we know it is right.
WITHHELD_BYTES = 64 * 1024

Socket = socket.socket | ssl.SSLSocket
# Shared: a piece is sent or read again, never kept.
_tls_buffer = memoryview(bytearray(TLS_PIECE_BYTES))


class Progress(Enum):
    """How a step ended. A full socket raises BlockingIOError instead."""

    DONE = "done"
    MORE = "more"  # the turn is over
    STARVED = "starved"  # the file has to grow first


class Transfer(Protocol):
    """`sent` counts bytes given to the kernel."""

    sent: int

    def step(self, sock: Socket) -> Progress:
        """Send some. Raises BlockingIOError when the socket is full, OSError when the answer cannot be completed."""

    def close(self) -> None:
        """Give back what the transfer holds."""


def send(sock: Socket, data: bytes | memoryview, flags: int = 0) -> int:
    """As socket.send, for both kinds of sockets: a full socket raises BlockingIOError."""
    try:
        return sock.send(data) if isinstance(sock, ssl.SSLSocket) else sock.send(data, flags)
    except ssl.SSLWantWriteError:
        raise BlockingIOError from None


class BytesTransfer:
    """The rest of an answer in memory."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._rest = memoryview(data)
        self.sent = 0

    def step(self, sock: Socket) -> Progress:
        """See Transfer."""
        while self._rest:
            sent = send(sock, self._rest)
            self.sent += sent
            self._rest = self._rest[sent:]
        return Progress.DONE

    def close(self) -> None:
        """See Transfer."""


class FileTransfer:
    """A head, then a piece of a file, by sendfile or through OpenSSL. `most` is sent at one event."""

    def __init__(self, head: bytes, fd: int, offset: int, end: int, most: int) -> None:
        self._head = memoryview(head)
        self._fd, self._offset, self._end, self._most = fd, offset, end, most
        self.sent = 0

    def step(self, sock: Socket) -> Progress:
        """See Transfer."""
        limit = self._limit()
        while self._head:
            sent = send(sock, self._head, socket.MSG_MORE if limit > self._offset else 0)
            self.sent += sent
            self._head = self._head[sent:]
        if isinstance(sock, ssl.SSLSocket):
            return self._step_tls(sock, limit)
        if self._offset < limit:
            wanted = min(self._most, limit - self._offset)
            self._count(os.sendfile(sock.fileno(), self._fd, self._offset, wanted))
        return self._progress(limit)

    def close(self) -> None:
        """See Transfer."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _step_tls(self, sock: ssl.SSLSocket, limit: int) -> Progress:
        # Read, not mapped: a page that cannot be read must end one connection, not the process by SIGBUS.
        for _ in range(TLS_PIECES_PER_EVENT):
            if self._offset >= limit:
                break
            piece = _tls_buffer[: min(TLS_PIECE_BYTES, limit - self._offset)]
            got = os.preadv(self._fd, [piece], self._offset)
            self._count(send(sock, piece[:got]) if got else 0)
        return self._progress(limit)

    def _count(self, sent: int) -> None:
        if sent <= 0:
            raise OSError("the file ended early")
        self._offset += sent
        self.sent += sent

    def _limit(self) -> int:
        return self._end

    def _progress(self, limit: int) -> Progress:
        if self._offset >= self._end:
            return Progress.DONE
        return Progress.MORE if self._offset < limit else Progress.STARVED


class FillTransfer(FileTransfer):
    """A file that grows while it is sent. Its end is withheld until control says that all of it is right."""

    def __init__(
        self, head: bytes, fill: Fill, fd: int, offset: int, end: int, most: int, size: int
    ) -> None:
        super().__init__(head, fd, offset, end, most)
        self.fill = fill
        self._size = size

    def _limit(self) -> int:
        if self.fill.error:
            raise OSError(f"fill failed: {self.fill.error}")
        grown = os.fstat(self._fd).st_size
        if self.fill.is_done:
            if grown != self._size:
                raise OSError("the filled file has another size")
            return self._end
        return max(self._offset, min(self._end, grown, self._size - WITHHELD_BYTES))
