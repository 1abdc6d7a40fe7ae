"""Client machines in a loop: cold makecache and cold install with real dnf, signed or not, by mirrorlist or baseurl."""

import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.integration.dnf import Dnf

COMMAND_S = 90.0  # four of dnf's time-outs, and what a busy machine adds
DNF_TIMEOUT_S = 10
LIBREPO_LOG = "install/var/log/dnf.librepo.log"
# What librepo writes of each transfer that did not succeed, also of those that it made good elsewhere.
BROKEN_TRANSFER = re.compile(r"Error during transfer: (.*)")


@dataclass(frozen=True)
class Command:
    """One dnf command: what, by whom, when (monotonic seconds), and how it ended."""

    client: str
    kind: str
    start: float
    end: float
    rc: int
    output: str


@dataclass(frozen=True)
class ClientKind:
    """How a client is configured."""

    is_signed: bool
    by_mirrorlist: bool

    @property
    def name(self) -> str:
        """For people."""
        how = "mirrorlist" if self.by_mirrorlist else "baseurl"
        return f"{'signed' if self.is_signed else 'unsigned'} {how}"


ALL_KINDS = tuple(
    ClientKind(signed, mirrorlist) for signed in (True, False) for mirrorlist in (False, True)
)


class ClientLoop(threading.Thread):
    """One machine that never keeps a cache. `number_of` turns bytes of repomd.xml into a revision number."""

    def __init__(
        self,
        root: Path,
        kind: ClientKind,
        base: str,
        source: str,
        key: str,
        number_of: Callable[[bytes], int | None],
        nice: int,
    ) -> None:
        super().__init__(name=kind.name, daemon=True)
        self.kind = kind
        self.commands: list[Command] = []
        self.downgrades: list[str] = []
        # Transfers that did not succeed, whatever became of the command.
        self.broken: list[str] = []
        self._number_of = number_of
        self._newest = -1
        self._is_stopping = threading.Event()
        # Plugins would cost a tenth of each command.
        self._dnf = Dnf(root, timeout=DNF_TIMEOUT_S, plugins=False)
        self._dnf.prefix = ("nice", "-n", str(nice))
        name = "mirrorlist" if kind.by_mirrorlist else "baseurl"
        url = f"{base}/mirrorlist/{source}" if kind.by_mirrorlist else f"{base}/repo/{source}/"
        checked = int(kind.is_signed)
        text = f"[{source}]\nname={source}\n{name}={url}\n"
        text += f"repo_gpgcheck={checked}\ngpgcheck={checked}\n"
        if kind.is_signed:
            (root / "key.asc").write_text(key)
            text += f"gpgkey=file://{root}/key.asc\n"
        self._dnf.repo_text(source, text)

    def run(self) -> None:
        which = random.Random(self.kind.name)
        while not self._is_stopping.is_set():
            self._once(which.random() < 0.5)

    def stop(self) -> None:
        """After the command that runs now."""
        self._is_stopping.set()

    def _once(self, is_install: bool) -> None:
        self._dnf.forget()
        words = ("install", "never-*") if is_install else ("makecache", "--refresh")
        start = time.monotonic()
        run = self._dnf.run(*words, timeout_s=COMMAND_S)
        end = time.monotonic()
        output = run.output if run.rc else ""
        if is_install and not run.rc and "Complete!" not in run.output:
            output = "it installed nothing:\n" + run.output
        rc = 1 if output and not run.rc else run.rc
        self.commands.append(Command(self.name, words[0], start, end, rc, output))
        log = self._dnf.root / LIBREPO_LOG
        if log.exists():
            self.broken += BROKEN_TRANSFER.findall(log.read_text(errors="replace"))
        self._look_for_downgrade()

    def _look_for_downgrade(self) -> None:
        for path in self._dnf.root.glob("install/var/cache/dnf/*/repodata/repomd.xml"):
            number = self._number_of(path.read_bytes())
            if number is None or number < self._newest:
                self.downgrades.append(f"{self.name}: revision {number} after {self._newest}")
            else:
                self._newest = number
