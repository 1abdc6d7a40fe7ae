"""README.md as a person would follow it, on loopback: its blocks, and the hosts that its prompts name.

`a,b# command` is run on hosts a and b; a ```toml block that begins with `# a: /path` is that file on host a. A host is
a directory: absolute paths lie below it, its `/usr/bin` comes first in PATH, and the few programs that need a whole
machine (systemctl, runuser, scp) do here what they would do there.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.integration.dnf import Dnf

COMMAND_S = 180.0
READY_S = 60.0
STOP_S = 40.0

_BLOCK = re.compile(r"^```(console|toml|ini)\n(.*?)^```$", re.M | re.S)
_PATH = re.compile(r"(?<![\w.:/}])/(?=(?:etc|opt|usr|mnt|var|run)/)")


@dataclass(frozen=True, slots=True)
class Command:
    """One line of a console block. `hosts`: as its prompt says; `("$",)` for a checkout."""

    hosts: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class File:
    """A block that is a file on a host."""

    host: str
    path: str
    text: str


def steps(readme: str) -> Iterator[Command | File]:
    """All commands and files of the text, in order. Raises ValueError for a line that is neither."""
    for language, body in _BLOCK.findall(readme):
        if language == "console":
            for line in body.splitlines():
                if line.startswith("$ "):
                    yield Command(("$",), line[2:])
                elif found := re.fullmatch(r"([a-z,]+)# (.+)", line):
                    yield Command(tuple(found[1].split(",")), found[2])
                else:
                    raise ValueError(f"not a command: {line}")
        elif found := re.match(r"# ([a-z]+): (\S+)\n", body):
            yield File(found[1], found[2], body[found.end() :])
        else:
            raise ValueError(f"not a file of a host: {body[:60]}")


class Host:
    """One machine of the README."""

    def __init__(self, name: str, root: Path, checkout: Path, words: Mapping[str, str]) -> None:
        self.name, self.root, self._words = name, root, words
        self.checkout = root / "checkout"
        for directory in ("etc/station", "etc/lbproxy", "opt", "usr/bin", "mnt", "var", "run"):
            (root / directory).mkdir(parents=True)
        (root / "etc/yum.repos.d").mkdir()
        (root / "etc/pki").mkdir()
        for part in ("station", "lbproxy", "systemd", "pyproject.toml", "README.md", "LICENSE"):
            source = checkout / part
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, self.checkout / part, ignore=ignore)
            else:
                shutil.copy(source, self.checkout / part)
        self._services: list[subprocess.Popen[bytes]] = []
        self._dnf = Dnf(root / "dnf", metadata_expire=21600)

    def translated(self, text: str) -> str:
        """The text with this host's paths, and loopback for the addresses of the documentation."""
        for word, instead in self._words.items():
            text = text.replace(word, instead)
        return _PATH.sub(f"{self.root}/", text)

    def write(self, file: File) -> None:
        """Put a file there; a station's, with what tells several hosts on one machine apart."""
        text = self.translated(file.text)
        if file.path.endswith("station.toml"):
            address = re.search(r'^address = "(.+)"$', text, re.M)
            assert address
            own = f'listen = "{address[1]}"\nstate_directory = "{self.root}/var/lib/station"\n'
            text = own + text + f'\n[admin]\nsocket = "{self.root}/run/station/admin.sock"\n'
        (self.root / file.path.lstrip("/")).write_text(text, encoding="utf-8")

    def run(self, command: str) -> str:
        """Run a command; its output. AssertionError when it fails."""
        words = shlex.split(command)
        if words[0] == "dnf":
            return self._run_dnf(shlex.split(self.translated(command))[1:])
        if words[0] == "systemctl":
            return self._start_service(words[-1])
        if words[0] == "runuser":
            command = command.partition(" -- ")[2]
        if words[0].startswith("systemd-"):
            command = f"{words[0]} --root={self.root} {shlex.join(words[1:])}"
        done = subprocess.run(
            ["sh", "-c", self.translated(command)],
            cwd=self.checkout,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        assert done.returncode == 0, f"{self.name}# {command}\n{done.stdout}\n{self.logs()}"
        return done.stdout

    def _run_dnf(self, words: list[str]) -> str:
        """With the .repo files of this host, whose paths are those of a whole machine."""
        for known in (self._dnf.root / "repos.d").iterdir():
            known.unlink()
        for file in (self.root / "etc/yum.repos.d").glob("*.repo"):
            text = file.read_text(encoding="utf-8").replace("file:///", "file:// /")
            self._dnf.repo_text(file.stem, self.translated(text).replace("file:// /", "file:///"))
        return self._dnf.run(*words).check().output

    def installed(self) -> set[str]:
        """What dnf installed."""
        return self._dnf.installed()

    def logs(self) -> str:
        """The ends of the services' logs."""
        texts = [
            "\n".join([str(path), *path.read_text(errors="replace").splitlines()[-40:]])
            for path in sorted(self.root.glob("*.log"))
        ]
        return "\n".join(texts)

    def begin_to_stop(self) -> None:
        """SIGTERM to the services."""
        for service in self._services:
            service.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Wait for their end, and SIGKILL after a while, as systemd does."""
        for service in self._services:
            try:
                service.wait(STOP_S)
            finally:
                service.kill()
                service.wait()

    def _start_service(self, name: str) -> str:
        unit = (self.root / f"etc/systemd/system/{name}.service").read_text(encoding="utf-8")
        found = re.search(r"^ExecStart=(.+)$", unit, re.M)
        assert found
        (self.root / "run" / name).mkdir(exist_ok=True)  # RuntimeDirectory=
        with (
            (self.root / f"{name}.log").open("wb") as log,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready,
        ):
            path = str(self.root / f"run/{name}.notify")
            ready.bind(path)
            ready.settimeout(READY_S)
            service = subprocess.Popen(
                shlex.split(self.translated(found[1])),
                cwd=self.root,
                env=self._environment() | {"NOTIFY_SOCKET": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            self._services.append(service)
            try:
                while "Type=notify" in unit and b"READY=1" not in ready.recv(4096):
                    pass
            except TimeoutError:
                raise AssertionError(f"{name} did not become ready\n{self.logs()}") from None
        return ""

    def _environment(self) -> dict[str, str]:
        here = os.path.dirname(sys.executable)
        path = [p for p in os.environ["PATH"].split(":") if p != here]
        kept = {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k == "HOME"}
        return kept | {
            "PATH": ":".join([str(self.root / "usr/bin"), *path]),
            "LANG": "C.UTF-8",
            "STATION_SOCKET": str(self.root / "run/station/admin.sock"),
            "ROOT": str(self.root),  # of instance-setup.sh
        }


def copy_between(
    hosts: Mapping[str, Host], names: Mapping[str, str], source: Host, text: str
) -> None:
    """`scp FILE HOST:PATH`. `names`: who is called what in the README."""
    _, what, to = shlex.split(text)
    name, _, path = to.partition(":")
    target = hosts[names[name]]
    base = target.root if path.startswith("/") else target.checkout
    origin = source.root if what.startswith("/") else source.checkout
    shutil.copy(origin / what.lstrip("/"), base / path.lstrip("/"))
