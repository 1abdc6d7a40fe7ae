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
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from station.app.child import Child, ChildSpec, failures_before, restart_pause_s
from station.app.listeners import ListenError
from station.app.plan import (
    CONTROL,
    Sockets,
    control_spec,
    needs_restart,
    open_sockets,
    worker_specs,
)
from station.runtime.leash import DRAIN, READY, STOP, STORAGE_ANSWERS, STORAGE_STALLED
from station.runtime.lines import line, set_process
from station.runtime.notify import Watchdog, notify

# A balancer that checks every 500 ms and needs two failures has noticed by then.
CHECK_PERIOD_S = 1.5
STOP_S = 3.0  # control persists what it has and ends
HURRY_S = 1.5  # after a second signal; with the last kills that is less than two seconds
RESOLVE_S = 10.0  # at a reload; the supervisor stands still meanwhile
TURN_S = 0.5
PAUSED_AFTER_S = 2.0  # a turn takes no longer, unless we were stopped or the machine slept
POLL_S = 0.05

END_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """The processes of one station. `config`: as station.app.resolve prints it; read again at SIGHUP."""

    def __init__(self, config_path: Path, config: dict[str, Any]) -> None:
        self._config_path = config_path
        self._config = config
        self._children: dict[str, Child] = {}
        self._replaced: dict[str, Child] = {}  # at work until their successors are ready
        self._leaving: list[Child] = []  # told to stop; reaped, never started again
        self._awaited: dict[str, ChildSpec] = {}  # of a reload: those not ready yet
        self._due: dict[str, tuple[float, ChildSpec]] = {}  # name → when to start again
        self._failures: dict[str, int] = {}
        self._selector = selectors.DefaultSelector()
        self._signals: list[int] = []
        self._watchdog = Watchdog.from_environment()
        self._storage_stalled = False
        self._is_ready = False
        self._reload_requested = False
        self._stop_requested = False

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
            self._start(spec)
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
        began = boot_now()
        self._listen(TURN_S)
        self._obey_signals()
        now = boot_now()
        if now - began > PAUSED_AFTER_S:
            self._forgive_silence(now)
        self._reap(now)
        self._kill_the_silent(now)
        self._start_the_due(now)

    def _listen(self, seconds: float) -> None:
        """Reports and signals, for so long or until the first."""
        for key, _ in self._selector.select(seconds):
            key.data()
        self._watchdog.feed(boot_now())

    def _obey_signals(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number in END_SIGNALS:
                self._stop_requested = True
            elif number == signal.SIGHUP:
                self._reload_requested = True
        # One after the other: of several requests during a reload one is left. It is the cure of one that failed.
        is_failing = any(name in self._failures for name in self._awaited)
        is_free = is_failing or not self._awaited
        if self._reload_requested and is_free and not self._stop_requested:
            self._reload_requested = False
            self._reload()

    def _start(self, spec: ChildSpec) -> None:
        child = Child.start(spec, now=boot_now())
        self._children[spec.name] = child
        self._selector.register(
            child.leash, selectors.EVENT_READ, lambda child=child: self._listen_to(child)
        )

    def _listen_to(self, child: Child) -> None:
        try:
            reports = child.leash.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            reports = b""
        if not reports:
            self._unlisten(child)
            return
        child.last_beat = boot_now()
        child.has_beaten = True
        if READY in reports:
            self._became_ready(child)
        for report in reports:
            if report in (STORAGE_STALLED[0], STORAGE_ANSWERS[0]):
                self._storage_stalled = report == STORAGE_STALLED[0]

    def _became_ready(self, child: Child) -> None:
        name = child.spec.name
        if name == CONTROL:
            if not self._is_ready:
                self._is_ready = True
                notify("READY=1\nSTATUS=serving")
                line("info", "station.ready")
            self._replace_workers()
        if old := self._replaced.pop(name, None):
            self._retire(old, self._config["limits"]["drain_s"])
        if self._awaited.pop(name, None) and not self._awaited:
            notify("READY=1")
            line("info", "station.reloaded")

    def _unlisten(self, child: Child) -> None:
        if child.leash.fileno() < 0:
            return  # its end of the leash was seen before its death
        self._selector.unregister(child.leash)
        child.leash.close()

    def _reap(self, now: float) -> None:
        for child in [*self._children.values(), *self._replaced.values(), *self._leaving]:
            code = child.process.poll()
            if code is None:
                if now > child.kill_at:
                    child.kill()
                continue
            self._unlisten(child)
            if child in self._leaving:
                self._leaving.remove(child)
                continue
            name = child.spec.name
            if self._replaced.get(name) is child:
                del self._replaced[name]
                continue
            del self._children[name]
            lived_s = now - child.started_at
            failures = failures_before(lived_s, self._failures.get(name, 0))
            self._failures[name] = failures + 1
            pause = restart_pause_s(lived_s, failures)
            line("warning", "child.died", child=name, exit=code, restart_in_s=pause)
            self._due[name] = (now + pause, child.spec)

    def _forgive_silence(self, now: float) -> None:
        """It was us who stood still, and with us, as a rule, everybody: a thawed station keeps its workers."""
        line("warning", "supervisor.was_paused")
        for child in [*self._children.values(), *self._replaced.values()]:
            child.last_beat = now

    def _kill_the_silent(self, now: float) -> None:
        for child in [*self._children.values(), *self._replaced.values()]:
            if child.is_silent(now):
                line("error", "child.silent", child=child.spec.name, pid=child.process.pid)
                child.kill()
                # A process in an uninterruptible sleep is not killed each turn.
                child.last_beat = now

    def _start_the_due(self, now: float) -> None:
        for name, (when, spec) in list(self._due.items()):
            waits_for_storage = self._storage_stalled and spec.module.endswith("files_worker")
            # One registry, one writer: the next control waits for the end of the last.
            waits_for_control = name == CONTROL and any(
                child.spec.name == CONTROL for child in self._leaving
            )
            if now >= when and not waits_for_storage and not waits_for_control:
                del self._due[name]
                self._start(spec)

    # Reload and stop.

    def _reload(self) -> None:
        config = resolve_config(self._config_path)
        if config is None:
            line("error", "reload.refused", cure="the old settings stay in force")
            return
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        if keys := needs_restart(self._config, config):
            line("warning", "reload.needs_restart", keys=" ".join(keys))
        self._config = config
        self._awaited = {spec.name: spec for spec in self._specs()}
        self._due = {CONTROL: (0.0, self._awaited[CONTROL])}
        if control := self._children.pop(CONTROL, None):
            self._retire(control, STOP_S)

    def _replace_workers(self) -> None:
        """The new control is ready: start the successors. Both use the same sockets, so nobody is refused."""
        for name, spec in self._awaited.items():
            if name == CONTROL or self._is_on_its_way(spec):
                continue  # control died once more
            if old := self._children.pop(name, None):
                if name in self._replaced:
                    self._retire(old, 0.0)  # of a reload that failed: never ready
                else:
                    self._replaced[name] = old
            self._failures.pop(name, None)
            self._due.pop(name, None)
            self._start(spec)

    def _is_on_its_way(self, spec: ChildSpec) -> bool:
        """Whether this very successor runs or is due; one of an earlier reload, which failed, is another."""
        child, due = self._children.get(spec.name), self._due.get(spec.name)
        return (child is not None and child.spec is spec) or (due is not None and due[1] is spec)

    def _retire(self, child: Child, patience_s: float) -> None:
        child.kill_at = boot_now() + patience_s + STOP_S
        self._leaving.append(child)
        child.order(STOP)

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
        deadline = boot_now() + seconds
        while not is_true():
            if boot_now() > deadline or any(number in END_SIGNALS for number in self._signals):
                return False
            self._listen(POLL_S)
        return True

    def _stop_all(self) -> int:
        notify("STOPPING=1")
        line("info", "station.stopping")
        control = self._children.pop(CONTROL, None)
        workers = [*self._children.values(), *self._replaced.values(), *self._leaving]
        if control:
            control.order(DRAIN)
            self._wait(CHECK_PERIOD_S, lambda: False)
        for child in workers:
            child.order(STOP)
        is_hurried = any(number in END_SIGNALS for number in self._signals)
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


def boot_now() -> float:
    """Seconds since boot, suspension included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def main() -> None:
    """Run the station whose configuration STATION_CONFIG names and STATION_SETTINGS is, resolved by `station run`."""
    set_process("supervisor")
    settings = os.environ.pop("STATION_SETTINGS", "")
    if not settings:
        sys.exit("STATION_SETTINGS is not set; start with `station run --config FILE`")
    sys.exit(Supervisor(Path(os.environ["STATION_CONFIG"]), json.loads(settings)).run())


if __name__ == "__main__":
    main()
