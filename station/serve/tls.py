"""The public TLS context: 1.2 and up, Mozilla's intermediate profile, tickets; reloaded without dropping anybody."""

import ssl
from collections.abc import Callable
from pathlib import Path

from station.runtime.lines import line

# Mozilla "intermediate" 5.7 for TLS 1.2 without finite-field DH, which Python would need parameters for.
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """A context for the public listener. Raises OSError, which ssl.SSLError is, for a pair that does not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE  # all are strong: a phone may prefer ChaCha
    context.num_tickets = 1
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(cert, key)
    return context


class Certificate:
    """The pair in use. `reload` keeps it when the new one is bad, and says so by `alarm`."""

    def __init__(self, cert: Path, key: Path, alarm: Callable[[], None]) -> None:
        """Raises OSError when there is no good pair to begin with."""
        self._cert, self._key, self._alarm = cert, key, alarm
        self.is_old = False  # what lies there now is no good pair
        self.context = server_context(cert, key)
        self._seen = self._stamps()

    def look(self) -> None:
        """Reload when the files have changed since the last look: a renewed certificate needs no signal."""
        if self._stamps() != self._seen:
            self.reload()

    def reload(self) -> bool:
        """Take what lies there now; False when it is no good pair. Connections that are open keep what they have."""
        self._seen = self._stamps()
        try:
            context = server_context(self._cert, self._key)
        except OSError as error:
            line("error", "tls.reload_failed", cert=str(self._cert), error=str(error))
            self._alarm()
            self.is_old = True
            return False
        self.context, self.is_old = context, False
        line("info", "tls.reloaded", cert=str(self._cert))
        return True

    def _stamps(self) -> tuple[object, ...]:
        try:
            return tuple(
                (found.st_mtime_ns, found.st_ino, found.st_size)
                for found in (self._cert.stat(), self._key.stat())
            )
        except OSError:  # between two names of an exchange: as good as changed
            return ()
