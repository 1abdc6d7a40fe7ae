"""`state_directory/pki/`: the keys of this station on its own disk, readable by nobody else, renewed in time.

    ca.pem ca.key · peers-ca.pem .key · public-ca.pem .key      the group's, equal on all stations
    peer.pem .key                                               this station, for its peers
    public.pem .key                                             the balancer's name and this station's address

A renewal keeps the key and replaces the certificate, so that a process that reads the pair at any instant gets
two files that fit.
"""

import ipaddress
import os
import ssl
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from station.peering.keys import (
    Authority,
    KeysInvalid,
    Leaf,
    issue_peer_leaf,
    issue_public_leaf,
)
from station.runtime.lines import line

DIRECTORY = "pki"
_AUTHORITY_FILES = {
    "ca": "ca.pem",
    "ca_key": "ca.key",
    "peers_ca": "peers-ca.pem",
    "peers_ca_key": "peers-ca.key",
    "public_ca": "public-ca.pem",
    "public_ca_key": "public-ca.key",
}
# Mozilla's intermediate profile; TLS 1.3 suites are fixed by OpenSSL.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class Pki:
    """The files under `state_directory/pki/`."""

    def __init__(self, state_directory: Path) -> None:
        self.directory = state_directory / DIRECTORY

    def create(self, authority: Authority, peer: Leaf, public: Leaf) -> None:
        """Write everything; the directory is for its owner alone. Raises OSError."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part, text in authority.to_wire().items():
            write_secret(self.directory / _AUTHORITY_FILES[part], text)
        for name, leaf in (("peer", peer), ("public", public)):
            write_secret(self.directory / f"{name}.key", leaf.key)
            write_secret(self.directory / f"{name}.pem", leaf.chain)

    def authority(self) -> Authority:
        """The group's keys. Raises KeysInvalid: missing, open to others, or not fitting together."""
        parts = {part: self._read(name) for part, name in _AUTHORITY_FILES.items()}
        return Authority.from_wire(parts)

    def ca_pem(self) -> str:
        """The group's root, for clients to trust. Raises KeysInvalid."""
        return self._read("ca.pem")

    def peer_leaf(self) -> Leaf:
        """This station's certificate for its peers. Raises KeysInvalid."""
        return Leaf(self._read("peer.pem"), self._read("peer.key"))

    def public_leaf(self) -> Leaf:
        """The certificate that clients see. Raises KeysInvalid."""
        return Leaf(self._read("public.pem"), self._read("public.key"))

    def renew(self, station: str, names: Sequence[str], now: float) -> list[str]:
        """Renew what has less than a third of its life left or another name than it should have.

        `names`: what the public leaf must be good for. Returns which were renewed: `peer`, `public`; the processes
        that hold them then load them again, and the station's record gets the new serial. Raises KeysInvalid, OSError.
        """
        renewed = []
        peer, public = self.peer_leaf(), self.public_leaf()
        if peer.is_due(now) or peer.common_name != station:
            leaf = issue_peer_leaf(self.authority(), station, now, key=peer.key)
            write_secret(self.directory / "peer.pem", leaf.chain)
            renewed.append("peer")
        if public.is_due(now) or set(public.names) != set(names):
            leaf = issue_public_leaf(self.authority(), names, now, key=public.key)
            write_secret(self.directory / "public.pem", leaf.chain)
            renewed.append("public")
        for name in renewed:
            line("info", "certificate.renewed", certificate=name)
        return renewed

    def peer_client_context(self) -> ssl.SSLContext:
        """For conversations that we begin with peers. Raises KeysInvalid, OSError (also for a bad pair)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        # Only the peers' intermediate: with the root as anchor, a leaf made for clients would be accepted too.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=self._read("peers-ca.pem"))
        context.load_cert_chain(self.directory / "peer.pem", self.directory / "peer.key")
        return context

    def _read(self, name: str) -> str:
        path = self.directory / name
        try:
            if path.suffix == ".key" and path.stat().st_mode & 0o077:
                raise KeysInvalid(f"{path} is open to others: chmod 600 {path}")
            return path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise KeysInvalid(f"{path} cannot be read: {error}") from error


def public_names(*hosts: str) -> list[str]:
    """What the public leaf must be good for, each once. The last of `hosts`, this station's own address, stays last.

    A station without a configured address reads it from there.
    """
    names = [_as_in_certificate(host) for host in hosts if host]
    own = names[-1:] if hosts[-1] else []
    return [*(name for name in dict.fromkeys(names) if name not in own), *own]


def _as_in_certificate(name: str) -> str:
    """An address in its one canonical spelling, so that a comparison with a certificate's names is one."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def write_secret(path: Path, text: str) -> None:
    """Replace a file whole, mode 0600, durable when this returns. Raises OSError; the old file is then unchanged."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directories([path.parent])


def sync_directories(paths: Iterable[Path]) -> None:
    """Make the names in these directories durable. Raises OSError."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
