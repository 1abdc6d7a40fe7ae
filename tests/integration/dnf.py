"""A hermetic, real dnf: own home, configuration, cache and installroot; nothing of this host is seen.

With an installroot, dnf takes cachedir, logdir and persistdir relative to it. Debian's default
`skip_if_unavailable=True` hides every repository error behind exit status 0, so it is turned off.
"""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

DNF_TIMEOUT_S = 90.0


@dataclass(frozen=True)
class DnfRun:
    """What one command did. `duration_s` is wall time."""

    rc: int
    output: str
    duration_s: float

    def check(self) -> "DnfRun":
        """Itself; raises AssertionError with the output when dnf failed."""
        assert self.rc == 0, (
            f"dnf ended with {self.rc} after {self.duration_s:.1f} s:\n{self.output}"
        )
        return self


class Dnf:
    """One client machine under `root`. `conf` are options of [main], as in man dnf.conf."""

    def __init__(self, root: Path, **conf: object) -> None:
        self.root = root
        self.prefix: tuple[str, ...] = ()  # put before the command, such as ("nice", "-n", "10")
        for name in ("repos.d", "vars", "plugins.d", "home", "files", "install"):
            (root / name).mkdir(parents=True, exist_ok=True)
        # It aborts without its list of locks when pluginconfpath is not the host's.
        (root / "plugins.d/versionlock.conf").write_text("[main]\nenabled=0\n")
        settings: dict[str, object] = {
            "cachedir": "/var/cache/dnf",
            "logdir": "/var/log",
            "persistdir": "/var/lib/dnf",
            "reposdir": root / "repos.d",
            "varsdir": root / "vars",
            "pluginconfpath": root / "plugins.d",
            "module_platform_id": "platform:el9",
            "skip_if_unavailable": False,
            "fastestmirror": False,
            "install_weak_deps": False,
            "color": "never",
            "gpgcheck": 0,
            "repo_gpgcheck": 0,
            "metadata_timer_sync": 0,
            "metadata_expire": 1,
            "timeout": 10,
            "zchunk": True,
        }
        self._write(root / "dnf.conf", "main", settings | conf)

    def repo(
        self, name: str, *, gpgkey: str = "", cacert: str | Path = "", **options: object
    ) -> None:
        """Write NAME.repo: baseurl, mirrorlist, metalink, proxy, … `gpgkey` is armoured text, `cacert` a path."""
        lines: dict[str, object] = {"name": name, "enabled": 1}
        if gpgkey:
            key = self.root / f"files/{name}.asc"
            key.write_text(gpgkey)
            lines["gpgkey"] = f"file://{key}"
        if cacert:
            lines["sslcacert"] = cacert
        self._write(self.root / f"repos.d/{name}.repo", name, lines | options)

    def repo_text(self, name: str, text: str) -> None:
        """Write NAME.repo as handed out by somebody else."""
        (self.root / f"repos.d/{name}.repo").write_text(text)

    def run(self, *words: str, timeout_s: float = DNF_TIMEOUT_S) -> DnfRun:
        """Run dnf to its end, or to the deadline (rc 124, the whole process group is ended)."""
        command = ["dnf", f"--config={self.root}/dnf.conf", f"--installroot={self.root}/install"]
        env = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self.root / "home"),
            "TERM": "dumb",
        }
        started = time.monotonic()
        process = subprocess.Popen(
            [*self.prefix, *command, "--releasever=9", "-y", *words],
            env=env,
            cwd=self.root / "home",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        try:
            output, _ = process.communicate(timeout=timeout_s)
            rc = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            rc = 124
        self._end_agents()
        return DnfRun(rc, output, time.monotonic() - started)

    def makecache(self) -> DnfRun:
        """Fetch the metadata of all repositories."""
        return self.run("makecache", "--refresh")

    def repoquery(self, *words: str) -> DnfRun:
        """Query; output is one package per line."""
        return self.run("--quiet", "repoquery", *words)

    def install(self, *packages: str) -> DnfRun:
        """Install into the installroot."""
        return self.run("install", *packages)

    def installed(self) -> set[str]:
        """Names of the packages in the installroot, asked of rpm."""
        done = subprocess.run(
            ["rpm", f"--root={self.root}/install", "-qa", "--qf", "%{NAME}\\n"],
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.root / "home")},
            capture_output=True,
            text=True,
            timeout=DNF_TIMEOUT_S,
            check=True,
        )
        return set(done.stdout.split())

    def forget(self) -> None:
        """Empty cache and installroot: the next run starts cold."""
        shutil.rmtree(self.root / "install", ignore_errors=True)
        (self.root / "install").mkdir()

    def _end_agents(self) -> None:
        # repo_gpgcheck leaves a gpg-agent per repository behind.
        for ring in self.root.glob("install/var/cache/dnf/*/pubring"):
            end = ["gpgconf", "--homedir", str(ring), "--kill", "gpg-agent"]
            subprocess.run(end, capture_output=True, check=False, timeout=10)

    @staticmethod
    def _write(path: Path, section: str, options: dict[str, object]) -> None:
        rows = "".join(f"{key}={value}\n" for key, value in options.items())
        path.write_text(f"[{section}]\n{rows}")
