"""Who shares this storage: each station keeps a file with a random word fresh, and reads the words of the others.

A station that finds in `staging/` the word that a peer says to be its newest sees the same storage. A copied disk
has the same storage id, but no fresh words.
"""

import os
import secrets

from station.runtime.durable import make_directory, write_new
from station.storage.layout import Layout

KEEP = 3  # words per station: gossip may still tell the one before
WORD_BYTES = 16
STATIONS_MAX = 1000
_PREFIX = "seen-"


def refresh_word(layout: Layout, station: str) -> str:
    """Write a new word of ours, remove those before the last KEEP, return it. Raises OSError."""
    own = layout.staging(station)
    make_directory(layout.partial(station), layout.staging_directory)
    known = _words(layout, station)
    number = int(known[-1].split("-")[0]) + 1 if known else 1
    word = f"{number:012d}-{secrets.token_hex(WORD_BYTES)}"
    write_new(own / f"{_PREFIX}{word}", b"", temp=layout.partial(station) / f"seen-{word}")
    for old in known[: 1 - KEEP]:
        (own / f"{_PREFIX}{old}").unlink(missing_ok=True)
    return word


def read_words(layout: Layout) -> dict[str, list[str]]:
    """The words of all stations on this storage, each oldest first. Raises OSError."""
    names = sorted(os.listdir(layout.staging_directory))[:STATIONS_MAX]
    found = {name: _words(layout, name) for name in names if not name.startswith(".")}
    return {name: words for name, words in found.items() if words}


def _words(layout: Layout, station: str) -> list[str]:
    try:
        names = os.listdir(layout.staging_directory / station)
    except (FileNotFoundError, NotADirectoryError):
        return []
    words = [name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)]
    return sorted(word for word in words if word.split("-")[0].isdecimal())
