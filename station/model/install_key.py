"""The install key: what a person carries from a station to the machines that are to register with a profile.

It names the group's CA by fingerprint and the https port, so that a machine knows whom it talks to before it says
anything. The group keeps only the secret's hash. The text can be taken apart by a shell: words joined by `-`.

Uses are counted by one record per (key, instance), so that a registration repeated on another station counts once.
Stations that cannot hear each other count apart: a key for N instances then admits at most N on each side.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

SECRET_BYTES = 32
LIFE_S = 7 * 86_400.0  # a rollout takes days; a key that lies about for longer is found by others
LIFE_S_MAX = 366 * 86_400.0
USES_MAX = 1_000_000
TEXT_LENGTH_MAX = 200  # ours have some 160
KEY_PREFIX = "key:"
USE_PREFIX = "use:"
_TEXT = re.compile(r"install-1-([1-9][0-9]{0,4})-([0-9a-f]{64})-([0-9a-f]{64})-([0-9a-f]{8})")


class InstallKeyInvalid(ValueError):
    """The text is no install key. The message never repeats it."""


@dataclass(frozen=True, slots=True)
class InstallKey:
    """The fingerprint of the group's CA (SHA-256 of its DER form), the https port to ask, the secret."""

    fingerprint: bytes
    port: int
    secret: bytes = field(repr=False)

    def text(self) -> str:
        """`install-1-PORT-FINGERPRINT-SECRET-CHECK`, hexadecimal; CHECK is of the text before it."""
        body = f"install-1-{self.port}-{self.fingerprint.hex()}-{self.secret.hex()}"
        return f"{body}-{_check(body)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of text; blanks around it do not matter. Raises InstallKeyInvalid."""
        word = text.strip() if len(text) <= TEXT_LENGTH_MAX + 100 else ""
        found = _TEXT.fullmatch(word)
        if found is None or int(found[1]) > 65535:
            raise InstallKeyInvalid(
                "this is no install key: `station profile key create` makes one"
            )
        if not hmac.compare_digest(found[4], _check(word.rpartition("-")[0])):
            raise InstallKeyInvalid("the install key was cut or mistyped: its check does not fit")
        return cls(bytes.fromhex(found[2]), int(found[1]), bytes.fromhex(found[3]))


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What the group knows of an install key, in every registry, so that any station accepts it.

    `expires`, `created`: wall clock, seconds. `uses_max`: instances that may register with it; 0: any number.
    """

    profile: str
    digest: str  # SHA-256 of the secret, hexadecimal
    expires: float
    created: float = 0.0
    uses_max: int = 0
    is_revoked: bool = False
    issued_by: str = ""

    @classmethod
    def parse(cls, value: object) -> Self | None:
        """From the settings; None for what is no such record."""
        match value:
            case {
                "profile": str(profile),
                "digest": str(digest),
                "expires": int() | float() as expires,
                "created": int() | float() as created,
                "uses_max": int(uses_max),
                "is_revoked": bool(is_revoked),
                "issued_by": str(issued_by),
            }:
                return cls(
                    profile, digest, float(expires), float(created), uses_max, is_revoked, issued_by
                )
        return None

    @property
    def id(self) -> str:
        """What people call it: the beginning of the digest."""
        return self.digest[:16]

    @property
    def key(self) -> str:
        """Its key among the settings."""
        return key_of(self.profile, self.digest)

    def revoked(self) -> Self:
        """The same, good for nothing any more."""
        return replace(self, is_revoked=True)

    def to_wire(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def refusal(self, uses: int, now: float) -> str:
        """Why it is not accepted now for one more instance; empty when it is. `now`: wall clock, seconds."""
        if self.is_revoked:
            return "the install key was revoked"
        if self.expires < now:
            return "the install key has expired: make another"
        if self.uses_max and uses >= self.uses_max:
            return f"the install key was used by {uses} instances, as many as it is good for"
        return ""


def digest_of(secret: bytes) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret).hexdigest()


def key_of(profile: str, digest: str) -> str:
    """The key of a record among the settings."""
    return f"{KEY_PREFIX}{profile}:{digest[:16]}"


def use_of(key_id: str, instance: str) -> str:
    """The key, among the settings, of the record that says: this instance registered with this key."""
    return f"{USE_PREFIX}{key_id}:{instance}"


def keys_of(profile: str, settings: Mapping[str, object]) -> list[KeyRecord]:
    """The keys of a profile, oldest first."""
    prefix = f"{KEY_PREFIX}{profile}:"
    found = [KeyRecord.parse(v) for k, v in settings.items() if k.startswith(prefix)]
    return sorted((r for r in found if r), key=lambda record: (record.created, record.id))


def uses_of(key_id: str, settings: Mapping[str, object]) -> frozenset[str]:
    """The instances that registered with a key."""
    prefix = f"{USE_PREFIX}{key_id}:"
    return frozenset(key.removeprefix(prefix) for key in settings if key.startswith(prefix))


def settings_of(record: KeyRecord, settings: Mapping[str, object]) -> list[str]:
    """The keys, among the settings, of all that is kept of an install key."""
    return [record.key, *(use_of(record.id, i) for i in sorted(uses_of(record.id, settings)))]


def _check(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:8]
