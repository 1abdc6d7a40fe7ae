"""Whom instances believe: the group's CA, and the authorities that an operator added, as one signed text.

A station whose certificate comes from elsewhere (`mirror.sslcert`) is believed once that authority is here. The text
is signed by the group's CA, which every instance knows by fingerprint: so it can be fetched from a station that is
not believed yet, and a change of certificates reaches machines whichever came first. It is numbered, so that an old
one cannot be told again.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from station.model.records import Kind
from station.peering.changes import Change
from station.peering.keys import KeysInvalid, sign

TRUST_KEY = "trust"
_PEM = serialization.Encoding.PEM
AUTHORITIES_MAX = 16  # a site has one or two, and two more while they are replaced


@dataclass(frozen=True, slots=True)
class Trust:
    """The `number`-th choice of authorities beside the group's own, PEM; 0 is none."""

    number: int = 0
    pem: str = field(default="", repr=False)

    @classmethod
    def of(cls, settings: Mapping[str, object]) -> Self:
        """From the settings; none for what is no such record."""
        match settings.get(TRUST_KEY):
            case {"number": int(number), "pem": str(pem)}:
                return cls(number, pem)
        return cls()

    def replaced(self, pem: str) -> Self:
        """The next choice: the certificates in `pem`, each once, without anything around them; "" for none.

        Raises KeysInvalid for what is no certificate, or not one of an authority.
        """
        found = {_der(one): one for one in _certificates(pem)}
        if len(found) > AUTHORITIES_MAX:
            raise KeysInvalid(f"more than {AUTHORITIES_MAX} certificates")
        for one in found.values():
            if not _is_authority(one):
                name = one.subject.rfc4514_string()
                raise KeysInvalid(f"{name} is no certificate authority: instances need its issuer")
        text = "".join(one.public_bytes(_PEM).decode() for one in found.values())
        return type(self)(self.number + 1, text)

    def change(self) -> Change:
        """To be written to the registry."""
        return Change(Kind.SETTINGS, TRUST_KEY, {"number": self.number, "pem": self.pem})

    def bundle(self, ca_pem: str, ca_key: str) -> bytes:
        """What instances keep as their CA file: the number, the group's CA, the others; last the signature over them.

        `# signed=BASE64`: ECDSA with SHA-256, DER, over all lines before, by the key of the group's CA. In one text,
        because two requests may be answered by two stations. Raises KeysInvalid.
        """
        told = f"# trust={self.number}\n{ca_pem.strip()}\n{self.pem}".encode("ascii")
        return told + b"# signed=" + base64.b64encode(sign(ca_key, told)) + b"\n"

    def authorities(self) -> list[dict[str, Any]]:
        """Subject, fingerprint (SHA-256, hexadecimal) and end (wall clock, seconds) of each."""
        return [
            {
                "subject": one.subject.rfc4514_string(),
                "fingerprint": one.fingerprint(hashes.SHA256()).hex(),
                "ends": one.not_valid_after_utc.timestamp(),
            }
            for one in _certificates(self.pem)
        ]


def _certificates(pem: str) -> list[x509.Certificate]:
    if not pem.strip():
        return []
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise KeysInvalid(f"not certificates in PEM: {error}") from error


def _der(one: x509.Certificate) -> bytes:
    return one.public_bytes(serialization.Encoding.DER)


def _is_authority(one: x509.Certificate) -> bool:
    try:
        constraints = one.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return False
    return constraints.value.ca
