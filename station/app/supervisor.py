"""`station run`: owns the listening sockets, starts and replaces the processes, answers the service manager.

One thread and a selector. It decides nothing about mirroring and holds no data, so that it has no reason to die.

Signals: TERM or INT stops (not ready → one check period → drain → end), a second one ends within two seconds;
HUP reads the configuration again and replaces the processes while the old workers drain.
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from station.app.child import Child, ChildSpec, restart_pause_s
from station.app.listeners import ListenError
from station.app.plan import Sockets, control_spec, open_sockets, worker_specs
from station.runtime.leash import DRAIN, READY, STOP, STORAGE_ANSWERS, STORAGE_STALLED
from station.runtime.lines import line, set_process
from station.runtime.notify import notify, watchdog_every_s

# A balancer that checks every 500 ms and needs two failures has noticed by then.
CHECK_PERIOD_S = 1.5
DRAIN_S = 20.0
STOP_S = 3.0  # control persists what it has and ends
HURRY_S = 2.0
TURN_S = 0.5


class Supervisor:
    """The processes of one station."""

    def __init__(self, config_path: Path) -> None:
        self._config_path = config_path
        self._children: dict[str, Child] = {}
        self._leaving: list[Child] = []  # replaced or stopping; reaped, never restarted
        self._due: dict[str, tuple[float, ChildSpec]] = {}  # name → when to start again
        self._failures: dict[str, int] = {}
        self._selector = selectors.DefaultSelector()
        self._signals: list[int] = []
        self._storage_stalled = False
        self._is_ready = False
        self._stop_requested = False

    def run(self) -> int:
        """Until told to stop. The exit code: 0 stopped, 1 failed, 2 bad configuration or a port in use."""
        config = resolve_config(self._config_path)
        if config is None:
            return 2
        if not (Path(config["state_directory"]) / "identity.json").exists():
            line(
                "error",
                "station.no_group",
                cure="run `station group create` or `station join` first",
                state_directory=config["state_directory"],
            )
            return 2
        try:
            self._sockets: Sockets = open_sockets(config)
        except ListenError as error:
            line("error", "listen.failed", error=error.strerror)
            return 2
        self._wake_on_signals()
        for spec in [control_spec(config, self._sockets), *worker_specs(config, self._sockets)]:
            self._start(spec)
        while not self._stop_requested:
            self._turn()
        return self._stop_all()

    # One turn: signals, reports, deaths, silences, starts.

    def _turn(self) -> None:
        for key, _ in self._selector.select(TURN_S):
            key.data()
        self._obey_signals()
        now = boot_now()
        self._reap(now)
        self._kill_the_silent(now)
        self._start_the_due(now)
        self._feed_watchdog(now)

    def _obey_signals(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop_requested = True
            elif number == signal.SIGHUP:
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
        if not child.has_beaten:
            child.has_beaten = True
            self._failures.pop(child.spec.name, None)
        if READY in reports and not self._is_ready:
            self._is_ready = True
            notify("READY=1\nSTATUS=serving")
            line("info", "station.ready")
        for report in reports:
            if report in (STORAGE_STALLED[0], STORAGE_ANSWERS[0]):
                self._storage_stalled = report == STORAGE_STALLED[0]

    def _unlisten(self, child: Child) -> None:
        if child.leash.fileno() < 0:
            return  # its end of the leash was seen before its death
        self._selector.unregister(child.leash)
        child.leash.close()

    def _reap(self, now: float) -> None:
        for child in [*self._children.values(), *self._leaving]:
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
            del self._children[name]
            failures = self._failures.get(name, 0)
            self._failures[name] = failures + 1
            pause = restart_pause_s(now - child.started_at, failures)
            line("warning", "child.died", child=name, exit=code, restart_in_s=pause)
            self._due[name] = (now + pause, child.spec)

    def _kill_the_silent(self, now: float) -> None:
        for child in self._children.values():
            if child.is_silent(now):
                line("error", "child.silent", child=child.spec.name, pid=child.process.pid)
                child.kill()
                child.last_beat = (
                    now  # a process in an uninterruptible sleep is not killed each turn
                )

    def _start_the_due(self, now: float) -> None:
        for name, (when, spec) in list(self._due.items()):
            waits_for_storage = self._storage_stalled and spec.module.endswith("files_worker")
            if now >= when and not waits_for_storage:
                del self._due[name]
                self._start(spec)

    def _feed_watchdog(self, now: float) -> None:
        if watchdog_every_s() is not None:
            notify("WATCHDOG=1")

    # Reload and stop.

    def _reload(self) -> None:
        config = resolve_config(self._config_path)
        if config is None:
            line("error", "reload.refused", cure="the old settings stay in force")
            return
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        specs = [control_spec(config, self._sockets), *worker_specs(config, self._sockets)]
        old = dict(self._children)
        self._retire(old["control"], STOP_S)
        self._await_end([old.pop("control")], STOP_S)
        for spec in specs:
            self._due.pop(spec.name, None)
            self._start(spec)
        self._await_first_beats(STOP_S)
        for child in old.values():
            self._retire(child, DRAIN_S)
        notify("READY=1")
        line("info", "station.reloaded")

    def _retire(self, child: Child, patience_s: float) -> None:
        child.is_stopping = True
        child.kill_at = boot_now() + patience_s + STOP_S
        self._children.pop(child.spec.name, None)
        self._leaving.append(child)
        child.order(STOP)

    def _await_first_beats(self, patience_s: float) -> None:
        deadline = boot_now() + patience_s
        while boot_now() < deadline and not all(c.has_beaten for c in self._children.values()):
            for key, _ in self._selector.select(0.1):
                key.data()

    def _await_end(self, children: list[Child], patience_s: float) -> None:
        deadline = boot_now() + patience_s
        while boot_now() < deadline and any(c.process.poll() is None for c in children):
            for key, _ in self._selector.select(0.05):
                key.data()
            if any(s in (signal.SIGTERM, signal.SIGINT) for s in self._signals):
                self._signals.clear()
                deadline = min(deadline, boot_now() + HURRY_S)
        for child in children:
            if child.process.poll() is None:
                line("warning", "child.killed", child=child.spec.name)
                child.kill()

    def _stop_all(self) -> int:
        notify("STOPPING=1")
        line("info", "station.stopping")
        control = self._children.pop("control", None)
        workers = [*self._children.values(), *self._leaving]
        if control:
            control.order(DRAIN)
            self._await_end_of_check_period()
        for child in workers:
            child.order(STOP)
        hurried = any(s in (signal.SIGTERM, signal.SIGINT) for s in self._signals)
        self._await_end(workers, HURRY_S if hurried else DRAIN_S)
        if control:
            control.order(STOP)
            self._await_end([control], STOP_S)
        line("info", "station.stopped")
        return 0

    def _await_end_of_check_period(self) -> None:
        deadline = boot_now() + CHECK_PERIOD_S
        while boot_now() < deadline and not self._signals:
            for key, _ in self._selector.select(0.1):
                key.data()

    def _wake_on_signals(self) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        signal.set_wakeup_fd(theirs.fileno())
        self._wakeup = (ours, theirs)
        self._selector.register(ours, selectors.EVENT_READ, lambda: ours.recv(64))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _frame: self._signals.append(number))
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)


def resolve_config(path: Path) -> dict[str, Any] | None:
    """The configuration by way of a short-lived process; None after its problems were printed."""
    done = subprocess.run(
        [sys.executable, "-m", "station.app.resolve", str(path)],
        stdout=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    if done.returncode:
        return None
    config: dict[str, Any] = json.loads(done.stdout)
    return config


def boot_now() -> float:
    """Seconds since boot, suspension included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def main() -> None:
    """Run the station whose configuration STATION_CONFIG names."""
    set_process("supervisor")
    path = os.environ.get("STATION_CONFIG", "")
    if not path:
        sys.exit("STATION_CONFIG is not set; start with `station run --config FILE`")
    sys.exit(Supervisor(Path(path)).run())


if __name__ == "__main__":
    main()
