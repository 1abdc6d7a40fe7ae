"""What a worker knows of the world: the newest snapshot, how fresh it is, the flips to come, and the fills.

No I/O: the feed puts messages in, the router asks. All times are boot-clock seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from station.http.view import Flip, Name, Shown, carry, edges, show
from station.model.snapshot import Snapshot, SourceView, from_wire
from station.runtime.lines import line
from station.serve.faults import NONE, Faults

DRAINING = "draining"  # as control gives it for the reason of a station that stops
FILL_KEPT_S = 5.0  # an ended fill is remembered for those who still wait for it
FillKey = tuple[
    str, str, str
]  # source, path, revision ("" is never asked: the worker knows where it found the path)


@dataclass(slots=True)
class Fill:
    """A missing file on its way. `file` grows until `is_done`; the pool has it then. Or `relay`, a socket, has it."""

    key: FillKey
    id: int
    asked_at: float
    is_known: bool = False  # control has answered
    sha256: str = ""
    size: int = -1
    file: str = ""
    relay: str = ""
    is_done: bool = False
    error: str = ""
    ended_at: float = 0.0
    watchers: list[Callable[[], None]] = field(default_factory=list)


class World:
    """The picture that requests are answered from."""

    def __init__(self, stale_s: float, faults: Faults = NONE) -> None:
        self._faults = faults
        self.snapshot = Snapshot()
        self.has_snapshot = False
        self.beat = float("-inf")
        self.is_draining = self.has_successor = False
        self.fills: dict[FillKey, Fill] = {}
        self._flips: dict[str, Flip] = {}
        self._edges: list[float] = []
        self._fills_by_id: dict[int, Fill] = {}
        self._stale_s = stale_s
        self._last_id = 0

    def is_fresh(self, now: float) -> bool:
        """Whether mutable names may be answered: control was heard of within stale_s."""
        is_recent = now - self.beat <= self._stale_s or self._faults.no_freshness
        return self.has_snapshot and is_recent

    def fresh_until(self) -> float:
        """When freshness ends unless control beats again."""
        return self.beat + self._stale_s

    def may_answer_stale(self) -> bool:
        """Nobody else is there to answer instead."""
        return self.has_snapshot and not self.snapshot.other_ready_members()

    @property
    def is_leaving(self) -> bool:
        """The worker drains, or the station is about to: connections that end now are not cut later."""
        return self.is_draining or self.snapshot.reason == DRAINING

    def drain(self) -> None:
        """The worker is to end. Where the whole station stops, nobody else accepts on its ports: the worker goes on, so
        that balancers hear that it drains. By silence they would take it for dead, and cut off those who are to finish.
        """
        self.is_draining = True
        self.has_successor = self.snapshot.reason != DRAINING

    def not_ready_reason(self, now: float) -> str:
        """Why /health/ready says no; "" when it says yes."""
        if self.is_draining:
            return DRAINING
        if not self.has_snapshot:
            return "no word from control yet"
        if not self.is_fresh(now) and not self.may_answer_stale():
            return "no word from control"
        if not self.snapshot.is_ready:
            return self.snapshot.reason or "not ready"
        return ""

    def source(self, source: str) -> SourceView | None:
        """What is known of a source."""
        return self.snapshot.sources.get(source)

    def shown(self, source: str, name: Name, now: float, *, is_zypp: bool = False) -> Shown:
        """Which revision a name of the live view shows now."""
        flip = self._flips.get(source)
        if self._faults.no_hold:
            name = Name.FIXED
        return show(flip, name, now, is_zypp=is_zypp) if flip else Shown("")

    def next_edge(self, now: float) -> float:
        """The next instant at which an answer changes by itself."""
        return min((edge for edge in self._edges if edge > now), default=float("inf"))

    def take(self, message: dict[str, Any], now: float) -> bool:
        """A message of control. True when answers may differ from now on. Raises KeyError, TypeError, ValueError."""
        changed = False
        if "beat" in message:
            self.beat = max(self.beat, float(message["beat"]))
        if "snapshot" in message:
            self._take_snapshot(from_wire(message["snapshot"]), now)
            changed = True
        if "fill" in message:
            self._take_fill(message["fill"], now)
            changed = True
        return changed

    def want(self, key: FillKey, now: float) -> tuple[Fill, bool]:
        """The fill of `key`, and whether control has yet to be asked for it."""
        fill = self.fills.get(key)
        if fill is not None:
            return fill, False
        self._last_id += 1
        fill = self.fills[key] = Fill(key, self._last_id, now)
        self._fills_by_id[fill.id] = fill
        return fill, True

    def open_fills(self) -> list[Fill]:
        """Fills that are not over: asked again when control comes back."""
        return [fill for fill in self.fills.values() if not fill.ended_at]

    def forget_fills(self, now: float, unanswered_s: float) -> None:
        """Drop fills that ended a while ago, and those nobody could still be waiting for."""
        for fill in list(self.fills.values()):
            over = fill.ended_at and now - fill.ended_at > FILL_KEPT_S
            lost = not fill.is_known and now - fill.asked_at > unanswered_s
            if (over or lost) and not fill.watchers:
                self.forget(fill)

    def forget(self, fill: Fill) -> None:
        """Whoever wants this file from now on asks control again."""
        self.fills.pop(fill.key, None)
        self._fills_by_id.pop(fill.id, None)

    def _take_snapshot(self, new: Snapshot, now: float) -> None:
        flips: dict[str, Flip] = {}
        for source, view in new.sources.items():
            flip = Flip(
                view.live.revision if view.live else "",
                view.next.revision if view.next else "",
                view.flip_at,
            )
            old = self._flips.get(source)
            flips[source] = carry(old, flip, now) if old else flip
        if not self.has_snapshot:
            line("info", "feed.snapshot", number=new.number, sources=len(new.sources))
        self._flips = flips
        self._edges = sorted({edge for flip in flips.values() for edge in edges(flip)})
        self.snapshot = new
        self.has_snapshot = True

    def _take_fill(self, message: dict[str, Any], now: float) -> None:
        fill = self._fills_by_id.get(int(message["id"]))
        if fill is None:
            return
        fill.is_known = True
        fill.sha256 = str(message.get("sha256") or "")
        size = message.get("size")
        fill.size = -1 if size is None else int(size)
        fill.file = str(message.get("file") or "")
        fill.relay = str(message.get("relay") or "")
        fill.is_done = bool(message["done"])
        fill.error = str(message.get("error") or "")
        if (fill.is_done or fill.error) and not fill.ended_at:
            fill.ended_at = now
        for watcher in list(fill.watchers):
            watcher()
        if message.get("again"):
            self.forget(fill)  # those who hold ask anew, and so does who was cut off
