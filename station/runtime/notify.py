"""sd_notify: what the service manager is told (man 3 sd_notify)."""

import os
import socket
from dataclasses import dataclass


def notify(state: str) -> None:
    """Send `READY=1`, `STOPPING=1`, `WATCHDOG=1`, `STATUS=…`; nothing when no manager listens. Never raises."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto(state.encode(), address)
    except OSError:
        pass  # a manager that is gone is told nothing; the service goes on


@dataclass(slots=True)
class Watchdog:
    """Says WATCHDOG=1 twice in each period that the manager set, however often it is fed."""

    period_s: float | None  # None: the manager watches nothing
    _due: float = 0.0

    @classmethod
    def from_environment(cls) -> "Watchdog":
        """WATCHDOG_USEC as set by the manager for this process."""
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        is_ours = os.environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        if is_ours and microseconds.isdecimal():
            return cls(int(microseconds) / 1_000_000)
        return cls(None)

    def feed(self, now: float) -> None:
        """Called each turn, `now` in seconds of any steady clock."""
        if self.period_s is not None and now >= self._due:
            self._due = now + self.period_s / 2
            notify("WATCHDOG=1")
