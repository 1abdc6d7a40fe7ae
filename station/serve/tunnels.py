"""How many tunnels the proxy has, in all and for each client, and how many it may have."""

import resource

from lbproxy.relay import PIPES_MAX
from station.serve.limits import Counters, Limits

WAITING_MAX = 1000  # connections beyond the tunnels whose head is still read: health is answered
_DESCRIPTORS_RESERVED = 64 + 2 * PIPES_MAX


class Tunnels:
    """Counts those that are there, and says no beyond the limits."""

    def __init__(self, limits: Limits, counters: Counters) -> None:
        self.count = 0
        self.count_max = _possible(limits.tunnels)
        self._per_client_max = limits.tunnels_per_client
        self._by_client: dict[str, int] = {}
        self._counters = counters

    def admit(self, client: str) -> tuple[int, str] | None:
        """Count one more of this client, or say with which status and reason not."""
        count = self._by_client.get(client, 0)
        if count >= self._per_client_max:
            self._counters.hit("tunnels_per_client")
            return 429, "too many tunnels from your address"
        if self.count >= self.count_max:
            self._counters.hit("tunnels")
            return 503, "too many tunnels"
        self.count += 1
        self._by_client[client] = count + 1
        return None

    def leave(self, client: str) -> None:
        """One that was admitted has ended."""
        self.count -= 1
        count = self._by_client[client] - 1
        if count:
            self._by_client[client] = count
        else:
            del self._by_client[client]


def _possible(wanted: int) -> int:
    """How many tunnels the limit of descriptors allows, two for each; raises the soft limit as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = _DESCRIPTORS_RESERVED + WAITING_MAX + 2 * wanted
    if soft < need:
        soft = need if hard == resource.RLIM_INFINITY else min(need, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(wanted, max(8, (soft - _DESCRIPTORS_RESERVED - WAITING_MAX) // 2))
