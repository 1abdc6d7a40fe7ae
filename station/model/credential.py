"""The credential of an instance: a signed statement that any station of the group verifies by itself.

It is never X.509 and lives for an hour; each check-in brings a new one. It names the profile too, so that a station
that has not heard of the registration yet can answer. The signing key is derived from the key of the group's CA,
which every station holds and nobody else.
"""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Self

LIFE_S = 3600.0
LEEWAY_S = 60.0  # stations' clocks differ by at most this, or they refuse to write
TEXT_LENGTH_MAX = 1024  # two names of 128 characters in base64, and the signature
_PURPOSE = b"station: credentials of instances, 1"


class CredentialInvalid(ValueError):
    """No credential of this group, or one whose time is over. The message never repeats it."""


@dataclass(frozen=True, slots=True)
class Credential:
    """`instance`, registered with `profile`, until `expires` (wall clock, seconds)."""

    instance: str
    profile: str
    expires: float

    def sign(self, key: bytes) -> str:
        """As text, one word."""
        body = json.dumps([1, self.instance, self.profile, int(self.expires)]).encode()
        return f"{_coded(body)}.{_coded(_mac(key, body))}"

    @classmethod
    def verify(cls, text: str, key: bytes, now: float) -> Self:
        """The inverse of sign. `now`: wall clock, seconds. Raises CredentialInvalid."""
        try:
            if len(text) > TEXT_LENGTH_MAX:
                raise ValueError
            body, mac = (_decoded(part) for part in text.split("."))
            if not hmac.compare_digest(mac, _mac(key, body)):
                raise ValueError
            form, instance, profile, expires = json.loads(body)
            if form != 1:
                raise ValueError
        except (ValueError, TypeError):
            raise CredentialInvalid("this is no credential of this group") from None
        if expires + LEEWAY_S < now:
            raise CredentialInvalid("the credential has expired")
        return cls(str(instance), str(profile), float(expires))


def signing_key(ca_key: str) -> bytes:
    """The key that signs credentials, from the private key of the group's CA (PEM)."""
    return hmac.digest("".join(ca_key.split()).encode(), _PURPOSE, "sha256")


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.new(key, body, hashlib.sha256).digest()


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _coded(data) != text:
        raise ValueError("not the one way to write it")
    return data
