"""One supervised child: how it is started, whether it is silent, when it may be started again."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from station.runtime.leash import LEASH_FD_VARIABLE, SILENT_AFTER_S
from station.runtime.lines import line

RESTART_PAUSE_S = 0.2
RESTART_PAUSE_MAX_S = 5.0
STEADY_AFTER_S = 10.0  # a child that lived this long starts again without a pause

# Imports take a second on a busy machine; a child that has not beaten yet gets this long.
START_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to start: `python -m module`, with settings and inherited descriptors.

    `environment`: what it gets where our own environment does not say otherwise.
    """

    name: str
    module: str
    settings: dict[str, Any]
    descriptors: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Child:
    """A running child and the supervisor's end of its leash."""

    spec: ChildSpec
    process: subprocess.Popen[bytes]
    leash: socket.socket
    started_at: float
    last_beat: float
    has_beaten: bool = False
    kill_at: float = field(default=float("inf"))

    @classmethod
    def start(cls, spec: ChildSpec, *, now: float) -> "Child":
        """Start the process. `now` in boot-clock seconds. Raises OSError."""
        ours, theirs = socket.socketpair()
        environment = {**spec.environment, **os.environ}
        environment["STATION_SETTINGS"] = json.dumps(spec.settings)
        environment[LEASH_FD_VARIABLE] = str(theirs.fileno())
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
            environment.pop(name, None)  # the service manager hears the supervisor alone
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", spec.module],
                env=environment,
                pass_fds=(*spec.descriptors, theirs.fileno()),
                stdin=subprocess.DEVNULL,
            )
        finally:
            theirs.close()
        ours.setblocking(False)
        line("info", "child.started", child=spec.name, pid=process.pid)
        return cls(spec, process, ours, started_at=now, last_beat=now)

    def is_silent(self, now: float) -> bool:
        """True when its loop has not turned for SILENT_AFTER_S."""
        allowed = SILENT_AFTER_S if self.has_beaten else START_DEADLINE_S
        return now - self.last_beat > allowed

    def order(self, word: bytes) -> None:
        """Send an order; a child that cannot take it is on its way out already."""
        try:
            self.leash.send(word)
        except OSError as error:
            line("debug", "child.unreachable", child=self.spec.name, error=str(error))

    def kill(self) -> None:
        """SIGKILL. A process in an uninterruptible sleep ends when the kernel lets it."""
        self.process.send_signal(signal.SIGKILL)


def restart_pause_s(lived_s: float, failures: int) -> float:
    """How long to wait before a child is started again, growing while it keeps dying young."""
    if lived_s >= STEADY_AFTER_S:
        return 0.0
    return float(min(RESTART_PAUSE_S * 2**failures, RESTART_PAUSE_MAX_S))


def failures_before(lived_s: float, failures: int) -> int:
    """How many deaths in a row there were before this one; a child that lived long enough begins anew."""
    return 0 if lived_s >= STEADY_AFTER_S else failures
