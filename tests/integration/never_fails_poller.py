"""Outside observers of a running group: what every station shows, asked directly, and how many requests it held.

A poller asks one station for repomd.xml over one kept connection. Once any station has shown a revision, an answer to
a question that was asked later must not be older: that would be a client's repository going back.
"""

import contextlib
import http.client
import threading
import time
from dataclasses import dataclass, field

from tests.integration.lab import StationUnderTest
from tests.integration.never_fails_upstream import ChangingRepository

HTTP_PORT = 17080
EVERY_S = 0.02
# Longer than any freeze: the answer that a thawed station gives to a question of before is what we want to see.
PATIENCE_S = 40.0
# An answer that took so long was held. (A poller's own held requests do not count as clients'.)
HELD_AFTER_S = 0.1
COUNTERS_EVERY_S = 0.5


@dataclass
class Sightings:
    """What all pollers saw. `first_seen`: revision number → monotonic seconds."""

    first_seen: dict[int, float] = field(default_factory=dict)
    downgrades: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)  # answers that are no published repomd.xml
    answers: int = 0
    held: int = 0
    newest: int = -1
    lock: threading.Lock = field(default_factory=threading.Lock)

    def saw(self, station: str, number: int, asked_at: float, newest_then: int) -> None:
        """An answer; `newest_then`: the newest revision seen anywhere before the question was asked."""
        now = time.monotonic()
        with self.lock:
            self.answers += 1
            if now - asked_at > HELD_AFTER_S:
                self.held += 1
            self.first_seen.setdefault(number, now)
            if number < newest_then:
                self.downgrades.append(
                    f"{station} showed revision {number} to a question asked {now - asked_at:.3f} s "
                    f"ago, when {newest_then} had been seen for "
                    f"{asked_at - self.first_seen[newest_then]:.3f} s"
                )
            self.newest = max(self.newest, number)

    def flips_between(self, start: float, end: float) -> int:
        """How many revisions were first seen between two instants, not counting the first one of all."""
        with self.lock:
            seen = sorted(self.first_seen.values())[1:]
        return sum(start < at < end for at in seen)

    @property
    def flips(self) -> int:
        """How many times what is shown changed."""
        return max(0, len(self.first_seen) - 1)


class Poller(threading.Thread):
    """Asks one station until stopped; a station that does not answer is asked again."""

    def __init__(
        self,
        station: StationUnderTest,
        source: str,
        repository: ChangingRepository,
        sightings: Sightings,
    ) -> None:
        super().__init__(name=f"poll {station.name}", daemon=True)
        self._station, self._repository, self._sightings = station, repository, sightings
        self._path = f"/repo/{source}/repodata/repomd.xml"
        self._stop_asked = threading.Event()

    def run(self) -> None:
        while not self._stop_asked.is_set():
            connection = http.client.HTTPConnection(
                self._station.host, HTTP_PORT, timeout=PATIENCE_S
            )
            with contextlib.suppress(OSError, http.client.HTTPException):
                while not self._stop_asked.is_set():
                    self._ask(connection)
                    self._stop_asked.wait(EVERY_S)
            connection.close()
            self._stop_asked.wait(0.1)

    def stop(self) -> None:
        """Ask for the end; join() waits for it."""
        self._stop_asked.set()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        sightings = self._sightings
        asked_at, newest_then = time.monotonic(), sightings.newest
        connection.request("GET", self._path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            with sightings.lock:
                sightings.strange.append(f"{self._station.name} answered {answer.status}")
            self._stop_asked.wait(0.2)
            return
        number = self._repository.number_of(body)
        if number is None:
            with sightings.lock:
                sightings.strange.append(f"{self._station.name} showed unknown bytes {body[:80]!r}")
            return
        sightings.saw(self._station.name, number, asked_at, newest_then)


class HeldCounter(threading.Thread):
    """Sums what the workers of all stations count as held at flips; workers that restart begin at zero again."""

    def __init__(self, stations: list[StationUnderTest]) -> None:
        super().__init__(name="held requests", daemon=True)
        self._stations = stations
        self._stop_asked = threading.Event()
        self._last: dict[tuple[str, str, str], float] = {}
        self.sums: dict[str, float] = {}

    def run(self) -> None:
        while not self._stop_asked.wait(COUNTERS_EVERY_S):
            self.look()

    def stop(self) -> None:
        """Look once more, then end."""
        self._stop_asked.set()
        self.join(30)
        self.look()

    def look(self) -> None:
        """Add what came since the last look."""
        for station in self._stations:
            workers = (station.ask("/status") or {}).get("workers", {})
            for worker, counters in workers.items():
                for name, value in counters.items():
                    if not name.startswith("held_") and name != "read_through":
                        continue
                    key = (station.name, worker, name)
                    last = self._last.get(key, 0)
                    self._last[key] = value
                    grown = value - last if value >= last else value
                    self.sums[name] = self.sums.get(name, 0) + grown
