"""The group's own certificate authority: who is a peer, and who may speak for the balancer's name.

One root (ECDSA P-256) with two intermediates. `peers` signs the certificates of mutual TLS between stations;
`public` signs the leaf that clients see. They are apart so that a leaf made for clients never opens the peer
port. Every station of the group holds all keys: any of them can accept a new station when the others are gone.
"""

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 20 * 365  # replacing it means visiting every client
LEAF_DAYS = 397  # the longest that TLS clients accept of a leaf (CA/Browser Forum BR 6.3.2)
# Of the life left: four months in which a failed renewal can be seen and mended.
RENEW_BELOW = 1 / 3
SKEW = timedelta(hours=1)  # a certificate is valid for a peer whose clock is this far behind
PEM_BYTES_MAX = 16 * 1024  # ours have 1 KiB; what claims to be more is not ours
COMMON_NAME_MAX = 64  # RFC 5280 appendix A, ub-common-name
PEER_DOMAIN = "peer.station"


class KeysInvalid(ValueError):
    """Keys or certificates that do not belong together, or are none. The message says which."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The key material every station of a group holds, PEM text. Never logged, never gossiped."""

    ca: str
    ca_key: str
    peers_ca: str
    peers_ca_key: str
    public_ca: str
    public_ca_key: str

    def __repr__(self) -> str:
        return f"Authority({fingerprint(self.ca).hex()[:16]})"

    def to_wire(self) -> dict[str, str]:
        """As it travels to a station that joins."""
        return asdict(self)

    @classmethod
    def from_wire(cls, message: object) -> Self:
        """The inverse of to_wire. Raises KeysInvalid when a part is missing or does not belong to the root."""
        wire: dict[Any, Any] = message if isinstance(message, dict) else {}
        parts: dict[str, str] = {}
        for field in fields(cls):
            text = wire.get(field.name)
            if not isinstance(text, str) or len(text) > PEM_BYTES_MAX:
                raise KeysInvalid(f"the key material is incomplete: {field.name}")
            parts[field.name] = text
        authority = cls(**parts)
        authority.check()
        return authority

    def check(self) -> None:
        """Raise KeysInvalid unless each key fits its certificate and the root signed both intermediates."""
        root = certificate(self.ca)
        for name, pem, key in (
            ("ca", self.ca, self.ca_key),
            ("peers-ca", self.peers_ca, self.peers_ca_key),
            ("public-ca", self.public_ca, self.public_ca_key),
        ):
            found = certificate(pem)
            if _private_key(key).public_key() != found.public_key():
                raise KeysInvalid(f"{name}.key does not fit {name}.pem")
            try:
                found.verify_directly_issued_by(root)
            except (ValueError, TypeError, InvalidSignature) as error:
                raise KeysInvalid(f"{name}.pem was not issued by ca.pem") from error


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate (with what a client needs to verify it) and its key, PEM text."""

    chain: str
    key: str

    def __repr__(self) -> str:
        return f"Leaf({self.serial})"

    @property
    def serial(self) -> str:
        """The serial number, hexadecimal."""
        return f"{certificate(self.chain).serial_number:x}"

    @property
    def common_name(self) -> str:
        """The subject's common name: of a peer's leaf, the station's name."""
        found = certificate(self.chain).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(found[0].value) if found else ""

    @property
    def names(self) -> tuple[str, ...]:
        """The host names and addresses it is good for; none where only a common name says it (RFC 6125)."""
        try:
            extension = certificate(self.chain).extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            )
        except x509.ExtensionNotFound:
            return ()
        return tuple(str(name.value) for name in extension.value)

    def is_due(self, now: float) -> bool:
        """True when less than a third of its life is left. `now`: wall clock, seconds."""
        found = certificate(self.chain)
        life = found.not_valid_after_utc - found.not_valid_before_utc
        return found.not_valid_after_utc - _moment(now) < life * RENEW_BELOW


def create_authority(group: str, now: float) -> Authority:
    """A new root and its two intermediates for the group called `group`. `now`: wall clock, seconds."""
    root_key = _new_key()
    root_name = _name(f"{group} CA")
    root = _sign(root_name, root_name, root_key, root_key, now, depth=1)
    made = []
    for purpose in ("peers", "public"):
        key = _new_key()
        signed = _sign(_name(f"{group} {purpose} CA"), root_name, key, root_key, now, depth=0)
        made += [_pem(signed), _key_pem(key)]
    return Authority(_pem(root), _key_pem(root_key), *made)


def new_serial() -> str:
    """A random serial number, hexadecimal, for a certificate yet to be made."""
    return f"{x509.random_serial_number():x}"


def issue_peer_leaf(
    authority: Authority, station: str, now: float, *, serial: str = "", key: str = ""
) -> Leaf:
    """The leaf a station shows its peers, as client and as server; common name = the station's name.

    `key` (PEM) is kept when given: a renewal changes one file, so that the pair on disk always fits. Raises
    KeysInvalid for a name that does not fit into a certificate.
    """
    if len(station) > COMMON_NAME_MAX:
        raise KeysInvalid(f"a station's name has at most {COMMON_NAME_MAX} characters: {station!r}")
    return _issue(
        authority.peers_ca,
        authority.peers_ca_key,
        station,
        [peer_host_name(station)],
        [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH],
        now,
        serial=serial,
        key=key,
    )


def issue_public_leaf(
    authority: Authority, names: Sequence[str], now: float, *, key: str = ""
) -> Leaf:
    """The leaf clients see, good for `names` (host names and addresses), with the public intermediate behind it.

    `key` as for a peer's leaf. Raises KeysInvalid for a name that is neither a host name nor an address.
    """
    leaf = _issue(
        authority.public_ca,
        authority.public_ca_key,
        names[0],
        names,
        [ExtendedKeyUsageOID.SERVER_AUTH],
        now,
        key=key,
    )
    return Leaf(leaf.chain + authority.public_ca, leaf.key)


def peer_host_name(station: str) -> str:
    """The name in a peer's certificate that its callers verify: `stationa.peer.station`.

    A station name that is no DNS label (dots, underscores, 64 characters and more) is replaced by its hash.
    """
    label = station.lower()
    plain = label.replace("-", "").isalnum() and label.isascii() and len(label) <= 63
    if not plain or label.endswith("-") or label[2:4] == "--":
        label = "x" + hashlib.sha256(station.encode()).hexdigest()[:40]
    return f"{label}.{PEER_DOMAIN}"


def fingerprint(pem: str) -> bytes:
    """SHA-256 over the DER form of the first certificate in `pem`. Raises KeysInvalid."""
    return certificate(pem).fingerprint(hashes.SHA256())


def certificate(pem: str) -> x509.Certificate:
    """The first certificate in `pem`. Raises KeysInvalid when there is none."""
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise KeysInvalid(f"not a certificate in PEM: {error}") from error


def sign(key: str, data: bytes) -> bytes:
    """ECDSA with SHA-256 over the data, DER: as `openssl dgst -sha256 -verify` reads it. Raises KeysInvalid."""
    return _private_key(key).sign(data, ec.ECDSA(hashes.SHA256()))


def _issue(
    issuer_pem: str,
    issuer_key: str,
    common_name: str,
    names: Sequence[str],
    usages: list[x509.ObjectIdentifier],
    now: float,
    *,
    serial: str = "",
    key: str = "",
) -> Leaf:
    issuer = certificate(issuer_pem)
    signing_key = _private_key(issuer_key)
    leaf_key = _private_key(key) if key else _new_key()
    signed = (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(issuer.subject)
        .public_key(leaf_key.public_key())
        .serial_number(int(serial, 16) if serial else x509.random_serial_number())
        .not_valid_before(_moment(now) - SKEW)
        .not_valid_after(_moment(now) + timedelta(days=LEAF_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(leaf_key.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), False
        )
        .sign(signing_key, hashes.SHA256())
    )
    return Leaf(_pem(signed), _key_pem(leaf_key))


def _sign(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: float,
    *,
    depth: int,
) -> x509.Certificate:
    """An authority that may sign authorities `depth` levels deep below itself."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(now) - SKEW)
        .not_valid_after(_moment(now) + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
        .sign(issuer_key, hashes.SHA256())
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        return x509.DNSName(text)
    except ValueError as error:
        raise KeysInvalid(f"neither a host name in ASCII nor an address: {text!r}") from error


def _name(common_name: str) -> x509.Name:
    # Cut where nobody reads it: what is verified is the subject alternative name, and a station's name fits.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:COMMON_NAME_MAX])])


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _private_key(pem: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise KeysInvalid("not a private key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeysInvalid("the group's keys are elliptic-curve keys")
    return key


def _pem(signed: x509.Certificate) -> str:
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _moment(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC)
