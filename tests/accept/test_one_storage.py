"""Three stations on one storage while the upstream changes; the one on duty is paused past its takeover and woken."""

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from station.publish import duty
from tests.integration.haproxy import Haproxy
from tests.integration.lab import LabUnderTest, StationUnderTest, kill
from tests.integration.never_fails import Blow, Plan, Scenario

NETWORK = "127.42.22"
SOURCE = "never"
PLAN = Plan(seconds=180, longest_s=300, flips=10, commands=60, straddling=10, nice=15)
PAUSE_AT_S, PAUSED_S = 40.0, 25.0  # duty moves within 10 s
SAMPLE_S = 1.0
# What one station does reaches the others by gossip and by their next look at the storage.
AGREE_S = 3.0
AGAIN_S = 0.1
SAID = ("state", "revision", "package_count", "size", "error")

pytestmark = [pytest.mark.accept, pytest.mark.timeout(900)]


class Samples(threading.Thread):
    """Asks all stations at once, again and again: how often they were asked, and how long their answers differed."""

    def __init__(self, stations: list[StationUnderTest]) -> None:
        super().__init__(name="samples", daemon=True)
        self.count = self.equal_at_once = 0
        self.longest_s = 0.0
        self.paused: set[str] = set()
        self._stations = stations
        self._stop_asked = threading.Event()

    def run(self) -> None:
        with ThreadPoolExecutor(len(self._stations)) as pool:
            while not self._stop_asked.wait(SAMPLE_S):
                self._sample(pool)

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(30)

    def _sample(self, pool: ThreadPoolExecutor) -> None:
        began = time.monotonic()
        looks = 0
        while not self._stop_asked.is_set():
            asked = [s for s in self._stations if s.name not in self.paused]
            answers = list(pool.map(said, asked))
            looks += 1
            if any(station.name in self.paused for station in asked):
                continue  # it was paused while it was asked
            if all(answer == answers[0] for answer in answers):
                self.count += 1
                self.equal_at_once += looks == 1
                self.longest_s = max(self.longest_s, time.monotonic() - began if looks > 1 else 0)
                return
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            time.sleep(AGAIN_S)


def said(station: StationUnderTest) -> Any:
    return {s: tuple(row[name] for name in SAID) for s, row in station.mirrors().items()}


def test_no_command_fails_and_all_say_the_same(tmp_path: Path) -> None:
    with (
        LabUnderTest(NETWORK, "--shared") as lab,
        Haproxy(lab),
        Scenario(lab, tmp_path, revisions=150, source=SOURCE) as scenario,
    ):
        name = duty.holder(SOURCE, [station.name for station in lab.stations])
        (holder,) = [station for station in lab.stations if station.name == name]
        samples = Samples(lab.stations)

        def send(number: signal.Signals) -> Callable[[], None]:
            def strike() -> None:
                if number == signal.SIGSTOP:
                    samples.paused.add(holder.name)
                for pid in holder.processes():
                    kill(pid, number)

            return strike

        def heard_again() -> None:
            samples.paused.discard(holder.name)

        blows = [
            Blow(PAUSE_AT_S, send(signal.SIGSTOP)),
            Blow(PAUSE_AT_S + PAUSED_S, send(signal.SIGCONT)),
            # A woken control asks the others first; its first answer may be of the past.
            Blow(PAUSE_AT_S + PAUSED_S + AGREE_S, heard_again),
        ]
        samples.start()
        try:
            result = scenario.run(f"shared storage, {name} on duty paused", PLAN, blows)
        finally:
            samples.stop()
        print(
            f"{samples.count} samples, {samples.equal_at_once} of them equal at once, "
            f"at most {samples.longest_s:.2f} s apart"
        )
        result.check(PLAN)
        assert samples.count >= 60
        assert samples.longest_s <= AGREE_S
