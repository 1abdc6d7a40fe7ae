"""One real station, started as a service manager would: by `station run`, told by signals, heard by sd_notify."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

from tests.integration.lab import StationUnderTest, descendants, kill, wait_until

START_S = 30.0
STOP_S = 40.0
ANSWER_S = 5.0

TOML = """
name = "StationA"
compartment = "test"
hostname = "{address}"
state_directory = "{root}/state"
address = "{address}"
listen = "{address}"
[proxy]
hosts = ["127.0.0.0/8"]
[mirror]
directory = "{root}/mirror"
[admin]
socket = "{root}/admin.sock"
"""


class OneStation:
    """A group of one at `address`, with the product's ports, in a directory of its own. `more`: more of its file."""

    def __init__(self, address: str, *, has_group: bool = True, more: str = "") -> None:
        self.address = address
        # Unix socket paths are limited to 107 bytes: a short directory.
        self.root = Path(tempfile.mkdtemp(prefix="one-"))
        self.config = self.root / "station.toml"
        self.config.write_text(TOML.format(root=self.root, address=address) + more)
        self.log = self.root / "log"
        self.process: subprocess.Popen[bytes] | None = None
        if has_group:
            subprocess.run([*STATION, "group", "create", "--config", str(self.config)], check=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            finally:
                for pid in [self.process.pid, *descendants(self.process.pid)]:
                    kill(pid, signal.SIGKILL)
                self.process.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    def start(self, **environment: str) -> Self:
        """`station run`, and wait until it is ready for clients."""
        self.launch(**environment)
        wait_until("ready", self.is_ready, START_S)
        return self

    def launch(self, **environment: str) -> subprocess.Popen[bytes]:
        """`station run`, without waiting."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*STATION, "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | environment,
            )
        return self.process

    def run_to_end(self) -> tuple[int, str]:
        """`station run` of a station that cannot: its exit code and what it said."""
        process = self.launch()
        return process.wait(START_S), self.log.read_text()

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        assert self.process is not None
        return self.process.pid

    def children(self, module: str) -> list[int]:
        """Pids of the processes that run a module of ours."""
        return [pid for pid in descendants(self.pid) if module in command_of(pid)]

    def get(self, path: str, port: int = 17080) -> tuple[int, bytes]:
        """Status and body by a connection of its own. Raises OSError, HTTPException."""
        connection = http.client.HTTPConnection(self.address, port, timeout=ANSWER_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def answers(self, path: str, port: int = 17080) -> bool:
        """Whether it says 200."""
        try:
            return self.get(path, port)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def is_ready(self) -> bool:
        """Whether a balancer would send clients; a station that ended by itself fails the test."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        return self.answers("/health/ready")

    @property
    def admin(self) -> StationUnderTest:
        """Its admin socket."""
        facts: dict[str, Any] = {
            "name": "StationA",
            "host": self.address,
            "pid": self.pid,
            "config": str(self.config),
            "socket": str(self.root / "admin.sock"),
            "storage": str(self.root / "mirror"),
        }
        return StationUnderTest(facts)

    def mirror(self, source: str, url: str) -> None:
        """Create the source and a profile of it, and wait until it is here."""
        self.admin.mirror(source, url)
        wait_until(
            f"{source} SYNCED",
            lambda: self.admin.mirrors().get(source, {}).get("state") == "SYNCED",
            START_S,
        )

    def terminate(self, patience_s: float = STOP_S) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience_s)


STATION = [sys.executable, "-m", "station"]


def command_of(pid: int) -> str:
    """Its command line; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


class ServiceManager:
    """The socket that NOTIFY_SOCKET names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._heard: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def heard(self) -> list[str]:
        """All assignments so far, in order."""
        while True:
            try:
                self._heard += self._socket.recv(4096, socket.MSG_DONTWAIT).decode().splitlines()
            except BlockingIOError:
                return self._heard
