"""The listening sockets. The supervisor owns them; a worker that is replaced inherits the same descriptor.

One SO_REUSEPORT socket per port and worker: closing one of two such sockets was measured to reset the connections
queued on it, so they are closed only when the station ends.
"""

import errno
import os
import socket
import time
from pathlib import Path

# A burst of clients waits here rather than being refused; the kernel caps it at somaxconn.
BACKLOG = 4096

# The processes of a station that was killed let go of its ports one after the other, as they notice.
PORT_FREE_WITHIN_S = 3.0
LOOK_AGAIN_S = 0.05


class ListenError(OSError):
    """A port could not be bound. The message names address, port and the cure."""


def listen_tcp(address: str, port: int, count: int = 1) -> tuple[socket.socket, ...]:
    """`count` listening sockets on address:port, among which the kernel spreads connections. Raises ListenError.

    Sockets of one user may share a port, also those of two stations started by mistake, which would then take turns.
    So the port is asked for alone first.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened: list[socket.socket] = []
    try:
        if count:
            _wait_until_free(family, address, port)
        for _ in range(count):
            sock = socket.socket(family, socket.SOCK_STREAM)
            opened.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            # Inherited by what it accepts.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.bind((address, port))
            sock.listen(BACKLOG)
            sock.setblocking(False)
    except OSError as error:
        for sock in opened:
            sock.close()
        raise ListenError(
            error.errno,
            f"cannot listen on {address}:{port}: {error.strerror}; "
            "is another program using the port, or is the address not on this host?",
        ) from error
    return tuple(opened)


def _wait_until_free(family: socket.AddressFamily, address: str, port: int) -> None:
    deadline = time.monotonic() + PORT_FREE_WITHIN_S
    while True:
        with socket.socket(family, socket.SOCK_STREAM) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                alone.bind((address, port))
                return
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise
        time.sleep(LOOK_AGAIN_S)


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
