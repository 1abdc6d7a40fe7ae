"""A machine in a directory, on which the real instance-setup.sh runs."""

import io
import json
import os
import ssl
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.dnf import Dnf
from tests.integration.lab import LabUnderTest, wait_until

SCRIPT_S = 60.0
VENDOR = "[vendor]\nname=vendor\nbaseurl=http://vendor.invalid/\n"


@dataclass
class Machine:
    """`root` stands for `/`. `shell`: what runs the script; `path`: its PATH."""

    root: Path
    shell: tuple[str, ...] = ("sh",)
    path: str = os.environ["PATH"]

    def __post_init__(self) -> None:
        for directory in ("etc/yum.repos.d", "tmp", "var/lib"):
            (self.root / directory).mkdir(parents=True)
        (self.root / "etc/yum.repos.d/vendor.repo").write_text(VENDOR)
        (self.root / "etc/os-release").write_text('ID="ol"\nVERSION_ID="9.4"\n')
        (self.root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")

    def run(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """Run a command with ROOT set; what it said. AssertionError when it fails and `check`."""
        done = subprocess.run(
            words,
            input=stdin,
            env={
                "PATH": self.path,
                "ROOT": str(self.root),
                "TMPDIR": str(self.root / "tmp"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SCRIPT_S,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stdout
        return done.stdout if done.returncode == 0 else f"failed: {done.stdout}"

    def script(self, path: Path, *options: str, stdin: str = "", check: bool = True) -> str:
        """Run instance-setup.sh."""
        return self.run(*self.shell, str(path), *options, stdin=stdin, check=check)

    def read(self, path: str) -> str:
        """A file of this machine."""
        return (self.root / path).read_text()

    @property
    def id(self) -> str:
        """Its id, once registered."""
        return self.read("var/lib/station-instance/id").strip()

    @property
    def token(self) -> str:
        """Its credential."""
        return self.read("var/lib/station-instance/token").strip()

    def files(self) -> dict[str, str]:
        """All files but the credential and the temporary ones, by path."""
        return {
            str(path.relative_to(self.root)): path.read_text()
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
            and path.name != "token"
            and path.relative_to(self.root).parts[0] != "tmp"
        }

    def dnf(self, directory: Path) -> Dnf:
        """dnf with the .repo files as they are on this machine."""
        dnf = Dnf(directory)
        for file in (self.root / "etc/yum.repos.d").glob("*.repo"):
            text = file.read_text().replace("/etc/pki/", f"{self.root}/etc/pki/")
            dnf.repo_text(file.stem, text)
        return dnf


def station_command(lab: LabUnderTest, *words: str, station: int = 0) -> str:
    """The `station` command against one station; its output."""
    done = subprocess.run(
        [sys.executable, "-m", "station", *words],
        env=os.environ | {"STATION_SOCKET": str(lab.stations[station].socket)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=SCRIPT_S,
        check=True,
    )
    return done.stdout


@dataclass(frozen=True)
class Answer:
    """What the instance API said."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        """Parsed."""
        return json.loads(self.text)


def ask(
    lab: LabUnderTest,
    method: str,
    path: str,
    bearer: str = "",
    body: object = None,
    *,
    base: str = "",
    headers: dict[str, str] | None = None,
) -> Answer:
    """A request to the instance API: through the balancer, or to `base`."""
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    request = urllib.request.Request((base or lab.https) + path, data, method=method)
    if data is not None:
        request.add_header("Content-Type", "application/json")
    if bearer:
        request.add_header("Authorization", f"Bearer {bearer}")
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    context = ssl.create_default_context(cafile=lab.ca)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(request, timeout=10) as answer:
            return Answer(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read().decode())


def _wait_for_keys(lab: LabUnderTest) -> None:
    """Until every station knows the same install keys."""

    def known() -> int:
        return len({str(s.ask("/profiles/web/keys")) for s in lab.stations})

    wait_until("the keys have travelled", lambda: known() == 1, 5.0)


def new_key(lab: LabUnderTest, *options: str) -> str:
    """An install key of the profile `web` that every station knows."""
    key = station_command(lab, "profile", "key", "create", "web", *options).strip()
    _wait_for_keys(lab)
    return key


def registered(lab: LabUnderTest, root: Path, script: Path, *shell: str) -> Machine:
    """A machine on which the script has registered it with `web`."""
    machine = Machine(root, shell or ("sh",))
    machine.script(script, "--key-file", "-", stdin=new_key(lab))
    return machine


def unpacked(bundle: bytes) -> dict[str, str]:
    """The files of a diagnostic bundle, by their names in it."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(bundle), mode="r:gz") as archive:
        for entry in archive:
            file = archive.extractfile(entry)
            assert file is not None
            assert entry.mode == 0o600
            found[entry.name] = file.read().decode()
    return found
