"""What a request asks for: from the target of the request line to one route value, decoded once.

No route names a file. A path below a source is only ever compared with the lines of a manifest.
"""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes

from station.http.head import Refusal

_SOURCE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(rb"[0-9a-f]{64}")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_ABSOLUTE = re.compile(rb"https?://[^/?#@]+(?=[/?]|\Z)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Repo:
    """A file of the live view of a source."""

    source: str
    path: bytes


@dataclass(frozen=True, slots=True)
class Pinned:
    """A file of one revision of a source."""

    source: str
    revision: str
    path: bytes


@dataclass(frozen=True, slots=True)
class MirrorList:
    """The dnf_mirrorlist (or metalink) of a source, for the instances of a profile or for all."""

    source: str
    profile: str | None
    is_metalink: bool = False


@dataclass(frozen=True, slots=True)
class Keys:
    """The OpenPGP key of a source."""

    source: str


@dataclass(frozen=True, slots=True)
class CaPem:
    """The certificate of the group's CA."""


@dataclass(frozen=True, slots=True)
class Health:
    """One of the two health checks."""

    kind: Literal["live", "ready"]


@dataclass(frozen=True, slots=True)
class PoolObject:
    """An object by its sha256, for peers."""

    sha256: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A page for people: all sources, one source, or one revision of it."""

    source: str | None
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """Everything else: control answers."""


Route = Repo | Pinned | MirrorList | Keys | CaPem | Health | PoolObject | Listing | Other

_NOT_FOUND = Refusal(404, "not found")


def parse_target(target: bytes) -> Route | Refusal:
    """The route of a request target in origin or absolute form (RFC 9112, 3.2); 400 or 404 for what is none.

    Escapes are decoded once. A dot segment is refused, not resolved: no path means another one here.
    """
    path = target
    if not target.startswith(b"/"):
        absolute = _ABSOLUTE.match(target)
        if absolute is None:
            return Other() if target == b"*" else Refusal(400, "malformed target")
        path = target[absolute.end() :] or b"/"
    if b"#" in path:
        return Refusal(400, "malformed target")
    path = path.partition(b"?")[0]
    if not path.startswith(b"/"):
        path = b"/" + path
    if b"%" in path:
        if _BAD_ESCAPE.search(path):
            return Refusal(400, "malformed target")
        path = unquote_to_bytes(path)
    if _CONTROL.search(path):
        return Refusal(400, "malformed target")
    segments = path[1:].split(b"/")
    if b".." in segments or b"." in segments:
        return Refusal(400, "dot segment in target")
    if b"" in segments[:-1]:
        return _NOT_FOUND
    return _route(segments)


def _route(segments: list[bytes]) -> Route | Refusal:
    match segments:
        case [b""] | [b"repo"] | [b"repo", b""]:
            return Listing(None)
        case [b"repo", source, *rest]:
            return _repo(source, rest)
        case [b"mirrorlist" | b"metalink" as kind, source]:
            return _mirrorlist(source, None, kind == b"metalink")
        case [b"mirrorlist" | b"metalink" as kind, source, profile]:
            return _mirrorlist(source, profile, kind == b"metalink")
        case [b"keys", source] if _SOURCE.fullmatch(source):
            return Keys(source.decode("ascii"))
        case [b"pool", sha256] if _SHA256.fullmatch(sha256):
            return PoolObject(sha256.decode("ascii"))
        case [b"health", b"live"]:
            return Health("live")
        case [b"health", b"ready"]:
            return Health("ready")
        case [b"ca.pem"]:
            return CaPem()
        case [b"mirrorlist" | b"metalink" | b"keys" | b"pool" | b"health" | b"ca.pem", *_]:
            return _NOT_FOUND
    return Other()


def _repo(source: bytes, rest: list[bytes]) -> Route | Refusal:
    if not _SOURCE.fullmatch(source):
        return _NOT_FOUND
    name = source.decode("ascii")
    if rest in ([], [b""]):
        return Listing(name)
    if not rest[0].startswith(b"@"):
        return Repo(name, b"/".join(rest)) if rest[-1] else _NOT_FOUND
    hexadecimal = rest[0][1:]
    if not _SHA256.fullmatch(hexadecimal):
        return _NOT_FOUND
    revision = hexadecimal.decode("ascii")
    if rest[1:] in ([], [b""]):
        return Listing(name, revision)
    return Pinned(name, revision, b"/".join(rest[1:])) if rest[-1] else _NOT_FOUND


def _mirrorlist(source: bytes, profile: bytes | None, is_metalink: bool) -> Route | Refusal:
    if not _SOURCE.fullmatch(source) or (profile and not _SOURCE.fullmatch(profile)):
        return _NOT_FOUND
    name = profile.decode("ascii") if profile else None
    return MirrorList(source.decode("ascii"), name, is_metalink)
