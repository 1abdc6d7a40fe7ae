"""The lab's processes: started by the same commands that people use, ended by their pids."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from station.lab.layout import Lab, LabStation

STOP_S = 30.0


class LabError(Exception):
    """The lab could not be built. The message says what failed and where its log is."""


class Processes:
    """What the lab started. `close` ends all of it, in reverse."""

    def __init__(self) -> None:
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._logs: list[IO[bytes]] = []

    def start(self, name: str, arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a long-running command; its output goes to `log`."""
        output = log.open("ab")
        self._logs.append(output)
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        self._running.append((name, process))
        return process

    def start_upstream(self, directory: Path, address: str) -> tuple[subprocess.Popen[bytes], str]:
        """The demo upstream, and its URL."""
        process = subprocess.Popen(
            [sys.executable, "-m", "station.lab.upstream", str(directory), address, "0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self._running.append(("upstream", process))
        assert process.stdout is not None
        said = process.stdout.readline().split()
        process.stdout.close()
        if len(said) != 2:
            raise LabError(f"the demo upstream did not start on {address}")
        return process, f"http://{address}:{int(said[1])}/"

    def dead(self) -> list[str]:
        """Names of those that ended by themselves."""
        return [name for name, process in self._running if process.poll() is not None]

    def close(self) -> None:
        """SIGTERM to all at once, wait, SIGKILL what is left."""
        for _, process in reversed(self._running):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for _, process in self._running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for log in self._logs:
            log.close()


def station_command(*arguments: str) -> list[str]:
    """`station …` of this very installation."""
    return [sys.executable, "-m", "station", *arguments]


def run_command(*arguments: str, stdin: str = "") -> str:
    """Run a short `station …` command; its output. Raises LabError with what it said."""
    done = subprocess.run(
        station_command(*arguments),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise LabError(f"station {' '.join(arguments)}: {done.stderr.strip() or done.stdout}")
    return done.stdout


def start_station(processes: Processes, station: LabStation) -> subprocess.Popen[bytes]:
    """`station run` for one station of the lab."""
    command = station_command("run", "--config", str(station.config))
    return processes.start(station.name, command, station.log)


def start_balancer(processes: Processes, lab: Lab) -> subprocess.Popen[bytes]:
    """`lbproxy` for the lab."""
    command = [sys.executable, "-m", "lbproxy.cli", "--config", str(lab.balancer_config)]
    return processes.start("lbproxy", command, lab.root / "lbproxy.log")


def wait_for(
    what: str, is_true: Callable[[], bool], processes: Processes, root: Path, deadline_s: float
) -> None:
    """Wait until `is_true`. Raises LabError at the deadline, or when a process has died."""
    deadline = time.monotonic() + deadline_s
    while not is_true():
        if dead := processes.dead():
            raise LabError(
                f"{', '.join(dead)} ended while waiting for {what}; see the logs in {root}"
            )
        if time.monotonic() > deadline:
            raise LabError(f"no {what} after {deadline_s:.0f} s; see the logs in {root}")
        time.sleep(0.05)


def is_usable(directory: Path) -> bool:
    """Whether a lab may be built there: absent or empty."""
    return not directory.exists() or not os.listdir(directory)
