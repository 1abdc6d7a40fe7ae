"""What the proxy says of requests that have ended. Never headers, which may hold credentials."""

import asyncio
from typing import TYPE_CHECKING, Final

from lbproxy.relay import Tunnel
from station.runtime.lines import line
from station.serve.limits import Counters

if TYPE_CHECKING:
    from station.serve.proxy_connection import ProxyConnection

_REFUSALS_EVERY_S: Final = 1.0


class ProxyLog:
    """Counts every end. A line for each tunnel, unless `logs_access` is False; of refusals, one a second."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, counters: Counters, *, logs_access: bool
    ) -> None:
        self._loop, self._counters, self._logs_access = loop, counters, logs_access
        self._not_logged, self._logged_at = 0, 0.0

    def barred(self, client: str) -> None:
        """A client outside the ranges was there, and not a byte of it was read."""
        self._counters.add("proxy_barred")
        self._refusal(client=client, status=403, reason="not in proxy.hosts")

    def refused(self, connection: "ProxyConnection", status: int, reason: str) -> None:
        """The answer is ours: there is no tunnel."""
        self._counters.add(f"proxy_status_{status}")
        client, target = connection.source[0], _target(connection)
        self._refusal(client=client, target=target, status=status, reason=reason)

    def ended(self, connection: "ProxyConnection", tunnel: Tunnel) -> None:
        """A tunnel, or the answer of a target, is over."""
        self._counters.add(f"proxy_status_{connection.status}")
        up = connection.given[0] + tunnel.a.count
        down = connection.given[1] + tunnel.b.count
        self._counters.add("proxy_bytes_up", up)
        self._counters.add("proxy_bytes_down", down)
        request = connection.request
        if self._logs_access and request is not None:
            line(
                "info",
                "proxy.access",
                client=connection.source[0],
                method=request.method,
                target=_target(connection),
                status=connection.status,
                bytes_up=up,
                bytes_down=down,
                end=tunnel.close_reason,
            )

    def _refusal(self, **fields: object) -> None:
        """At most one line a second: refusals cost a client nothing."""
        now = self._loop.time()
        if now - self._logged_at >= _REFUSALS_EVERY_S:
            line("warning", "proxy.refused", **fields, not_logged=self._not_logged)
            self._not_logged, self._logged_at = 0, now
        else:
            self._not_logged += 1


def _target(connection: "ProxyConnection") -> str:
    request = connection.request
    return str(request.target) if request is not None and request.target else ""
