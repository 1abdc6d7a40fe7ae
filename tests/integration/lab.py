"""A running `station lab`, as a person would start it, and questions to its stations."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_S = 90.0
STOP_S = 40.0


def wait_until(what: str, is_true: Callable[[], object], deadline_s: float) -> float:
    """Wait for a condition; the seconds it took. AssertionError at the deadline."""
    began = time.monotonic()
    while not is_true():
        took = time.monotonic() - began
        assert took < deadline_s, f"{what}: not after {deadline_s:.0f} s"
        time.sleep(0.02)
    return time.monotonic() - began


class StationUnderTest:
    """One station of the lab."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.name: str = facts["name"]
        self.host: str = facts["host"]
        self.pid: int = facts["pid"]
        self.config = Path(facts["config"])
        self.socket = Path(facts["socket"])
        self.storage = Path(facts["storage"])
        self._restarted: subprocess.Popen[bytes] | None = None

    def ask(self, path: str) -> Any:
        """GET on its admin socket; None when it does not answer."""
        try:
            status, answer = self._request("GET", path)
        except (OSError, http.client.HTTPException, ValueError):
            return None
        return answer if status < 400 else None

    def tell(self, method: str, path: str, body: object = None) -> Any:
        """A change on its admin socket. AssertionError with its words when it refuses."""
        status, answer = self._request(method, path, body)
        assert status < 400, answer
        return answer

    def mirror(self, source: str, url: str, *profiles: str) -> None:
        """Create a source, and profiles of this station that refer to it: one of the same name by default."""
        self.tell("POST", "/sources", {"id": source, "url": url})
        for name in profiles or (source,):
            profile = {"name": name, "station": self.name, "sources": [source]}
            self.tell("POST", "/profiles", profile)

    def mirrors(self) -> dict[str, dict[str, Any]]:
        """Its mirror list by source; empty when it does not answer."""
        return {row["source"]: row for row in self.ask("/mirrors") or []}

    def processes(self) -> list[int]:
        """Pids of the supervisor and all its descendants."""
        return [self.pid, *descendants(self.pid)]

    def kill_all(self) -> None:
        """SIGKILL to every process of this station, the supervisor first, as a power cut would."""
        for pid in self.processes():
            kill(pid, signal.SIGKILL)

    def start_again(self, *prefix: str) -> None:
        """`station run` after its death; `prefix` is put before the command and ends in an exec of it."""
        if self._restarted is not None:
            self._restarted.poll()  # it was killed: nobody else takes note of its end
        log = (self.config.parent / "station.log").open("ab")
        self._restarted = subprocess.Popen(
            [*prefix, sys.executable, "-m", "station", "run", "--config", str(self.config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        self.pid = self._restarted.pid

    def stop_restarted(self) -> None:
        """End what start_again started."""
        if self._restarted is not None:
            if self._restarted.poll() is None:
                self._restarted.send_signal(signal.SIGTERM)
            self._restarted.wait(STOP_S)

    def _request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        connection = _UnixConnection("station", timeout=10.0)
        connection.path = str(self.socket)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """Over a unix socket. (httpx leaves its socket open when such a connect is refused.)"""

    path = ""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class LabUnderTest:
    """`station lab` in a directory of its own, on a loopback network of its own."""

    def __init__(self, network: str, *arguments: str) -> None:
        # Unix socket paths are limited to 107 bytes: a short directory.
        self.root = Path(tempfile.mkdtemp(prefix="lab-"))
        self._arguments = ("--network", network, "--dir", str(self.root / "l"), *arguments)

    def __enter__(self) -> Self:
        environment = os.environ | {"STATION_LOG_LEVEL": "debug"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "station", "lab", *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        description = self.root / "l" / "lab.json"
        began = time.monotonic()
        while not description.exists():
            if self._process.poll() is not None or time.monotonic() - began > START_S:
                self._process.kill()
                said = self._process.communicate()[0].decode()
                raise AssertionError(f"the lab did not start:\n{said}\n{self.logs()}")
            time.sleep(0.05)
        self.facts = json.loads(description.read_text())
        self.stations = [StationUnderTest(facts) for facts in self.facts["stations"]]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for station in self.stations:
            station.stop_restarted()
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.communicate(timeout=STOP_S)
        finally:
            self._process.kill()
            self._process.wait()
            if error is None:
                shutil.rmtree(self.root, ignore_errors=True)

    @property
    def http(self) -> str:
        """The balancer's http URL."""
        return f"http://{self.facts['balancer']['host']}:{self.facts['balancer']['http']}"

    @property
    def https(self) -> str:
        """The balancer's https URL."""
        return f"https://{self.facts['balancer']['host']}:{self.facts['balancer']['https']}"

    @property
    def proxy(self) -> str:
        """The balancer's proxy URL."""
        return f"http://{self.facts['balancer']['host']}:{self.facts['balancer']['proxy']}"

    @property
    def ca(self) -> str:
        """Path of the group's CA certificate."""
        return str(self.facts["ca"])

    def wait_synced(self, *sources: str, deadline_s: float = 30.0) -> float:
        """Until every station has each source SYNCED at one revision; the seconds it took."""

        def is_synced() -> bool:
            for source in sources:
                rows = [station.mirrors().get(source) for station in self.stations]
                if not all(row and row["state"] == "SYNCED" for row in rows):
                    return False
                if len({row["revision"] for row in rows if row}) != 1:
                    return False
            return True

        return wait_until(f"{sources} SYNCED everywhere", is_synced, deadline_s)

    def logs(self, lines: int = 30) -> str:
        """The ends of all logs."""
        texts = []
        for path in sorted((self.root / "l").rglob("*.log")):
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            texts.append(f"--- {path.relative_to(self.root)}\n" + "\n".join(tail))
        return "\n".join(texts)


def descendants(pid: int) -> list[int]:
    """Pids of the processes below `pid`, from /proc; those that wait to be reaped are none."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            fields = path.read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                parents[int(path.parent.name)] = int(fields[1])
    found: list[int] = []
    generation = {pid}
    while generation:
        generation = {child for child, parent in parents.items() if parent in generation}
        found += sorted(generation)
    return found


def kill(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that is gone already is what was wanted."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def pss_mib(pids: list[int]) -> float:
    """Proportional set size of some processes, MiB."""
    total = 0
    for pid in pids:
        for text in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if text.startswith("Pss:"):
                total += int(text.split()[1])
    return total / 1024
