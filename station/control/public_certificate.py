"""The certificate that https clients see: for whom it is good. Read again when its file has changed."""

from pathlib import Path

from station.config.schema import Config
from station.peering.keys import KeysInvalid, Leaf
from station.runtime.lines import line

_Identity = tuple[int, int]  # inode, time of change


class PublicCertificate:
    """The station's own `mirror.sslcert`, else the one that the group's CA issued."""

    def __init__(self, config: Config) -> None:
        issued = Path(config.state_directory) / "pki" / "public.pem"
        self._path = Path(config.mirror.sslcert) if config.mirror.sslcert else issued
        self._identity: _Identity | None = None
        self._names: tuple[str, ...] | None = None

    def names(self) -> tuple[str, ...] | None:
        """The host names and addresses it is good for; None when it cannot be read."""
        try:
            found = self._path.stat()
            identity = (found.st_ino, found.st_mtime_ns)
            if identity != self._identity:
                self._identity, self._names = identity, None
                self._names = Leaf(self._path.read_text(encoding="ascii"), "").names
        except (OSError, ValueError, KeysInvalid) as error:
            line("error", "certificate.unreadable", path=self._path, error=error)
        return self._names
