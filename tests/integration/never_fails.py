"""The scenario engine of "no dnf command ever fails": a changing upstream, real clients, outside observers, and blows.

    with LabUnderTest(NETWORK) as lab, Haproxy(lab):
        run_scenario(lab, "one kill", tmp_path, Plan(seconds=60), [Blow(10, kill)]).check(...)

It prints one line: flips seen by the poller, commands, how many of them straddled a flip, requests of theirs that were
held, failures, downgrades seen.
"""

import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.lab import LabUnderTest, wait_until
from tests.integration.never_fails_clients import ALL_KINDS, ClientKind, ClientLoop, Command
from tests.integration.never_fails_poller import HeldCounter, Poller, Sightings
from tests.integration.never_fails_upstream import ChangingRepository
from tests.integration.upstream import Upstream

BUMP_EVERY_S = (2.0, 3.0)
SYNCED_S = 40.0
# A client that hangs for longer than this was not cut off in the middle of a command: something is wrong.
LAST_COMMAND_S = 120.0
PROGRESS_EVERY_S = 60.0


@dataclass(frozen=True)
class Plan:
    """How long, and the counts below which it goes on, up to `longest_s`."""

    seconds: float
    longest_s: float = 0.0
    flips: int = 1
    commands: int = 1
    straddling: int = 0
    held: int = 0
    source: str = "never"
    # Strange answers that this scenario must see (a pattern), its reason beside it.
    explained: str = r"\A\Z"
    kinds: tuple[ClientKind, ...] = ALL_KINDS
    # Of the clients, after the stations; their sync children have 10. Those who need fewer commands get by with less.
    nice: int = 10


@dataclass(frozen=True)
class Blow:
    """Something that befalls the group, so many seconds after the beginning."""

    at_s: float
    strike: Callable[[], None]


@dataclass
class Result:
    """What was seen. `str()` is the one line."""

    scenario: str
    seconds: float = 0.0
    flips: int = 0
    commands: list[Command] = field(default_factory=list)
    straddling: int = 0
    held: int = 0
    downgrades: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)  # answers with a status that nobody should get
    broken: int = 0  # transfers that a client had to repeat
    counters: dict[str, float] = field(default_factory=dict)

    @property
    def failures(self) -> list[Command]:
        """Commands that ended with anything but success."""
        return [command for command in self.commands if command.rc]

    def __str__(self) -> str:
        longest = max((c.end - c.start for c in self.commands), default=0.0)
        return (
            f"{self.scenario}: flips {self.flips}, commands {len(self.commands)}, "
            f"straddling {self.straddling}, held {self.held}, failures {len(self.failures)}, "
            f"downgrades {len(self.downgrades)}, strange answers {len(self.strange)}, "
            f"broken transfers {self.broken} "
            f"({self.seconds:.0f} s; longest command {longest:.1f} s)"
        )

    def check(self, plan: Plan) -> None:
        """AssertionError unless nothing failed, nothing went back, and enough was seen for that to mean anything."""
        assert not self.failures, f"{self}\n" + "\n\n".join(
            f"{c.client}, {c.kind}, at {c.start:.2f}, {c.end - c.start:.1f} s, rc {c.rc}:\n{c.output}"
            for c in self.failures[:5]
        )
        assert not self.downgrades, f"{self}\n" + "\n".join(self.downgrades[:20])
        strange = [said for said in self.strange if not re.search(plan.explained, said)]
        assert not strange, f"{self}\n" + "\n".join(strange[:20])
        assert self.flips >= plan.flips, self
        assert len(self.commands) >= plan.commands, self
        assert self.straddling >= plan.straddling, self
        assert self.held >= plan.held, self


class _Changes(threading.Thread):
    """Changes the upstream every few seconds and tells a station each time."""

    def __init__(
        self, lab: LabUnderTest, repository: ChangingRepository, upstream: Upstream, source: str
    ) -> None:
        super().__init__(name="upstream changes", daemon=True)
        self._lab, self._repository, self._upstream = lab, repository, upstream
        self._source = source
        self._stop_asked = threading.Event()
        self.is_paused = False

    def run(self) -> None:
        chance = random.Random(1)
        while not self._stop_asked.wait(chance.uniform(*BUMP_EVERY_S)):
            if not self.is_paused:
                self._upstream.swap(self._repository.advance())
                self._tell(chance)

    def stop(self) -> None:
        """No more changes."""
        self._stop_asked.set()
        self.join(30)

    def _tell(self, chance: random.Random) -> None:
        stations = self._lab.stations.copy()
        chance.shuffle(stations)
        for station in stations:
            try:
                station.tell("POST", "/mirrors/sync", {"sources": [self._source]})
            except (OSError, ValueError, AssertionError):
                continue  # it is dead, frozen or has just started: the next one
            return


class Scenario:
    """One source in one lab, with its upstream. A context manager; `run` may be called more than once."""

    def __init__(self, lab: LabUnderTest, directory: Path, *, revisions: int, source: str) -> None:
        self.lab, self.source = lab, source
        self._directory, self._runs = directory, 0
        self.repository = ChangingRepository(directory / "upstream", revisions)

    def __enter__(self) -> "Scenario":
        self.upstream = Upstream(self.repository.directory)
        self.upstream.__enter__()
        station = self.lab.stations[0]
        record = {
            "id": self.source,
            "url": self.upstream.url,
            "gpgkey": self.repository.key,
            "is_repo_gpg_check_enabled": True,
        }
        station.tell("POST", "/sources", record)
        profile = {"name": self.source, "station": station.name, "sources": [self.source]}
        station.tell("POST", "/profiles", profile)
        self.lab.wait_synced(self.source, deadline_s=SYNCED_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.upstream.__exit__(None, None, None)

    def run(self, name: str, plan: Plan, blows: Sequence[Blow] = ()) -> Result:
        """Clients, changes, observers and blows until the plan is fulfilled; prints and returns what was seen."""
        self._runs += 1
        sightings = Sightings()
        pollers = [
            Poller(station, self.source, self.repository, sightings)
            for station in self.lab.stations
        ]
        held = HeldCounter(self.lab.stations)
        clients = [
            ClientLoop(
                self._directory
                / f"clients-{self._runs}"
                / str(number),  # dnf splits paths at commas and spaces
                kind,
                self.lab.http,
                self.source,
                self.repository.key,
                self.repository.number_of,
                plan.nice,
            )
            for number, kind in enumerate(plan.kinds)
        ]
        self.changes = _Changes(self.lab, self.repository, self.upstream, self.source)
        began = time.monotonic()
        held.look()
        held.sums.clear()
        for thread in (*pollers, held, *clients, self.changes):
            thread.start()
        result = Result(name)
        try:
            self._wait(began, plan, blows, lambda: self._sum_up(result, sightings, clients, held))
        finally:
            self.changes.stop()
            for client in clients:
                client.stop()
            for client in clients:
                client.join(LAST_COMMAND_S)
            for poller in pollers:
                poller.stop()
            held.stop()
        result.seconds = time.monotonic() - began
        self._sum_up(result, sightings, clients, held)
        print(f"\n{result}")
        return result

    def _wait(
        self, began: float, plan: Plan, blows: Sequence[Blow], look: Callable[[], Result]
    ) -> None:
        due = sorted(blows, key=lambda blow: blow.at_s)
        said_at = 0.0
        while True:
            now = time.monotonic() - began
            while due and now >= due[0].at_s:
                due.pop(0).strike()
            result = look()
            if now >= said_at + PROGRESS_EVERY_S:
                said_at, result.seconds = now, now
                print(f"so far: {result}", flush=True)
            is_enough = (
                result.flips >= plan.flips
                and len(result.commands) >= plan.commands
                and result.straddling >= plan.straddling
                and result.held >= plan.held
            )
            if not due and now >= plan.seconds and (is_enough or now >= plan.longest_s):
                return
            time.sleep(0.2)

    @staticmethod
    def _sum_up(
        result: Result, sightings: Sightings, clients: list[ClientLoop], held: HeldCounter
    ) -> Result:
        result.flips = sightings.flips
        result.commands = [command for client in clients for command in list(client.commands)]
        result.straddling = sum(
            sightings.flips_between(command.start, command.end) > 0 for command in result.commands
        )
        result.counters = dict(held.sums)
        # The pollers' own questions were held, too.
        result.held = max(0, int(held.sums.get("held_flip", 0)) - sightings.held)
        result.downgrades = sightings.downgrades + [d for c in clients for d in c.downgrades]
        broken = [said for client in clients for said in list(client.broken)]
        result.broken = len(broken)
        result.strange = sightings.strange + [said for said in broken if "Status code" in said]
        return result


def wait_ready(lab: LabUnderTest, deadline_s: float = 30.0) -> None:
    """Until every station says that it is ready."""
    wait_until(
        "all stations ready",
        lambda: all((station.ask("/status") or {}).get("ready") for station in lab.stations),
        deadline_s,
    )
