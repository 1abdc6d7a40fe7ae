"""From the exact bytes of a request head to the complete answer: what makes small files as fast as nginx's.

Heads of dnf, curl and monitors repeat byte by byte. An entry lives a second at most (the Date header is in it), and
never over an instant at which an answer could change: a flip, its hold, a new snapshot, the end of freshness.
"""

from station.serve.limits import Limits
from station.serve.world import World

LIFE_S = 1.0


class Memo:
    """One per scheme, and one that is not used, for where equal heads may mean different things.

    `answers`, and `last_answers` after which the connection is closed, may be read directly while boot-clock time is
    before `valid_until`.
    """

    def __init__(self, world: World, limits: Limits, *, is_used: bool = True) -> None:
        self.answers: dict[bytes, bytes] = {}
        self.last_answers: dict[bytes, bytes] = {}
        self.valid_until = 0.0
        self.hits: dict[bytes, int] = {}  # by status, as in the answer's first line
        self.hit_bytes = 0
        self._world = world
        self._entries = limits.memo_entries if is_used else 0
        self._bytes = limits.memo_bytes
        self._room = 0

    def hit(self, answer: bytes, sent: int) -> None:
        """An answer from here was sent, or a part of it."""
        status = answer[9:12]
        self.hits[status] = self.hits.get(status, 0) + 1
        self.hit_bytes += sent

    def clear(self) -> None:
        """Forget all: something changed."""
        self.answers.clear()
        self.last_answers.clear()
        self.valid_until = 0.0

    def put(self, head: bytes, data: bytes, now: float, *, is_last: bool = False) -> None:
        """Remember an answer that was made at `now`, the boot clock read *before* it was made."""
        if now >= self.valid_until:
            self.clear()
            self._room = self._bytes
            world = self._world
            if not world.is_fresh(now) or world.is_draining:
                return
            self.valid_until = min(now + LIFE_S, world.fresh_until(), world.next_edge(now))
        answers = self.last_answers if is_last else self.answers
        size = len(head) + len(data)
        if size <= self._room and len(answers) < self._entries and head not in answers:
            self._room -= size
            answers[head] = data
