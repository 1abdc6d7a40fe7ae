"""What the core asks of the world. Carried out strictly in order, by one task: what a Send says must be durable.

When a Persist fails the process must end: the core is then ahead of its disk.
"""

from dataclasses import dataclass

from station.gossip.entry import HighWater, Row


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes for a peer: a new request, or (`is_reply`) the answer to the request just received. At most one reply."""

    peer: str
    data: bytes
    is_reply: bool = False


@dataclass(frozen=True, slots=True)
class Persist:
    """Make these durable, all or none, before any later effect. See peering.ledger.Ledger.persist."""

    entries: tuple[Row, ...]
    high_water: HighWater


@dataclass(frozen=True, slots=True)
class Changed:
    """The readable value of these (kind, key) may be another now."""

    keys: frozenset[tuple[str, str]]

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds among the keys."""
        return frozenset(kind for kind, _ in self.keys)


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A member's heartbeat is seen again."""

    peer: str


@dataclass(frozen=True, slots=True)
class PeerDown:
    """No heartbeat of this member for PRESENT_S."""

    peer: str


@dataclass(frozen=True, slots=True)
class Refused:
    """This peer and we are not of one group: `field` differs. Said once for each new difference."""

    peer: str
    field: str
    ours: str
    theirs: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something a person should know.

    `code`: clone, rolled_back, new_epoch, behind, hole, stalled, malformed, not_a_member.
    """

    code: str
    detail: str
    peer: str = ""


Effect = Send | Persist | Changed | PeerUp | PeerDown | Refused | Alarm
