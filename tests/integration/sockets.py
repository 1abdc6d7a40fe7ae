"""A blocking HTTP/1.1 connection that tells exactly what arrived: no retries, no guesses."""

import socket
import ssl
from dataclasses import dataclass

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Answer:
    """One answer. `is_last`: the server said that it closes."""

    status: int
    head: bytes
    body: bytes
    is_last: bool


class Connection:
    """One connection; `received` counts bytes of the answer under way."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.received = 0

    def get(self, path: str, *, keep: bool = True, host: str = "station") -> Answer:
        """Ask and read the whole answer. Raises OSError, EOFError for one that is not whole."""
        self.received = 0
        closing = "" if keep else "Connection: close\r\n"
        self._sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{closing}\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        fields = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
        }
        length = int(fields.get(b"content-length", b"0"))
        pieces, have = [body], len(body)
        while have < length:
            pieces.append(self._receive())
            have += len(pieces[-1])
        is_last = fields.get(b"connection", b"").lower() == b"close"
        return Answer(int(head.split(b" ", 2)[1]), head, b"".join(pieces), is_last)

    def close(self) -> None:
        """Close it."""
        self._sock.close()

    def _receive(self) -> bytes:
        piece = self._sock.recv(65536)
        if not piece:
            raise EOFError(f"ended after {self.received} bytes of an answer")
        self.received += len(piece)
        return piece


def connect(host: str, port: int, context: ssl.SSLContext | None = None) -> Connection:
    """A new connection, over TLS when there is a context. Raises OSError."""
    sock = socket.create_connection((host, port), timeout=TIMEOUT_S)
    try:
        return Connection(context.wrap_socket(sock, server_hostname=host) if context else sock)
    except BaseException:
        sock.close()
        raise
