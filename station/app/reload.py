"""A reload: the file is read again, control starts anew, and its workers are replaced once it is ready."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from station.app.child import ChildSpec
from station.app.children import Children
from station.app.plan import CONTROL
from station.runtime.lines import line
from station.runtime.notify import notify

RESOLVE_S = 10.0  # the supervisor stands still meanwhile


class Reload:
    """What of a reload is still to come. Requests are taken one after the other: of several, one is left."""

    def __init__(self, children: Children) -> None:
        self.is_requested = False
        self._children = children
        self._awaited: dict[str, ChildSpec] = {}  # those not ready yet

    @property
    def is_due(self) -> bool:
        """One is requested, and none is under way, or one that fails, whose cure it is."""
        is_failing = any(self._children.is_failing(name) for name in self._awaited)
        return self.is_requested and (is_failing or not self._awaited)

    def begin(self, specs: list[ChildSpec]) -> None:
        """Start control anew; the workers' turn comes with `replace_workers`."""
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self._awaited = {spec.name: spec for spec in specs}
        self._children.start_anew(self._awaited[CONTROL])

    def replace_workers(self) -> None:
        """The new control is ready: start the successors. Both use the same sockets, so nobody is refused."""
        for name, spec in self._awaited.items():
            if name != CONTROL:
                self._children.replace(spec)

    def became_ready(self, spec: ChildSpec) -> None:
        """One successor less to wait for, unless it is one of the old settings that had just started."""
        if self._awaited.get(spec.name) is not spec:
            return
        del self._awaited[spec.name]
        if not self._awaited:
            notify("READY=1")
            line("info", "station.reloaded")


def resolve_config(path: Path) -> dict[str, Any] | None:
    """The configuration by way of a short-lived process; None after its problems were printed."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "station.app.resolve", str(path)],
            stdout=subprocess.PIPE,
            check=False,
            timeout=RESOLVE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        line("error", "config.unreadable", error=str(error))
        return None
    if done.returncode:
        return None
    config: dict[str, Any] = json.loads(done.stdout)
    return config
