"""The join token: what a person carries from a station of the group to the one that joins.

It names the group's root by fingerprint, so that the newcomer knows whom it talks to before it says anything, and
carries a secret that is good once. The group keeps only the secret's hash.
"""

import base64
import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass, field
from typing import Any, Self

from station.model.records import Kind
from station.peering.changes import Change

LIFE_S = 3600.0
SECRET_BYTES = 32
TEXT_LENGTH_MAX = 400  # ours have about 120; anything longer was pasted by mistake
KEY_PREFIX = "token:"
_PREFIX = "station-"
_FORMAT = 1
_LAYOUT = struct.Struct("!BH32s32s")
_CHECK_BYTES = 4


class TokenInvalid(ValueError):
    """The text is no join token. The message never repeats it."""


@dataclass(frozen=True, slots=True)
class JoinToken:
    """The fingerprint of the group's root (SHA-256 of its DER form), the secret, and the https port to ask."""

    fingerprint: bytes
    port: int
    secret: bytes = field(repr=False)

    def text(self) -> str:
        """One word that survives mail, shells and double clicks."""
        body = _LAYOUT.pack(_FORMAT, self.port, self.fingerprint, self.secret)
        coded = base64.b32encode(body + _checksum(body)).decode().rstrip("=")
        return _PREFIX + coded.lower()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of text; blanks around it do not matter. Raises TokenInvalid."""
        coded = text.strip().lower().removeprefix(_PREFIX).upper()
        try:
            if len(text) > TEXT_LENGTH_MAX:
                raise ValueError
            raw = base64.b32decode(coded + "=" * (-len(coded) % 8))
            body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
            version, port, fingerprint, secret = _LAYOUT.unpack(body)
        except (ValueError, struct.error):
            raise TokenInvalid(
                "this is not a join token: ask for one with `station group token`"
            ) from None
        if not hmac.compare_digest(check, _checksum(body)):
            raise TokenInvalid("the join token was cut or mistyped: its check sum does not fit")
        if version != _FORMAT:
            raise TokenInvalid(f"the join token has format {version}; this station knows {_FORMAT}")
        return cls(fingerprint, port, secret)


def new_token(fingerprint: bytes, port: int) -> JoinToken:
    """A token with a fresh secret."""
    return JoinToken(fingerprint, port, secrets.token_bytes(SECRET_BYTES))


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What the group knows of a token, in every registry, so that any station accepts it."""

    digest: str  # SHA-256 of the secret, hexadecimal
    expires: float  # wall clock, seconds
    issued_by: str
    used_by: str = ""

    @classmethod
    def of(cls, token: JoinToken, station: str, now: float) -> Self:
        """The record of a token made by `station` at `now` (wall clock, seconds)."""
        return cls(digest_of(token.secret), now + LIFE_S, station)

    @classmethod
    def parse(cls, value: object) -> Self | None:
        """From the registry; None for what is no such record."""
        match value:
            case {
                "digest": str(digest),
                "expires": float() | int() as expires,
                "issued_by": str(issued_by),
                "used_by": str(used_by),
            }:
                return cls(digest, float(expires), issued_by, used_by)
        return None

    @property
    def key(self) -> str:
        """Its key among the settings."""
        return key_of(self.digest)

    def change(self) -> Change:
        """To be written to the registry."""
        value: dict[str, Any] = {
            "digest": self.digest,
            "expires": self.expires,
            "issued_by": self.issued_by,
            "used_by": self.used_by,
        }
        return Change(Kind.SETTINGS, self.key, value)


def digest_of(secret: bytes) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret).hexdigest()


def key_of(digest: str) -> str:
    """The key of a token's record: half the digest, which is far from guessable and short to read."""
    return KEY_PREFIX + digest[:32]


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECK_BYTES]
