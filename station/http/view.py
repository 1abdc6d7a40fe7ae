"""Which revision a name shows at an instant: the flip, and the hold around it. Pure: the clock is an argument.

All stations flip at T, but their clocks differ by up to 250 ms. A client that reads repomd.xml, then its signature,
must not get one of each kind: the name that is asked first is held over T, the others flip at T.

The hold begins as early as a client may be cut off between its two requests: where the second one meets a station that
has just frozen, the balancer needs up to 2.6 s to end that connection (500 ms to the next check, 1 s until it has
failed, 100 ms to the second one, 1 s), and dnf asks another station after that. With a hold that began at T - 1 s such
clients failed.
"""

import re
from dataclasses import dataclass
from enum import Enum

HOLD_BEFORE_S = 3.0  # a client's gap between its two requests, one of them cut off, and the skew
HOLD_AFTER_S = 0.25  # the greatest skew under which nobody flips before everybody may

_HASH_NAMED = re.compile(rb"[0-9a-f]{32,128}-")
_MUTABLE_PREFIX = b"repodata/repomd.xml"


class Name(Enum):
    """How a path behaves when a revision flips."""

    REPOMD = "repomd.xml"
    SIGNATURE = "repomd.xml.asc, repomd.xml.key"
    PLAIN = "metadata without a checksum in its name"
    FIXED = "means the same bytes in every revision, or nearly always"


@dataclass(frozen=True, slots=True)
class Flip:
    """A source's publication now, and the one to come. `""` stands for none; `at` is in boot-clock seconds."""

    live: str = ""
    next: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Shown:
    """The revision to answer with, or, where it is `""`, the instant to ask again (0: nothing is known to come)."""

    revision: str
    held_until: float = 0.0


def name_of(path: bytes) -> Name:
    """How `path` (below the source) behaves at a flip."""
    if path.startswith(_MUTABLE_PREFIX):
        suffix = path[len(_MUTABLE_PREFIX) :]
        if not suffix:
            return Name.REPOMD
        if suffix in (b".asc", b".key"):
            return Name.SIGNATURE
    if path.startswith(b"repodata/") and not _HASH_NAMED.match(path, len(b"repodata/")):
        return Name.PLAIN
    return Name.FIXED


def show(flip: Flip, name: Name, now: float, *, is_zypp: bool = False) -> Shown:
    """What `name` shows at boot-clock second `now`.

    dnf asks for repomd.xml first, so it is held from T - 3 s to T + 250 ms; ZYpp asks for the signature first, so
    for it the signature is held and repomd.xml flips at T. A first publication is not held: there is no other.
    """
    if not flip.next:
        return Shown(flip.live)
    if not flip.live:
        return Shown(flip.next) if now >= flip.at else Shown("", flip.at)
    first_asked = Name.SIGNATURE if is_zypp else Name.REPOMD
    if name is first_asked and flip.at - HOLD_BEFORE_S <= now < flip.at + HOLD_AFTER_S:
        return Shown("", flip.at + HOLD_AFTER_S)
    return Shown(flip.next if now >= flip.at else flip.live)


def carry(old: Flip, new: Flip, now: float) -> Flip:
    """The flip to go by when `new` arrives: `old` until its hold is over, where `new` only says that it happened."""
    is_same_flip = bool(old.next) and new.live == old.next and not new.next
    return old if is_same_flip and now < old.at + HOLD_AFTER_S else new


def edges(flip: Flip) -> tuple[float, ...]:
    """The instants at which an answer of this source changes."""
    if not flip.next:
        return ()
    return (flip.at - HOLD_BEFORE_S, flip.at, flip.at + HOLD_AFTER_S)
