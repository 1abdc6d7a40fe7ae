"""The listening sockets. The supervisor owns them; a worker that is replaced inherits the same descriptor.

One SO_REUSEPORT socket per port and worker: closing one of two such sockets was measured to reset the connections
queued on it, so they are closed only when the station ends.
"""

import os
import socket
from pathlib import Path

BACKLOG = (
    4096  # a burst of clients waits here rather than being refused; the kernel caps it at somaxconn
)


class ListenError(OSError):
    """A port could not be bound. The message names address, port and the cure."""


def listen_tcp(address: str, port: int) -> socket.socket:
    """A listening socket on address:port. Raises ListenError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by what it accepts
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(
            error.errno,
            f"cannot listen on {address}:{port}: {error.strerror}; "
            "is another program using the port, or is the address not on this host?",
        ) from error
    sock.setblocking(False)
    return sock


def listen_unix(path: Path, mode: int) -> socket.socket:
    """A listening unix socket; one left behind by a killed station is replaced. Raises ListenError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        sock.bind(str(path))
        os.chmod(path, mode)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(
            error.errno, f"cannot listen on {path}: {error.strerror or error}"
        ) from error
    sock.setblocking(False)
    return sock
