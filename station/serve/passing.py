"""Answers whose bytes come from a socket: what a peer sends, passed on while the storage of this station is away."""

import json
import socket

from station.serve.transfer import Progress, Socket, send

PIECE_BYTES = 64 * 1024
PIECES_PER_EVENT = 16


def open_relay(
    path: str, *, source: str, sha256: str, size: int, offset: int, end: int
) -> socket.socket | None:
    """A connection on which the bytes `offset` to `end` of an object will come; None when nobody listens there."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    ask = {"source": source, "sha256": sha256, "size": size, "offset": offset, "end": end}
    try:
        sock.connect(path)
        sock.sendall(json.dumps(ask).encode("ascii") + b"\n")  # far below what a new socket takes
    except OSError:
        sock.close()
        return None
    return sock


class RelayTransfer:
    """A head, then `length` bytes from `source`. The head waits for the first of them: before, nothing was promised."""

    def __init__(self, head: bytes, source: socket.socket, length: int) -> None:
        self.source = source
        self.sent = 0
        self._head = head
        self._rest = memoryview(b"")
        self._left = length

    def step(self, sock: Socket) -> Progress:
        """See Transfer."""
        for _ in range(PIECES_PER_EVENT):
            if not self._rest:
                if not self._left:
                    return Progress.DONE
                if not self._read():
                    return Progress.STARVED
            sent = send(sock, self._rest)
            self.sent += sent
            self._rest = self._rest[sent:]
        return Progress.MORE

    def close(self) -> None:
        """See Transfer."""
        self.source.close()

    def _read(self) -> bool:
        try:
            piece = self.source.recv(min(PIECE_BYTES, self._left))
        except BlockingIOError:
            return False
        if not piece:
            raise OSError("the relay ended early")
        self._left -= len(piece)
        self._rest = memoryview(self._head + piece)
        self._head = b""
        return True
