"""Names that are safe in a path and in a URL, parsed once.

A `SourceId` that exists is one path segment without dots at its start; after parsing nobody checks strings again.
"""

import re
from typing import Self

NAME_LENGTH_MAX = 128  # a file name may have 255 bytes; leaves room for prefixes and suffixes


class InvalidName(ValueError):
    """The text is no such name. Nothing was changed; the message says what a name looks like."""


class _Name(str):
    __slots__ = ()
    _what = "name"
    _pattern = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
    _looks_like = "1-128 letters, digits, '.', '_' or '-', beginning with a letter or digit"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The text as a name. Raises InvalidName, naming the text and the rule."""
        if not cls._pattern.fullmatch(text):
            raise InvalidName(f"{text[:80]!r} is not a {cls._what}: {cls._looks_like}")
        return cls(text)


class SourceId(_Name):
    """A software source: `ol9_baseos_latest`."""

    __slots__ = ()
    _what = "source id"


class ProfileName(_Name):
    """A profile: `web-servers`."""

    __slots__ = ()
    _what = "profile name"


class InstanceId(_Name):
    """An instance, chosen by the client so that a repeated registration is one record."""

    __slots__ = ()
    _what = "instance id"


class StationName(_Name):
    """A station as people call it: unique in its group."""

    __slots__ = ()
    _what = "station name"


class Revision(_Name):
    """Identity of one state of a source: sha256 over repomd.xml, repomd.xml.asc, repomd.xml.key."""

    __slots__ = ()
    _what = "revision"
    _pattern = re.compile(r"[0-9a-f]{64}")
    _looks_like = "64 hexadecimal digits"
