"""From the exact bytes of a request head to the complete answer: what makes small files as fast as nginx's.

Of a large file it is the answer's head and how to open the file.

Heads of dnf, curl and monitors repeat byte by byte. An entry lives a second at most (the Date header is in it), and
never over an instant at which an answer could change: a flip, its hold, a new snapshot, the end of freshness.
"""

from station.serve.limits import Limits
from station.serve.reply import FromFile
from station.serve.world import World

LIFE_S = 1.0


class Memo:
    """One per scheme, and one that is not used, for where equal heads may mean different things.

    `answers`, `last_answers` after which the connection is closed, and `files` may be read directly while boot-clock
    time is before `valid_until`.
    """

    def __init__(self, world: World, limits: Limits, *, is_used: bool = True) -> None:
        self.answers: dict[bytes, bytes] = {}
        self.last_answers: dict[bytes, bytes] = {}
        self.files: dict[bytes, FromFile] = {}
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
        self.files.clear()
        self.valid_until = 0.0

    def put(self, head: bytes, data: bytes, now: float, *, is_last: bool = False) -> None:
        """Remember an answer that was made at `now`, the boot clock read *before* it was made."""
        answers = self.last_answers if is_last else self.answers
        if self._takes(len(head) + len(data), len(answers), now):
            answers[head] = data

    def put_file(self, head: bytes, reply: FromFile, now: float) -> None:
        """The same for a large file. Its descriptor is the connection's: only `reopen` is used later."""
        if self._takes(len(head) + len(reply.head), len(self.files), now):
            self.files[head] = reply

    def _takes(self, size: int, count: int, now: float) -> bool:
        """Whether there is room for one more entry of `size` bytes beside `count` others of its kind."""
        if now >= self.valid_until:
            self.clear()
            count, self._room = 0, self._bytes
            world = self._world
            if not world.is_fresh(now) or world.is_draining:
                return False
            self.valid_until = min(now + LIFE_S, world.fresh_until(), world.next_edge(now))
        if size > self._room or count >= self._entries:
            return False
        self._room -= size
        return True
