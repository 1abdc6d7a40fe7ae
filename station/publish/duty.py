"""Which station acts first for a source, by rendezvous hash: nobody is elected, nothing is stored.

Duty avoids double work, it does not forbid it: every act under it is harmless when two stations do it. It moves when
a station is no longer present, and moves only the sources which that station had.
"""

import functools
import hashlib
from collections.abc import Iterable


def holder(source: str, stations: Iterable[str]) -> str:
    """The station that has the duty for `source` among `stations`. Raises ValueError if there is none."""
    names = list(stations)
    if not names:
        raise ValueError(f"nobody is there to have the duty for {source}")
    return max(names, key=lambda name: _weight(source, name))


def collector(storage_id: str, stations: Iterable[str]) -> str:
    """The station that collects garbage on a storage, among those that share it. Raises ValueError if there is none."""
    return holder(f"collection of {storage_id}", stations)


@functools.lru_cache(maxsize=8192)  # some hundred sources, nine stations; asked each second
def _weight(what: str, station: str) -> tuple[bytes, str]:
    # The separator is in no name; the name itself settles the equal hashes that will never be.
    return hashlib.sha256(f"{what}\0{station}".encode()).digest(), station
