"""`station run`: owns the listening sockets, starts and replaces the processes, answers the service manager.

One thread and a selector. It decides nothing about mirroring and holds no data, so that it has no reason to die.

Signals: TERM or INT stops (not ready → one check period → drain → end), a second one ends within two seconds;
HUP reads the configuration again and replaces the processes: control first, then each worker, which takes over the
descriptors and is ready before the old one is told to drain.
"""

import fcntl
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from station.app.child import Child, ChildSpec
from station.app.children import STOP_S, Children
from station.app.listeners import ListenError
from station.app.plan import (
    CONTROL,
    Sockets,
    control_spec,
    needs_restart,
    open_sockets,
    worker_specs,
)
from station.app.reload import Reload, resolve_config
from station.runtime.clock import Clock, system_clock
from station.runtime.leash import DRAIN, STOP
from station.runtime.lines import line, set_process
from station.runtime.notify import Watchdog, notify

# A balancer that checks every 500 ms and needs two failures has noticed by then.
CHECK_PERIOD_S = 1.5
HURRY_S = 1.5  # after a second signal; with the last kills that is less than two seconds
TURN_S = 0.5
PAUSED_AFTER_S = 2.0  # a turn takes no longer, unless we were stopped or the machine slept
POLL_S = 0.05

END_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """The processes of one station. `config`: as station.app.resolve prints it; read again at SIGHUP."""

    def __init__(
        self, config_path: Path, config: dict[str, Any], clock: Clock | None = None
    ) -> None:
        self._config_path = config_path
        self._config = config
        self._clock = clock or system_clock()
        self._selector = selectors.DefaultSelector()
        self._children = Children(self._selector, self._clock, self._became_ready)
        self._reload = Reload(self._children)
        self._signals: list[int] = []
        self._watchdog = Watchdog.from_environment()
        self._is_ready = self._stop_requested = False

    def run(self) -> int:
        """Until told to stop. The exit code: 0 stopped, 2 no group, or something of ours is in use."""
        state = Path(self._config["state_directory"])
        if not (state / "identity.json").exists():
            line(
                "error",
                "station.no_group",
                cure="run `station group create` or `station join` first",
                state_directory=state,
            )
            return 2
        try:
            self._lock = lock(state)
            self._sockets: Sockets = open_sockets(self._config)
        except ListenError as error:
            line("error", "listen.failed", error=error.strerror)
            return 2
        except BlockingIOError:
            line("error", "station.runs_already", state_directory=state)
            return 2
        self._wake_on_signals()
        for spec in self._specs():
            self._children.start(spec)
        while not self._stop_requested:
            self._turn()
        return self._stop_all()

    def _specs(self) -> list[ChildSpec]:
        return [
            control_spec(self._config, self._sockets),
            *worker_specs(self._config, self._sockets),
        ]

    # One turn: signals, reports, deaths, silences, starts.

    def _turn(self) -> None:
        began = self._clock.boot()
        self._listen(TURN_S)
        self._obey_signals()
        now = self._clock.boot()
        if now - began > PAUSED_AFTER_S:
            self._children.forgive_silence(now)
        self._children.reap(now)
        self._children.kill_the_silent(now)
        self._children.start_the_due(now)

    def _listen(self, seconds: float) -> None:
        """Reports and signals, for so long or until the first."""
        for key, _ in self._selector.select(seconds):
            key.data()
        self._watchdog.feed(self._clock.boot())

    def _obey_signals(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number in END_SIGNALS:
                self._stop_requested = True
            elif number == signal.SIGHUP:
                self._reload.is_requested = True
        if self._reload.is_due and not self._stop_requested:
            self._reload.is_requested = False
            self._begin_reload()

    def _became_ready(self, spec: ChildSpec) -> None:
        if spec.name == CONTROL:
            if not self._is_ready:
                self._is_ready = True
                notify("READY=1\nSTATUS=serving")
                line("info", "station.ready")
            self._reload.replace_workers()
        self._children.took_over(spec.name, self._config["limits"]["drain_s"])
        self._reload.became_ready(spec)

    def _begin_reload(self) -> None:
        config = resolve_config(self._config_path)
        if config is None:
            line("error", "reload.refused", cure="the old settings stay in force")
            return
        if keys := needs_restart(self._config, config):
            line("warning", "reload.needs_restart", keys=" ".join(keys))
        self._config = config
        self._reload.begin(self._specs())

    def _await_end(self, children: list[Child], patience_s: float) -> None:
        """Until all have ended; those that have not by then, or HURRY_S after another signal, are killed."""
        if not self._wait(patience_s, lambda: have_ended(children)):
            for child in children:
                if child.process.poll() is None:
                    child.process.terminate()  # the second word to a worker that drains: end now
                    child.order(STOP)
            self._signals = [number for number in self._signals if number not in END_SIGNALS]
            self._wait(HURRY_S, lambda: have_ended(children))
        for child in children:
            if child.process.poll() is None:
                line("warning", "child.killed", child=child.spec.name)
                child.kill()

    def _wait(self, seconds: float, is_true: Callable[[], bool]) -> bool:
        """Listen until `is_true`. False: not within `seconds`, or there was a signal to end."""
        deadline = self._clock.boot() + seconds
        while not is_true():
            if self._clock.boot() > deadline or self._is_told_to_end:
                return False
            self._listen(POLL_S)
        return True

    def _stop_all(self) -> int:
        notify("STOPPING=1")
        line("info", "station.stopping")
        control = self._children.at_work.pop(CONTROL, None)
        workers = self._children.all()
        if control:
            control.order(DRAIN)
            self._wait(CHECK_PERIOD_S, lambda: False)
        for child in workers:
            child.order(STOP)
        is_hurried = self._is_told_to_end
        if not is_hurried:
            drain_s = self._config["limits"]["drain_s"]
            is_hurried = not self._wait(drain_s, lambda: have_ended(workers))
        # Workers tell control what they did until their end, so it goes last; in a hurry all go at once.
        self._await_end([*workers, *([control] if control and is_hurried else [])], 0.0)
        if control and not is_hurried:
            control.order(STOP)
            self._await_end([control], STOP_S)
        line("info", "station.stopped")
        return 0

    @property
    def _is_told_to_end(self) -> bool:
        return any(number in END_SIGNALS for number in self._signals)

    def _wake_on_signals(self) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        signal.set_wakeup_fd(theirs.fileno())
        self._wakeup = (ours, theirs)
        self._selector.register(ours, selectors.EVENT_READ, lambda: ours.recv(64))
        for number in (*END_SIGNALS, signal.SIGHUP):
            signal.signal(number, lambda number, _frame: self._signals.append(number))
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)


def have_ended(children: list[Child]) -> bool:
    """Whether none of them runs any more."""
    return all(child.process.poll() is not None for child in children)


def lock(state: Path) -> int:
    """Hold the state directory until this process ends. Raises BlockingIOError when another station has it."""
    directory = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return directory


def main() -> None:
    """Run the station whose configuration STATION_CONFIG names and STATION_SETTINGS is, resolved by `station run`."""
    set_process("supervisor")
    settings = os.environ.pop("STATION_SETTINGS", "")
    if not settings:
        sys.exit("STATION_SETTINGS is not set; start with `station run --config FILE`")
    sys.exit(Supervisor(Path(os.environ["STATION_CONFIG"]), json.loads(settings)).run())


if __name__ == "__main__":
    main()
