"""The children of one station, each in its place: at work, at work until replaced, leaving, or due to start again."""

import selectors
from collections.abc import Callable

from station.app.child import Child, ChildSpec, failures_before, restart_pause_s
from station.app.plan import CONTROL
from station.runtime.clock import Clock
from station.runtime.leash import READY, STOP, STORAGE_ANSWERS, STORAGE_STALLED
from station.runtime.lines import line

STOP_S = 3.0  # control persists what it has and ends


class Children:
    """Starts them, hears their reports by way of `selector`, buries them. `on_ready`: one at work says that it is."""

    def __init__(
        self, selector: selectors.BaseSelector, clock: Clock, on_ready: Callable[[ChildSpec], None]
    ) -> None:
        self.at_work: dict[str, Child] = {}
        self._replaced: dict[str, Child] = {}  # at work until their successors are ready
        self._leaving: list[Child] = []  # told to stop; reaped, never started again
        self._due: dict[str, tuple[float, ChildSpec]] = {}  # name → when to start again
        self._failures: dict[str, int] = {}
        self._storage_stalled = False
        self._selector, self._clock, self._on_ready = selector, clock, on_ready

    def all(self) -> list[Child]:
        """Every process that has not been reaped."""
        return [*self.at_work.values(), *self._replaced.values(), *self._leaving]

    def is_failing(self, name: str) -> bool:
        """Whether it died since it was last replaced."""
        return name in self._failures

    def start(self, spec: ChildSpec) -> None:
        """Start one, and listen to it."""
        child = Child.start(spec, now=self._clock.boot())
        self.at_work[spec.name] = child
        self._selector.register(child.leash, selectors.EVENT_READ, lambda: self._listen_to(child))

    def start_anew(self, spec: ChildSpec) -> None:
        """Stop the child of that name and start this one once it has ended; nothing else is due any more."""
        self._due = {spec.name: (0.0, spec)}
        if old := self.at_work.pop(spec.name, None):
            self._retire(old, STOP_S)

    def replace(self, spec: ChildSpec) -> None:
        """Start a successor; the old one works until `took_over`."""
        name = spec.name
        if self._is_on_its_way(spec):
            return  # whoever asks for it died meanwhile, and asks once more
        if old := self.at_work.pop(name, None):
            if name in self._replaced:
                self._retire(old, 0.0)  # of a reload that failed: never ready
            else:
                self._replaced[name] = old
        self._failures.pop(name, None)
        self._due.pop(name, None)
        self.start(spec)

    def took_over(self, name: str, drain_s: float) -> None:
        """A successor is ready: whom it replaces ends what is under way within `drain_s`."""
        if old := self._replaced.pop(name, None):
            self._retire(old, drain_s)

    def reap(self, now: float) -> None:
        """Bury the dead, and see when to start those again that nobody told to end. Kill whoever is late."""
        for child in self.all():
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
            del self.at_work[name]
            lived_s = now - child.started_at
            failures = failures_before(lived_s, self._failures.get(name, 0))
            self._failures[name] = failures + 1
            pause = restart_pause_s(lived_s, failures)
            line("warning", "child.died", child=name, exit=code, restart_in_s=pause)
            self._due[name] = (now + pause, child.spec)

    def forgive_silence(self, now: float) -> None:
        """It was us who stood still, and with us, as a rule, everybody: a thawed station keeps its workers."""
        line("warning", "supervisor.was_paused")
        for child in [*self.at_work.values(), *self._replaced.values()]:
            child.last_beat = now

    def kill_the_silent(self, now: float) -> None:
        """End those whose event loop stands still; `reap` finds them."""
        for child in [*self.at_work.values(), *self._replaced.values()]:
            if child.is_silent(now):
                line("error", "child.silent", child=child.spec.name, pid=child.process.pid)
                child.kill()
                # A process in an uninterruptible sleep is not killed each turn.
                child.last_beat = now

    def start_the_due(self, now: float) -> None:
        """Start again what died, unless it would hang or two would write one registry."""
        for name, (when, spec) in list(self._due.items()):
            waits_for_storage = self._storage_stalled and spec.module.endswith("files_worker")
            # One registry, one writer: the next control waits for the end of the last.
            waits_for_control = name == CONTROL and any(
                child.spec.name == CONTROL for child in self._leaving
            )
            if now >= when and not waits_for_storage and not waits_for_control:
                del self._due[name]
                self.start(spec)

    def _is_on_its_way(self, spec: ChildSpec) -> bool:
        """Whether this very child runs or is due; one of an earlier reload, which failed, is another."""
        child, due = self.at_work.get(spec.name), self._due.get(spec.name)
        return (child is not None and child.spec is spec) or (due is not None and due[1] is spec)

    def _retire(self, child: Child, patience_s: float) -> None:
        child.kill_at = self._clock.boot() + patience_s + STOP_S
        self._leaving.append(child)
        child.order(STOP)

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
        child.last_beat = self._clock.boot()
        child.has_beaten = True
        # One that was replaced or told to stop while it still started has nobody to take over from.
        if READY in reports and self.at_work.get(child.spec.name) is child:
            self._on_ready(child.spec)
        for report in reports:
            if report in (STORAGE_STALLED[0], STORAGE_ANSWERS[0]):
                self._storage_stalled = report == STORAGE_STALLED[0]

    def _unlisten(self, child: Child) -> None:
        if child.leash.fileno() < 0:
            return  # its end of the leash was seen before its death
        self._selector.unregister(child.leash)
        child.leash.close()
