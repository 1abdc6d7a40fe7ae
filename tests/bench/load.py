"""The client of bulk and set-up rows, a program of its own: so cheap that one core of it keeps any server busy.

Bytes are counted and thrown away in the kernel (MSG_TRUNC), all but the first answer, which is looked at. Prints one
number: bytes per second, or tunnels per second.

    python -m tests.bench.load bulk PORT PATH CONNECTIONS SECONDS [PROXY_PORT]
    python -m tests.bench.load setups PROXY_PORT TARGET_PORT CONNECTIONS SECONDS
"""

import select
import socket
import subprocess
import sys
import time

from tests.bench.measuring import CLIENT_CORE

_PIECE_BYTES = 1024 * 1024
_LAST_HEAD_BYTES = 32  # by so much the head of the last answer may differ: it says close
_TIMEOUT_S = 20.0


class Stream:
    """One connection that asks for the same file again and again."""

    def __init__(self, port: int, path: str, proxy: int) -> None:
        self._place = port, proxy
        self._ask = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        self._buffer = memoryview(bytearray(_PIECE_BYTES))
        self.connect()

    def connect(self) -> None:
        """Connect and ask, also anew where the server has given us all the requests that it allows."""
        port, proxy = self._place
        self.sock = socket.create_connection(("127.0.0.1", proxy or port), _TIMEOUT_S)
        if proxy:
            self.sock.sendall(connect_head(port))
            assert self._head().startswith(b"HTTP/1.1 200 "), "CONNECT was refused"
        self.sock.sendall(self._ask)
        head = self._head()
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        self._answer_bytes = len(head) + length  # of every answer: only its Date changes
        self._left = length
        self.sock.setblocking(False)

    def receive(self) -> int:
        """Throw away what is there; how many bytes it was, 0 at the end of the connection."""
        wanted = min(self._left, _PIECE_BYTES)
        size = self.sock.recv_into(self._buffer, wanted, socket.MSG_TRUNC)
        if not size:
            is_between = not _LAST_HEAD_BYTES < self._left < self._answer_bytes - _LAST_HEAD_BYTES
            assert is_between, "connection closed within an answer"
            return 0
        self._left -= size
        if not self._left:
            self._left = self._answer_bytes
            assert self.sock.send(self._ask) == len(self._ask)
        return size

    def _head(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.sock.recv(1)
            assert byte, "connection closed within a head"
            head += byte
        return head


def connect_head(port: int) -> bytes:
    """A request for a tunnel to a port of this machine."""
    return f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()


def bulk(port: int, path: str, connections: int, seconds: float, proxy: int = 0) -> float:
    """Bytes per second of all connections together."""
    streams = {}
    poll = select.epoll()

    def watch(stream: Stream) -> None:
        streams[stream.sock.fileno()] = stream
        poll.register(stream.sock.fileno(), select.EPOLLIN)

    for _ in range(connections):
        watch(Stream(port, path, proxy))
    total, began = 0, time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        ready = poll.poll(_TIMEOUT_S)
        assert ready, "nothing came for a long time"
        for fd, _ in ready:
            if size := streams[fd].receive():
                total += size
                continue
            stream = streams.pop(fd)
            stream.sock.close()
            stream.connect()
            watch(stream)
    return total / (now - began)


def setups(proxy: int, target: int, connections: int, seconds: float) -> float:
    """Tunnels opened and closed at both ends per second, so many at a time.

    The next one begins when the target's end has come back: else the target, which shares this core, is left behind.
    """
    head = connect_head(target)
    poll, socks = select.epoll(), {}

    def begin() -> None:
        sock = socket.create_connection(("127.0.0.1", proxy), _TIMEOUT_S)
        sock.send(head)
        socks[sock.fileno()] = sock
        poll.register(sock.fileno(), select.EPOLLIN)

    for _ in range(connections):
        begin()
    count, began = 0, time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        ready = poll.poll(_TIMEOUT_S)
        assert ready, "nothing came for a long time"
        for fd, _ in ready:
            answer = socks[fd].recv(4096)
            if answer:
                assert answer.startswith(b"HTTP/1.1 200 "), answer
                socks[fd].shutdown(socket.SHUT_WR)
            else:
                socks.pop(fd).close()
                count += 1
                begin()
    return count / (now - began)


def run(*arguments: object) -> float:
    """One run of this program on the client's core; its number."""
    command = ["taskset", "-c", CLIENT_CORE, sys.executable, "-m", "tests.bench.load"]
    done = subprocess.run(
        [*command, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout)


if __name__ == "__main__":
    kind, *words = sys.argv[1:]
    if kind == "bulk":
        print(bulk(int(words[0]), words[1], int(words[2]), float(words[3]), *map(int, words[4:])))
    else:
        print(setups(int(words[0]), int(words[1]), int(words[2]), float(words[3])))
