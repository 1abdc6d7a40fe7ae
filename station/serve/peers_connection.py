"""One connection of a peer: TLS with its certificate, then requests passed in clear to whoever answers them here.

`GET /pool/…` goes to the files workers; their connection is kept for further ones. Everything else goes to control,
which closes after its answer. Each gets a PROXY header with the peer's address and the name in its certificate.
"""

import contextlib
import re
import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from lbproxy.poller import IN, OUT, Poller
from station.http.proxy_header import TLV_LISTENER, TLV_SSL, Address, encode_v2, ssl_common_name

if TYPE_CHECKING:
    from station.serve.peers_worker import PeersWorker

HANDSHAKE_S: Final = 10.0
IDLE_S: Final = 120.0  # between requests, and of an answer that does not move
_HEAD_BYTES_MAX: Final = 16 * 1024
_PIECE_BYTES: Final = 64 * 1024
_POOL = re.compile(rb"(?:GET|HEAD) /pool/[0-9a-f]{64} HTTP/1\.[01]\r\n")
_HAS_BODY = re.compile(rb"\r\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)


class PeerConnection:
    """From accept to the end. Moves one piece at a time each way: what is not taken stops the other side."""

    def __init__(self, worker: "PeersWorker", sock: ssl.SSLSocket, source: Address) -> None:
        self._worker, self._tls, self._source = worker, sock, source
        self._fd = sock.fileno()
        self._step = self._handshake
        self._mask = IN
        self._up = b""  # for the backend
        self._down = b""  # for the peer
        self._head = bytearray()  # of a request for the pool that is not complete
        self._name = ""
        self._backend: _Backend | None = None
        self._backend_ended = False
        self._is_closed = False
        self._is_asked = False  # and no byte of an answer has come
        self._moved_at = worker.loop.time()
        self.deadline, self.limit, self.slot = 0.0, "", 0
        worker.guard.watch(self, HANDSHAKE_S, "handshake")
        worker.poller.register(self._fd, IN, self)

    def on_event(self, events: int) -> None:
        self._step()

    def expire(self, limit: str) -> None:
        """See Guarded."""
        if limit != "idle":
            self._worker.counters.hit(limit)
        self.close()

    def has_rested(self, control_s: float, pool_s: float) -> bool:
        """Nothing has been asked or is being answered for so long: by control, whose answers come in one piece, or from
        the pool, where a disk may let a piece wait.
        """
        if self._is_asked or self._head or self._up or self._down:
            return False
        is_pool = self._backend is not None and not self._backend.is_control
        return self._worker.loop.time() - self._moved_at >= (pool_s if is_pool else control_s)

    def close(self) -> None:
        """End at once."""
        if self._is_closed:
            return
        self._is_closed = True
        self.deadline = 0.0
        self._drop_backend()
        self._worker.poller.closing(self._fd)
        self._tls.close()
        self._worker.left(self)

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(IN)
        except ssl.SSLWantWriteError:
            self._watch(OUT)
        except OSError as error:
            self._worker.refused(self._source[0], error)
            self.close()
        else:
            self._name = common_name(self._tls.getpeercert())
            self._step = self._move
            self._watch(IN)
            self._move()

    def _move(self) -> None:
        """Read from the peer and write to it whatever goes now."""
        try:
            if self._down and not self._send_down():
                return
            # OpenSSL may hold bytes that epoll does not see.
            while not self._up and not self._is_closed:
                if not self._read_peer() or not self._tls.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLWantWriteError:
            self._watch(IN | OUT)
        except OSError:
            self.close()

    def _read_peer(self) -> bool:
        data = self._tls.recv(_PIECE_BYTES)
        if not data:
            self.close()
            return False
        self._worker.guard.watch(self, IDLE_S, "idle")
        self._is_asked = True
        if self._backend is not None and self._backend.is_control:
            self._up = data
            self._send_up()
        else:
            self._head += data
            self._take_head()
        return True

    def _take_head(self) -> None:
        """A request begins: to the pool while it is for the pool and has no body, else to control."""
        end = self._head.find(b"\r\n\r\n")
        if end < 0 and len(self._head) < _HEAD_BYTES_MAX:
            return
        head = bytes(self._head[: end + 4])
        if end < 0 or self._down:  # too long; or a second question before the first answer was read
            self.close()
            return
        is_pool = bool(_POOL.match(head)) and not _HAS_BODY.search(head)
        if is_pool and len(self._head) > len(head):
            self.close()
            return
        if self._backend is None or not is_pool or self._backend_ended:
            self._drop_backend()
            if not self._connect(is_control=not is_pool):
                return
        self._up += bytes(self._head)
        self._head.clear()
        self._send_up()

    def _connect(self, *, is_control: bool) -> bool:
        backend = _Backend(self, self._worker.poller, is_control=is_control)
        path = self._worker.control if is_control else self._worker.files
        try:
            backend.sock.connect(path)
        except OSError:
            backend.sock.close()
            self._worker.counters.add("peers_backend_unreachable")
            self.close()  # the peer tries again; control restarts within seconds
            return False
        tlvs = {TLV_LISTENER: b"peers", TLV_SSL: ssl_common_name(self._name)}
        self._up = encode_v2(self._source, self._tls.getsockname()[:2], tlvs)
        self._backend, self._backend_ended = backend, False
        self._worker.poller.register(backend.fd, IN, backend)
        return True

    def _send_up(self) -> None:
        backend = self._backend
        assert backend is not None
        try:
            while self._up:
                self._up = self._up[backend.sock.send(self._up) :]
        except BlockingIOError:
            self._watch(self._mask & ~IN)
            backend.watch(backend.mask | OUT)
            return
        except OSError:
            # Control may refuse a body and close; its answer is still to be read.
            self._up = b""
        backend.watch(backend.mask & ~OUT)
        self._watch(self._mask | IN)

    def backend_event(self, events: int) -> None:
        """The backend's socket has something."""
        backend = self._backend
        if backend is None:
            return
        if self._up and events & OUT:
            self._send_up()
            if not self._up:
                self._move()
        if self._down or self._is_closed or self._backend is not backend:
            return
        try:
            data = backend.sock.recv(_PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._worker.guard.watch(self, IDLE_S, "idle")
            self._is_asked, self._moved_at = False, self._worker.loop.time()
            self._down = data
            self._move()
        else:
            self._backend_ended = True
            with contextlib.suppress(OSError):
                self._tls.unwrap()  # says goodbye once, and awaits no answer
            self.close()

    def _send_down(self) -> bool:
        """True: all is sent. The same bytes are offered again after a want, as OpenSSL demands."""
        backend = self._backend
        try:
            while self._down:
                self._down = self._down[self._tls.send(self._down) :]
        except ssl.SSLWantWriteError:
            self._watch(self._mask | OUT)
            if backend is not None:
                backend.watch(backend.mask & ~IN)
            return False
        self._watch(self._mask & ~OUT | (0 if self._up else IN))
        if backend is not None:
            backend.watch(backend.mask | IN)
        return True

    def _watch(self, mask: int) -> None:
        if mask == self._mask or self._is_closed:
            return
        poller = self._worker.poller
        if not self._mask:
            poller.register(self._fd, mask, self)
        elif not mask:
            poller.unregister(self._fd)
        else:
            poller.modify(self._fd, mask)
        self._mask = mask

    def _drop_backend(self) -> None:
        if self._backend is not None:
            self._worker.poller.closing(self._backend.fd)
            self._backend.sock.close()
            self._backend = None


def common_name(certificate: Mapping[str, Any] | None) -> str:
    """The CN of a verified certificate as ssl gives it, "" when it has none."""
    for attributes in (certificate or {}).get("subject", ()):
        for key, value in attributes:
            if key == "commonName":
                return str(value)
    return ""


class _Backend:
    """The connection to files or control, and what is watched on it."""

    def __init__(self, connection: PeerConnection, poller: Poller, *, is_control: bool) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.fd = self.sock.fileno()
        self.is_control = is_control
        self.mask = IN
        self._connection, self._poller = connection, poller

    def on_event(self, events: int) -> None:
        self._connection.backend_event(events)

    def watch(self, mask: int) -> None:
        """As PeerConnection's own."""
        poller = self._poller
        if mask == self.mask:
            return
        if not self.mask:
            poller.register(self.fd, mask, self)
        elif not mask:
            poller.unregister(self.fd)
        else:
            poller.modify(self.fd, mask)
        self.mask = mask
