"""What a certificate says of itself: names and dates, for people who look for a fault. Never a key."""

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from station.peering.keys import KeysInvalid


def certificate_facts(pem: str) -> list[dict[str, Any]]:
    """Of each certificate in `pem`, in order. Raises KeysInvalid: there is none, or one is damaged."""
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
        return [_facts(one) for one in found]
    except ValueError as error:
        raise KeysInvalid(f"not certificates in PEM: {error}") from error


def _facts(one: x509.Certificate) -> dict[str, Any]:
    try:
        names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        good_for = [str(name.value) for name in names]
    except x509.ExtensionNotFound:
        good_for = []
    return {
        "subject": one.subject.rfc4514_string(),
        "issuer": one.issuer.rfc4514_string(),
        "begins": one.not_valid_before_utc.isoformat(),
        "ends": one.not_valid_after_utc.isoformat(),
        "good_for": good_for,
        "serial": f"{one.serial_number:x}",
        "fingerprint": one.fingerprint(hashes.SHA256()).hex(),
    }
