"""The one table of limits of the data plane, with a counter for each limit that was hit.

Every buffer has its bound and every wait its deadline here; a worker's settings may change a value, never the names.
"""

import resource
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

_DESCRIPTORS_RESERVED = 64  # listeners, feed, manifests, what Python opens
_DESCRIPTORS_EACH = 2  # a connection, and the file or the relay behind it


@dataclass(frozen=True, slots=True)
class Limits:
    """Values and their reasons. Seconds, bytes, or counts."""

    connections: int = 4096  # of one worker; cut to what the descriptors allow
    # Accepted beyond `connections`: their health checks are answered, the rest waits.
    waiting: int = 1000
    waiting_s: float = 60.0  # then closed without an answer, so that the client tries elsewhere
    per_address: int = 1024  # a site behind one NAT address; balancers have no such cap
    requests: int = 100_000  # on one connection, so that an old worker is left some day
    preface_s: float = 3.0  # for a balancer's header, which comes at once
    head_s: float = 10.0  # for a whole request head, from its first byte or from accept
    handshake_s: float = 10.0
    idle_s: float = 60.0  # keep-alive; dnf's own pause between two files is shorter
    rate_bytes: int = 1024  # a reader slower than this per second …
    rate_s: float = 60.0  # … over this long is ended
    linger_s: float = 2.0  # to let a refused client read why
    answer_s: float = 60.0  # for the head of an origin's answer, or the outer proxy's
    tunnels: int = 5000  # of one proxy worker; cut to what the descriptors allow
    tunnels_per_client: int = 256
    stale_s: float = 2.0  # age of control's beat beyond which mutable names are held
    stale_hold_s: float = 10.0
    unpublished_hold_s: float = 20.0
    manifest_hold_s: float = 10.0
    fill_start_s: float = 25.0  # dnf gives up after 30 s without a byte
    fill_stall_s: float = 25.0
    held: int = 1000  # requests that wait for control at one time
    wants: int = 256  # questions to control that are open at one time
    relays: int = 256  # requests that control is answering at one time
    relay_idle_s: float = 120.0
    small_bytes: int = 128 * 1024  # files up to this size are sent from memory
    body_cache_bytes: int = 32 * 1024 * 1024
    memo_bytes: int = 16 * 1024 * 1024
    memo_entries: int = 4096
    manifests: int = 64  # open at one time
    drain_s: float = 20.0
    drain_idle_s: float = 2.0

    @classmethod
    def from_settings(cls, settings: Mapping[str, object]) -> Self:
        """The table with the values of `settings`. Raises ValueError, naming the key."""
        known = {field.name: field.type for field in fields(cls)}
        changed: dict[str, Any] = {}
        for key, value in settings.items():
            if key not in known:
                raise ValueError(f"limits.{key}: no such limit")
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise ValueError(f"limits.{key}: expected a number above 0, not {value!r}")
            changed[key] = int(value) if known[key] is int else float(value)
        return replace(cls(), **changed)

    def fitted(self) -> Self:
        """The same, with `connections` and `waiting` cut to the descriptors this process may open."""
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        room = max(16, (allowed - _DESCRIPTORS_RESERVED - self.manifests) // _DESCRIPTORS_EACH)
        connections = min(self.connections, max(8, room * 3 // 4))
        return replace(
            self, connections=connections, waiting=min(self.waiting, max(8, room - connections))
        )


class Counters:
    """Named counts that only grow, sent to control each second."""

    def __init__(self) -> None:
        self._values: dict[str, int] = {}

    def add(self, name: str, amount: int = 1) -> None:
        """Add to a count."""
        self._values[name] = self._values.get(name, 0) + amount

    def hit(self, limit: str) -> None:
        """A limit did its work."""
        self.add(f"limit_{limit}")

    def value(self, name: str) -> int:
        """The count so far."""
        return self._values.get(name, 0)

    def all(self) -> dict[str, int]:
        """A copy of all counts."""
        return dict(self._values)
