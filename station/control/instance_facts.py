"""What an instance may say of itself: a few short facts, checked against an allow-list. Bytes in, facts out. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from station.model.instance_status import ERROR, GOING, REGISTRATION

BODY_BYTES_MAX = 64 * 1024  # ours have 400 bytes
_NAME = re.compile(r"[A-Za-z0-9._-]{0,253}")
_TEXT = re.compile(r"[A-Za-z0-9 ._:+~()/,-]{0,200}")
_HEX = re.compile(r"(?:[0-9a-f]{2}){0,64}")
_NUMBER = re.compile(r"[0-9]{0,9}")
_SECRET = re.compile(r"[0-9a-f]{64}")

# Kept in the record of the instance, by name: what each may look like.
FACTS = {
    "hostname": _NAME,
    "os_id": _NAME,
    "os_version": _NAME,
    "kernel": _TEXT,
    "arch": _NAME,
    "packages": _NUMBER,
    "machine": _HEX,  # hash of its machine-id: two instances with one are a clone
    ERROR: _TEXT,
    REGISTRATION: _TEXT,
    GOING: re.compile("(?:reboot)?"),
}
WAYS = ("direct", "proxy")


class BadFacts(ValueError):
    """The body is no list of facts. The message names the fact and never repeats a secret."""


@dataclass(frozen=True, slots=True)
class Facts:
    """`way`: how it reaches the group. `repos`: SHA-256 of the .repo file it has. `profile`: which it means to have.

    `trust`: the number of its CA file.
    """

    facts: dict[str, str]
    secret: str = field(default="", repr=False)
    way: str = "direct"
    repos: str = ""
    profile: str = ""
    trust: int = 0

    @classmethod
    def parse(cls, body: bytes, media: str) -> Self:
        """From lines `name=value` (text/plain), or a JSON object of texts. Raises BadFacts."""
        try:
            text = body.decode("utf-8")
            fields = _from_json(text) if media == "application/json" else _from_lines(text)
        except (ValueError, RecursionError):
            raise BadFacts("expected lines NAME=VALUE, or a JSON object of texts") from None
        facts = {}
        for name, pattern in FACTS.items():
            value = fields.pop(name, "")
            if not pattern.fullmatch(value):
                raise BadFacts(f"{name}: has characters that no {name} has, or too many")
            if value:
                facts[name] = value
        secret, way = fields.pop("secret", ""), fields.pop("way", "direct")
        repos, profile = fields.pop("repos", ""), fields.pop("profile", "")
        trust = fields.pop("trust", "") or "0"
        if secret and not _SECRET.fullmatch(secret):
            raise BadFacts("secret: expected 64 hexadecimal digits")
        if way not in WAYS or not _HEX.fullmatch(repos) or not _NAME.fullmatch(profile):
            raise BadFacts("way, repos or profile: not what they look like")
        if not _NUMBER.fullmatch(trust):
            raise BadFacts("trust: expected a number")
        if fields:
            raise BadFacts(f"{sorted(fields)[0][:40]!r}: no such fact")
        return cls(facts, secret, way, repos, profile, int(trust))


def answer_lines(answer: Mapping[str, Any]) -> str:
    """An answer for a shell: a line `name=value` each, lists separated by blanks."""
    return "".join(
        f"{name}={' '.join(value) if isinstance(value, list) else value}\n"
        for name, value in answer.items()
    )


def _from_lines(text: str) -> dict[str, str]:
    fields = {}
    for line in text.split("\n"):
        if line:
            name, equals, value = line.partition("=")
            if not equals or name in fields:
                raise ValueError("not NAME=VALUE, or twice")
            fields[name] = value
    return fields


def _from_json(text: str) -> dict[str, str]:
    fields = json.loads(text)
    if not isinstance(fields, dict) or not all(isinstance(v, str) for v in fields.values()):
        raise ValueError("not an object of texts")
    return fields
