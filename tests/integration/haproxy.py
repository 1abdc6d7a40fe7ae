"""A real haproxy in the place of the lab's bundled balancer, with the configuration that we render for production."""

import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from station.model.records import GroupRecord, Ports, StationRecord
from station.setup.haproxy import HaproxyOptions, render_haproxy
from tests.integration.lab import LabUnderTest, descendants, wait_until

START_S = 10.0
STOP_S = 10.0


class Haproxy:
    """Balances by random, without stickiness, on the lab's own balancer address; with a master, as its unit runs it."""

    def __init__(self, lab: LabUnderTest, balance: str = "random") -> None:
        self._lab, self._balance = lab, balance
        self._directory = lab.root / "haproxy"

    def __enter__(self) -> Self:
        balancer = self._lab.facts["balancer"]
        os.kill(balancer["pid"], signal.SIGTERM)  # its address is wanted; the lab does not mind
        self._directory.mkdir()
        config = self._directory / "haproxy.cfg"
        config.write_text(self._text())
        self._log = (self._directory / "haproxy.log").open("wb")
        time.sleep(0.5)
        self._start()
        wait_until("haproxy ready", self._is_ready, START_S)
        return self

    def _start(self) -> None:
        config = str(self._directory / "haproxy.cfg")
        self._process = subprocess.Popen(
            ["haproxy", "-W", "-db", "-f", config],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def reload(self) -> None:
        """As `systemctl reload` does it, and wait for the new worker."""
        before = self._workers()
        os.kill(self._process.pid, signal.SIGUSR2)
        wait_until("a new worker", lambda: self._workers() - before, START_S)

    def restart(self) -> None:
        """As `systemctl restart` does it."""
        self._process.terminate()
        self._process.wait(STOP_S)
        self._start()

    def _workers(self) -> set[int]:
        return set(descendants(self._process.pid))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._log.close()

    def _text(self) -> str:
        balancer = self._lab.facts["balancer"]
        group = GroupRecord(
            id="lab",
            compartment="lab",
            hostname=balancer["host"],
            ports=Ports(proxy=balancer["proxy"], http=balancer["http"], https=balancer["https"]),
        )
        stations = [
            StationRecord(name=station.name, address=station.host) for station in self._lab.stations
        ]
        options = HaproxyOptions(
            bind=balancer["host"],
            balance=self._balance,
            connections_max=1000,
            ca_path=self._lab.ca,
        )
        return render_haproxy(group, stations, options)

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            said = Path(self._log.name).read_text()
            raise AssertionError(f"haproxy ended with {self._process.returncode}:\n{said}")
        url = f"{self._lab.http}/health/ready"
        done = subprocess.run(
            ["curl", "-sf", "--max-time", "2", url], capture_output=True, check=False
        )
        return done.returncode == 0
