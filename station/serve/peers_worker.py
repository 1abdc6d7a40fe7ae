"""The peers worker: mutual TLS with the other stations of the group, in a process that never touches the storage.

So gossip lives while a mount hangs. Only the peers' intermediate of the group CA is trusted; whether the name in a
certificate is still a member is control's to judge.
"""

import asyncio
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

from lbproxy.poller import IN, Poller
from station.runtime.lines import line
from station.serve.guard import Guard
from station.serve.limits import Counters, Limits
from station.serve.peers_connection import PeerConnection
from station.serve.worker import Worker, inherited, run

# Nine stations with sixteen downloads each, and room for strangers in their handshake.
CONNECTIONS_MAX = 512
_ACCEPTS_MAX = 32
_RELOAD_EVERY_S = 5.0
_REST_S = 0.25
_DRAIN_CHECK_S = 0.1
_REFUSALS_LOGGED_EVERY_S = 1.0


def peers_context(cert: str, key: str, ca: str) -> ssl.SSLContext:
    """TLS for peers. Raises OSError (ssl.SSLError is one) for files that do not fit or are not there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # What Mozilla's intermediate profile has, without DHE.
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(cert, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    # The intermediate is the anchor, not the root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


class PeersWorker(Worker):
    """See Worker."""

    def __init__(self, settings: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(settings, loop)
        self.counters = Counters()
        limits = Limits.from_settings(settings.get("limits") or {})
        self.guard = Guard(limits, self.counters)
        self.poller = Poller(loop)
        self.files, self.control = str(settings["files"]), str(settings["control"])
        self.connections: set[PeerConnection] = set()
        tls = settings["tls"]
        self._tls = (str(tls["cert"]), str(tls["key"]), str(tls["ca"]))
        self._seen = self._stamps()
        self._context = peers_context(*self._tls)
        self._drain_s, self._drain_idle_s = limits.drain_s, limits.drain_idle_s
        self._refusal_logged_at = float("-inf")
        self._is_accepting = self._is_draining = False
        self._listeners = [inherited(int(each["fd"])) for each in settings["listeners"]]

    def start(self) -> None:
        """Begin to accept."""
        self.guard.attach(self.loop)
        self._accept(True)
        self.loop.call_later(_RELOAD_EVERY_S, self._reload)
        self.on_ready()

    def drain(self) -> None:
        """See Worker. A second call ends at once."""
        if self._is_draining:
            self._finish()
            return
        self._is_draining = True
        self._accept(False)
        self.loop.call_later(self._drain_s, self._finish)
        self._close_rested()
        self.left(None)

    terminate = drain

    def _close_rested(self) -> None:
        """Peers keep their connections for what they say each second: they would never end by themselves."""
        for connection in list(self.connections):
            if connection.has_rested(_REST_S, self._drain_idle_s):
                connection.close()
        self.loop.call_later(_DRAIN_CHECK_S, self._close_rested)

    def close(self) -> None:
        """See Worker."""
        for connection in list(self.connections):
            connection.close()
        for sock in self._listeners:
            sock.close()
        self.poller.close()

    def on_event(self, events: int) -> None:
        for sock in self._listeners:
            self._accept_from(sock)

    def left(self, connection: PeerConnection | None) -> None:
        """A connection is closed."""
        if connection is not None:
            self.connections.discard(connection)
        if not self._is_draining:
            self._accept(True)
        elif not self.connections:
            self._finish()

    def refused(self, address: str, error: OSError) -> None:
        """A handshake failed. At most one line a second: strangers can make thousands."""
        self.counters.add("peers_refused")
        now = self.loop.time()
        if now - self._refusal_logged_at >= _REFUSALS_LOGGED_EVERY_S:
            self._refusal_logged_at = now
            reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
            line("warning", "peers.refused", address=address, error=reason)

    def _accept(self, wanted: bool) -> None:
        wanted = wanted and not self._is_draining and len(self.connections) < CONNECTIONS_MAX
        if wanted != self._is_accepting:
            self._is_accepting = wanted
            for sock in self._listeners:
                if wanted:
                    self.poller.register(sock.fileno(), IN, self)
                else:
                    self.poller.unregister(sock.fileno())

    def _accept_from(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTS_MAX):
            try:
                sock, source = listener.accept()
            except BlockingIOError:
                return
            except OSError:  # out of descriptors, or the peer is gone already
                self._accept(False)
                self.loop.call_later(_REST_S, self._accept, True)
                return
            sock.setblocking(False)
            try:
                tls = self._context.wrap_socket(
                    sock, server_side=True, do_handshake_on_connect=False
                )
            except OSError:
                sock.close()
                continue
            self.connections.add(PeerConnection(self, tls, source[:2]))
            if len(self.connections) >= CONNECTIONS_MAX:
                self._accept(False)
                return

    def _stamps(self) -> list[tuple[int, int]]:
        """What tells new files from old ones."""
        found = []
        for name in self._tls:
            status = Path(name).stat()
            found.append((status.st_mtime_ns, status.st_ino))
        return found

    def _reload(self) -> None:
        """Take new certificates; keep the old ones while the new do not fit together."""
        self.loop.call_later(_RELOAD_EVERY_S, self._reload)
        try:
            seen = self._stamps()
            if seen != self._seen:
                self._seen = seen
                self._context = peers_context(*self._tls)
                line("info", "peers.certificate_taken")
        except OSError as error:
            self.counters.add("tls_reload_failed")
            line("error", "peers.certificate_refused", error=str(error))


if __name__ == "__main__":
    sys.exit(run(PeersWorker))
