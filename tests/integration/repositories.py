"""Real RPM repositories for tests: built by rpmbuild, indexed by createrepo_c, signed by gpg on demand.

All packages of one call are sub-packages of few specs, so 500 of them take seconds. A repository directory holds only
what an upstream would hold.
"""

import atexit
import functools
import hashlib
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

SPEC_PACKAGES_MAX = 100  # sub-packages per rpmbuild run; more makes each run slower than linear
EPOCH = 1_700_000_000  # revision r is dated EPOCH + r hours, so that builds are repeatable
KEY_MAIL = "tests@example.invalid"
COMMAND_TIMEOUT_S = 100


class BuildFailed(AssertionError):
    """A tool failed; the message carries its output."""


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=os.environ | (env or {}),
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise BuildFailed(f"{command[0]} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


@dataclass(frozen=True)
class SigningKey:
    """A key without a passphrase. `home` is its GnuPG home, `public` the armoured public part."""

    home: Path
    public: str

    @classmethod
    def make(cls, mail: str = KEY_MAIL) -> "SigningKey":
        """A new key, removed with its agent at exit. The home is short: the agent's socket path may have 107 bytes."""
        home = Path(tempfile.mkdtemp(prefix="k-", dir="/tmp"))
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        atexit.register(
            subprocess.run,
            ["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        gpg = ("gpg", "--homedir", home, "--batch", "--yes", "--quiet", "--no-auto-check-trustdb")
        run(*gpg, "--passphrase", "", "--quick-gen-key", f"Tests <{mail}>", "rsa2048", "sign", "0")
        return cls(home, run(*gpg, "--armor", "--export", mail))

    def sign_file(self, path: Path, signature: Path) -> None:
        """Write the armoured detached signature of `path`."""
        gpg = ("gpg", "--homedir", self.home, "--batch", "--yes", "--quiet")
        run(*gpg, "--armor", "--detach-sign", "--output", signature, path)

    def sign_packages(self, packages: list[Path]) -> None:
        """Sign RPM packages in place."""
        for start in range(0, len(packages), SPEC_PACKAGES_MAX):
            run(
                *("rpmsign", "--addsign"),
                *("--define", f"_gpg_name {KEY_MAIL}"),
                *("--define", f"_gpg_path {self.home}"),
                *("--define", "__gpg /usr/bin/gpg"),
                *packages[start : start + SPEC_PACKAGES_MAX],
                env={"GNUPGHOME": str(self.home)},
            )


@functools.cache
def signing_key() -> SigningKey:
    """The key of this test run, made once."""
    return SigningKey.make()


@dataclass
class Repository:
    """A repository under `root` that evolves by `bump`. Options are fixed at creation."""

    root: Path
    prefix: str = "lab"
    size: int = 1024  # incompressible bytes per package
    signed: bool = False  # each package
    signed_repomd: bool = False
    modules: bool = False
    updateinfo: bool = False
    comps: bool = False
    keep_old: bool = False  # packages that left the metadata stay on disk
    packages_dir: str = ""  # "Packages": rpms in a folder
    compress: str = "gz"
    revision: int = 0
    packages: dict[str, str] = field(default_factory=dict)  # name → version
    _serial: int = 0
    _left: list[str] = field(default_factory=list)  # on disk, not in the metadata

    def copy(self, root: Path) -> "Repository":
        """The same at another place, to be changed there."""
        shutil.copytree(self.root, root)
        return replace(self, root=root, packages=dict(self.packages), _left=list(self._left))

    @property
    def repodata(self) -> Path:
        """The directory of the metadata."""
        return self.root / "repodata"

    @property
    def repomd(self) -> bytes:
        """repomd.xml as it is now."""
        return (self.repodata / "repomd.xml").read_bytes()

    @property
    def key(self) -> str:
        """The armoured public key, or nothing when nothing is signed."""
        return signing_key().public if self.signed or self.signed_repomd else ""

    def rpms(self) -> list[Path]:
        """The packages that the metadata names, sorted."""
        return sorted(p for p in self._directory().glob("*.rpm") if p.name not in self._left)

    def files(self) -> dict[str, str]:
        """Path → sha256 of everything that a mirror of this repository holds."""
        found = [*self.rpms(), *(p for p in self.repodata.iterdir() if p.is_file())]
        return {
            p.relative_to(self.root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in found
        }

    def bump(self, add: int = 0, update: int = 0, delete: int = 0) -> None:
        """The next revision: the oldest `delete` go, the next `update` get a new version, `add` are new."""
        self.revision += 1
        old_all = self._file_name(f"{self.prefix}-all", f"{self.revision - 1}.0")
        names = sorted(self.packages)
        gone = [self._file_name(name, self.packages.pop(name)) for name in names[:delete]]
        changed = names[delete : delete + update]
        gone += [self._file_name(name, self.packages[name]) for name in changed]
        for _ in range(add):
            self._serial += 1
            changed.append(f"{self.prefix}-{self._serial:04d}")
        self.packages |= dict.fromkeys(changed, f"{self.revision}.0")
        self._build(changed)
        for name in [*gone, *([old_all] if self.revision > 1 else [])]:
            if self.keep_old:
                self._left.append(name)
            else:
                (self._directory() / name).unlink()
        self.index()

    def index(self) -> None:
        """Write the metadata anew, and its signature."""
        shutil.rmtree(self.repodata, ignore_errors=True)
        stamp = str(EPOCH + 3600 * self.revision)
        with tempfile.TemporaryDirectory() as name:
            work = Path(name)
            options = ["--quiet", "--no-database", "--workers", "2", "--unique-md-filenames"]
            options += ["--revision", stamp, "--set-timestamp-to-revision"]
            options += ["--general-compress-type", self.compress]
            for left in self._left:
                options += ["--excludes", left]
            if self.comps:
                (work / "comps.xml").write_text(comps_xml(self.prefix, sorted(self.packages)))
                options += ["--groupfile", str(work / "comps.xml")]
            run("createrepo_c", *options, self.root)
            if self.modules:
                self._add_metadata("modules", work / "modules.yaml", modules_yaml(self.prefix))
            if self.updateinfo:
                text = updateinfo_xml(self.revision, self.packages)
                self._add_metadata("updateinfo", work / "updateinfo.xml", text)
        if self.signed_repomd:
            repomd = self.repodata / "repomd.xml"
            signing_key().sign_file(repomd, repomd.with_name("repomd.xml.asc"))

    def _add_metadata(self, kind: str, path: Path, text: str) -> None:
        path.write_text(text)
        compress = ("--compress", "--compress-type", self.compress)
        run("modifyrepo_c", "--mdtype", kind, *compress, path, self.repodata)

    def _directory(self) -> Path:
        return self.root / self.packages_dir if self.packages_dir else self.root

    @staticmethod
    def _file_name(name: str, version: str) -> str:
        return f"{name}-{version}-1.noarch.rpm"

    def _build(self, names: Iterable[str]) -> None:
        wanted = [(name, self.packages[name], "") for name in names]
        needs = " ".join(sorted(self.packages))
        wanted.append((f"{self.prefix}-all", f"{self.revision}.0", needs))
        self._directory().mkdir(parents=True, exist_ok=True)
        built = []
        for start in range(0, len(wanted), SPEC_PACKAGES_MAX):
            some = wanted[start : start + SPEC_PACKAGES_MAX]
            built += build_packages(some, self._directory(), self.size, self.revision)
        if self.signed:
            signing_key().sign_packages(built)


def build_repository(root: Path, packages: int = 5, **options: object) -> Repository:
    """A repository with PREFIX-0001 … and PREFIX-all, which requires every other one."""
    repository = Repository(root, **options)  # type: ignore[arg-type] # keywords of Repository, checked by it
    repository.bump(add=packages)
    return repository


def build_packages(
    wanted: list[tuple[str, str, str]], target: Path, size: int, revision: int
) -> list[Path]:
    """Build (name, version, requires) as noarch packages with one file each; returns their paths in `target`."""
    with tempfile.TemporaryDirectory(prefix="rpm-") as name:
        work = Path(name)
        payload = work / "source/usr/share/lab"
        payload.mkdir(parents=True)
        for package, version, _ in wanted:
            seed = hashlib.sha256(f"{package}-{version}".encode()).digest()
            (payload / package).write_bytes(random.Random(seed).randbytes(size))
        spec = work / "lab.spec"
        spec.write_text(spec_text(wanted, work / "source"))
        settings = {
            "_topdir": work,
            "_rpmdir": work / "out",
            "_binary_payload": "w1.gzdio",
            "_buildhost": "tests.example.invalid",
            "use_source_date_epoch_as_buildtime": 1,
            "clamp_mtime_to_source_date_epoch": 1,
            "__os_install_post": "%{nil}",
            "debug_package": "%{nil}",
            "_build_id_links": "none",
        }
        defines = [word for key, value in settings.items() for word in ("-D", f"{key} {value}")]
        stamp = {"SOURCE_DATE_EPOCH": str(EPOCH + 3600 * revision)}
        run("rpmbuild", "-bb", "--quiet", *defines, spec, env=stamp)
        built = []
        for path in (work / "out").rglob("*.rpm"):
            built.append(target / path.name)
            shutil.move(path, built[-1])
            built[-1].chmod(0o644)
        return built


def spec_text(wanted: list[tuple[str, str, str]], source: Path) -> str:
    """One spec file whose sub-packages are `wanted`."""
    lines = [
        "Name: lab-source",
        "Version: 1",
        "Release: 1",
        "Summary: tests",
        "License: Apache-2.0",
    ]
    lines += ["BuildArch: noarch", "AutoReqProv: no", "%description", "Packages of a test."]
    for name, version, requires in wanted:
        lines += [f"%package -n {name}", f"Version: {version}", "Release: 1", "AutoReqProv: no"]
        lines += [f"Summary: Package {name} of a test"]
        lines += [f"Requires: {requires}"] if requires else []
        lines += [f"%description -n {name}", f"{name} {version}", f"%files -n {name}"]
        lines += [f"/usr/share/lab/{name}"]
    lines += ["%install", "mkdir -p %{buildroot}", f"cp -a {source}/usr %{{buildroot}}/", ""]
    return "\n".join(lines)


def modules_yaml(prefix: str) -> str:
    """Module metadata with one default stream, which holds no package."""
    return (
        "---\ndocument: modulemd-defaults\nversion: 1\ndata:\n"
        f'  module: {prefix}\n  stream: "1"\n  profiles:\n    "1": [common]\n'
        "---\ndocument: modulemd\nversion: 2\ndata:\n"
        f'  name: {prefix}\n  stream: "1"\n  version: 20240101000001\n  context: c0ffee01\n'
        "  arch: noarch\n  summary: Module of a test\n  description: Module of a test.\n"
        "  license:\n    module: [MIT]\n  profiles:\n    common:\n      rpms: []\n...\n"
    )


def updateinfo_xml(revision: int, packages: dict[str, str]) -> str:
    """One security advisory that names the packages of the newest version."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(EPOCH + 3600 * revision))
    listed = "".join(
        f'<package name="{name}" version="{version}" release="1" epoch="0" arch="noarch" '
        f'src="lab-source-1-1.src.rpm"><filename>{name}-{version}-1.noarch.rpm</filename></package>'
        for name, version in sorted(packages.items())
        if version == f"{revision}.0"
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<updates>'
        f'<update from="{KEY_MAIL}" status="final" type="security" version="1">'
        f"<id>LAB-{revision:04d}</id><title>Advisory {revision}</title>"
        f'<issued date="{when}"/><updated date="{when}"/><severity>Important</severity>'
        "<description>Of a test.</description><references/>"
        f'<pkglist><collection short="lab"><name>lab</name>{listed}</collection></pkglist>'
        "</update></updates>\n"
    )


def comps_xml(prefix: str, names: list[str]) -> str:
    """One group with the first five packages."""
    rows = "".join(f'<packagereq type="mandatory">{name}</packagereq>' for name in names[:5])
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<comps><group><id>{prefix}-core</id><name>{prefix} core</name>"
        "<description>Group of a test</description><default>false</default>"
        f"<uservisible>true</uservisible><packagelist>{rows}</packagelist></group></comps>\n"
    )
