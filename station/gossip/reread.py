"""Reading everything of one peer again, from nothing, beside what we have.

Two reasons. *Behind*: the peer has collected tombstones that we never saw (we come from a backup, or from nothing);
what we hold and it does not was deleted meanwhile and is dropped at the end, except our own writes that it has not
seen. *Hole*: digests agree but contents do not; then the union is kept.
"""

from collections.abc import Mapping

from station.gossip.delta import Delta, absorb, lacks
from station.gossip.entry import Digest, Origin, Version
from station.gossip.replica import Replica
from station.gossip.state import RecordKey

# Without progress for this long another peer may be better. Twice the deadline of one exchange.
SILENCE_S_MAX = 10.0


class Reread:
    """One such reading. `digest` is what we pretend to have seen, towards this peer only."""

    def __init__(
        self,
        peer: str,
        replica: Replica,
        *,
        is_behind: bool,
        theirs: Mapping[Origin, int],
        boot: float,
    ) -> None:
        self.peer = peer
        self.is_behind = is_behind
        self.digest: Digest = {}
        self.own_unseen = 0
        self._received: set[RecordKey] = set()
        self._suspects: dict[RecordKey, Version] = {}
        self._deadline = boot + SILENCE_S_MAX
        if is_behind:
            replica.lower(dict(theirs))
            for record, slot in replica.state.slots():
                entry = slot.winner
                is_own = entry.origin.station == replica.origin.station
                if is_own and entry.sequence > theirs.get(entry.origin, 0):
                    self.own_unseen += 1
                else:
                    self._suspects[record] = entry.version

    def is_overdue(self, boot: float) -> bool:
        """Whether the peer has gone silent (`boot`: seconds)."""
        return boot >= self._deadline

    def take(self, delta: Delta, replica: Replica, *, wall: float, boot: float) -> None:
        """Take in a delta that was computed against `digest`; one that is ahead of it is left alone."""
        done = absorb(replica.state, delta, self.digest, wall=wall)
        if done is None:
            return
        replica.account(delta.origin, done)
        self._received |= {(entry.kind, entry.key) for entry in delta.entries}
        if done.upto > self.digest.get(delta.origin, 0):
            self.digest[delta.origin] = done.upto
            self._deadline = boot + SILENCE_S_MAX

    def is_complete(self, theirs: Mapping[Origin, int]) -> bool:
        """Whether everything that the peer has seen was read."""
        return not lacks(self.digest, theirs)

    def finish(self, replica: Replica, collected: Mapping[Origin, int]) -> int:
        """Drop what the peer no longer has and believe what was read; how many records were dropped."""
        if not self.is_behind:
            return 0
        dropped = 0
        for (kind, key), version in self._suspects.items():
            slot = replica.state.slot(kind, key)
            if slot and slot.winner.version == version and (kind, key) not in self._received:
                replica.drop(kind, key)
                dropped += 1
        for origin, sequence in self.digest.items():
            replica.see(origin, sequence)
        replica.adopt_frontier(collected)
        return dropped
