"""Machines on one network, made of namespaces: each has its own file system over this host's, network, name, processes.

Needs root. Nothing of it is seen on the host, and with its first process a machine is off, as after a power cut; what
lies on its disk stays.
"""

import contextlib
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.integration.lab import wait_until

ROOT = Path(__file__).parents[2]
COMMAND_S = 120.0
START_S = 10.0
BRIDGE = "lan"
# overlayfs takes no upper directory inside its lower one: the disks lie in memory.
DISKS = "/dev/shm"

_BEGIN = """
mount -t overlay overlay -o lowerdir=/,upperdir={disk}/upper,workdir={disk}/work {disk}/root
cd {disk}/root
mount -t proc proc proc
for name in sys dev; do mount --rbind /$name $name; done
mount -t tmpfs tmpfs run && mount -t tmpfs tmpfs tmp
mkdir -p .{checkout} && mount --rbind {checkout} .{checkout}
hostname {name}
ip link set lo up
exec chroot {disk}/root sleep infinity
"""


class Machine:
    """One of them. `address` in the network; `disk` holds what differs from this host's files."""

    def __init__(self, name: str, address: str, directory: Path) -> None:
        self.name, self.address = name, address
        self._disk = directory / name
        for part in ("upper", "work", "root"):
            (self._disk / part).mkdir(parents=True)
        self._first: subprocess.Popen[bytes] | None = None
        self._services: list[subprocess.Popen[bytes]] = []

    @property
    def pid(self) -> int:
        """Of its first process, seen from here."""
        assert self._first is not None
        children = Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children")
        return int(children.read_text().split()[0])

    def power_on(self) -> None:
        """Mount its disk and start its first process; the network is the caller's business."""
        values = {"disk": self._disk, "checkout": ROOT, "name": self.name}
        spaces = ["--mount", "--net", "--uts", "--ipc", "--pid", "--propagation", "private"]
        self._first = subprocess.Popen(
            ["unshare", *spaces, "--fork", "--kill-child", "sh", "-euc", _BEGIN.format(**values)],
            stdin=subprocess.DEVNULL,
        )
        wait_until(f"{self.name} is on", self._is_on, START_S)

    def _is_on(self) -> bool:
        assert self._first and self._first.poll() is None, f"{self.name} did not start"
        with contextlib.suppress(OSError, IndexError):
            return Path(f"/proc/{self.pid}/comm").read_text() == "sleep\n"
        return False

    def power_off(self) -> None:
        """All its processes end at once."""
        if self._first is not None:
            with contextlib.suppress(OSError, IndexError):
                os.kill(self.pid, signal.SIGKILL)
            self._first.kill()
            self._first.wait()
            self._first = None
        for service in self._services:
            service.kill()
            service.wait()
        self._services.clear()

    def words(self, *command: str) -> list[str]:
        """The command line, here, that runs a command there."""
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-u", "-i", "-p", "-r", "-w", *command]

    def try_run(
        self, command: str, deadline_s: float = COMMAND_S
    ) -> "subprocess.CompletedProcess[str]":
        """Run a line of shell there, as root in /srv."""
        return subprocess.run(
            self.words("sh", "-c", f"cd /srv; {command}"),
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": "/root",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=deadline_s,
            check=False,
        )

    def run(self, command: str, deadline_s: float = COMMAND_S) -> str:
        """The same; its output. AssertionError when it fails."""
        done = self.try_run(command, deadline_s)
        assert done.returncode == 0, f"{self.name}# {command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, command: str) -> "subprocess.Popen[bytes]":
        """A service: runs until power_off; what it says is in /var/log/SERVICE.log there."""
        log = shlex.split(command)[0].rpartition("/")[2]
        service = subprocess.Popen(
            self.words("sh", "-c", f"exec {command} >>/var/log/{log}.log 2>&1"),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._services.append(service)
        return service

    def write(self, path: str, text: str) -> None:
        """A file there."""
        done = subprocess.run(
            self.words("sh", "-c", 'mkdir -p "${1%/*}" && cat >"$1"', "sh", path),
            input=text,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        assert done.returncode == 0, f"{self.name}: {path}"

    def read(self, path: str) -> str:
        """A file there."""
        return self.run(f"cat {shlex.quote(path)}")


class Network:
    """A switch, and the machines on it; `hosts` is the /etc/hosts of all of them."""

    def __init__(self, hosts: str) -> None:
        self._hosts = f"127.0.0.1 localhost\n{hosts}"
        self._machines: list[Machine] = []

    def __enter__(self) -> Self:
        assert os.geteuid() == 0, "making namespaces needs root"
        self.directory = Path(tempfile.mkdtemp(prefix="machines-", dir=DISKS))
        self._switch = Machine("switch", "", self.directory)
        self._switch.power_on()
        self._switch.run(f"ip link add {BRIDGE} type bridge && ip link set {BRIDGE} up")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for machine in [*self._machines, self._switch]:
            machine.power_off()
        shutil.rmtree(self.directory, ignore_errors=True)

    def add(self, name: str, address: str) -> Machine:
        """A new machine, on and connected."""
        machine = Machine(name, address, self.directory)
        self._machines.append(machine)
        self.power_on(machine)
        machine.write("/etc/hosts", self._hosts)
        program = Path(sys.executable).with_name("station")
        machine.run(f"ln -sf {program} /usr/bin/station")
        return machine

    def power_on(self, machine: Machine) -> None:
        """On and connected, also after a power cut."""
        machine.power_on()
        port = f"p{secrets.token_hex(4)}"
        link = f"ip link add {port} type veth peer name eth0 netns {machine.pid}"
        subprocess.run(["nsenter", "-t", str(self._switch.pid), "-n", *link.split()], check=True)
        self._switch.run(f"ip link set {port} master {BRIDGE} up")
        machine.run(f"ip address add {machine.address}/24 dev eth0 && ip link set eth0 up")
