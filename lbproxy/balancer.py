"""Which backend gets the next connection. Pure: reports and `now` in, a backend out.

A backend goes down after `fall` failures in a row and up after `rise` successes in a row. One that falls again within
FLAP_WINDOW_S needs twice as many successes as the time before, so that a flapping one stays down instead of
taking clients each time. Draining is apart from health: no new connections, the old ones go on.
"""

import enum
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

FLAP_WINDOW_S = 60.0
REFUSED = "Connection refused"  # as a detail: nothing of it runs; what it sent may be on its way
_DOUBLINGS_MAX = 5  # rise 2 at two checks a second: half a minute of good behaviour at most


class Verdict(enum.Enum):
    """What a check found."""

    READY = "ready"
    NOT_READY = "not ready"  # answers, and does not want clients: what it has may finish
    SILENT = "silent"  # no answer in time, or no connection


@dataclass(eq=False)
class BackendState:
    """What the balancer knows of one backend. A new one is down until it proved itself."""

    name: str
    is_up: bool = False
    is_dead: bool = False
    is_draining: bool = False
    connections: int = 0
    total: int = 0
    successes: int = 0
    failures: int = 0
    silences: int = 0
    doublings: int = 0
    fell_at: float = float("-inf")
    transitions: int = 0
    detail: str = "not checked yet"

    @property
    def state(self) -> str:
        """For people: draining, up, dead or down."""
        is_down = "dead" if self.is_dead else "down"
        return "draining" if self.is_draining else "up" if self.is_up else is_down


S = TypeVar("S", bound=BackendState)


class Balancer(Generic[S]):
    """The backends of one front end, in their `states`."""

    def __init__(self, states: Sequence[S], policy: str, *, rise: int = 2, fall: int = 2) -> None:
        self.states, self._policy = states, policy
        self._rise, self._fall = rise, fall
        self._turn = 0

    def pick(self, source: str = "", tried: Collection[S] = ()) -> S | None:
        """The backend for a client with address `source`, none of `tried`; None when there is none.

        When none that is up is left, those that are down and not dead are tried: one that has just started holds its
        clients until it is ready. The connection is counted; whoever picked takes it off when it has ended.
        """
        untried = [s for s in self.states if not s.is_draining and s not in tried]
        candidates = [s for s in untried if s.is_up] or [s for s in untried if not s.is_dead]
        if not candidates:
            return None
        if self._policy == "source_hash":
            state = max(candidates, key=lambda s: _weight(source, s.name))
        else:
            self._turn += 1
            first = self._turn % len(candidates)
            turned = candidates[first:] + candidates[:first]  # equals take turns
            is_least = self._policy == "least_connections"
            state = min(turned, key=lambda s: s.connections) if is_least else turned[0]
        state.connections += 1
        state.total += 1
        return state

    def report(self, state: S, verdict: Verdict, now: float, detail: str = "") -> str:
        """What a check found at `now` (monotonic seconds). What changed: "", "up", "down", "dead" (silent too)."""
        state.detail = detail or verdict.value
        state.is_dead = state.is_dead and verdict is Verdict.SILENT
        if verdict is Verdict.READY:
            state.failures = state.silences = 0
            state.successes += 1
            if state.is_up or state.successes < self._rise << state.doublings:
                return ""
            state.is_up = True
            state.transitions += 1
            return "up"
        state.successes = 0
        state.failures += 1
        state.silences = state.silences + 1 if verdict is Verdict.SILENT else 0
        change = ""
        if state.is_up and state.failures >= self._fall:
            recent = now - state.fell_at < FLAP_WINDOW_S
            state.doublings = min(state.doublings + 1, _DOUBLINGS_MAX) if recent else 0
            state.is_up, state.fell_at = False, now
            state.transitions += 1
            change = "down"
        if not state.is_up and not state.is_dead and state.silences >= self._fall:
            state.is_dead = True
            change = "dead"
        return change


def _weight(source: str, name: str) -> bytes:
    """Rendezvous hashing: a backend that leaves moves only its own clients."""
    return hashlib.blake2b(f"{source}\0{name}".encode(), digest_size=8).digest()
