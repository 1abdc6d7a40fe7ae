"""An upstream that changes every few seconds: packages added, updated and deleted, everything signed.

All packages are built and signed before the run begins, once for all scenarios of a process; a change then costs one
createrepo_c and one signature. Each revision is a directory of its own and the server moves to it between two requests:
what the new revision does not name is gone at once, as with the strictest vendor.
"""

import atexit
import functools
import hashlib
import os
import shutil
import tempfile
import threading
from pathlib import Path

from tests.integration.repositories import (
    EPOCH,
    build_packages,
    run,
    signing_key,
)
from tests.integration.upstream import Upstream

NAMES_PER_SPEC = 100
WINDOW = 12  # packages in one revision
VERSIONS = 3  # of one package, in the course of its life
UPDATES = 2  # packages that get a new version in each revision
SIZE = 20_000


class SignedPackages:
    """Packages 0, 1, 2 … in all their versions, in a directory that lives as long as the process."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="packages-"))
        atexit.register(shutil.rmtree, self.directory, ignore_errors=True)
        self._count = 0

    def build(self, count: int) -> None:
        """So many packages are there from now on."""
        names = [name_of(index) for index in range(self._count, count)]
        for version in range(1, VERSIONS + 1):
            for start in range(0, len(names), NAMES_PER_SPEC):
                wanted = [
                    (name, f"{version}.0", "") for name in names[start : start + NAMES_PER_SPEC]
                ]
                built = build_packages(wanted, self.directory, SIZE, version)
                signing_key().sign_packages(built)
        self._count = max(self._count, count)


@functools.cache
def signed_packages() -> SignedPackages:
    """Those of this process."""
    return SignedPackages()


def name_of(index: int) -> str:
    """The name of package `index`."""
    return f"never-{index:04d}"


class ChangingRepository:
    """Revisions 0, 1, 2 …: each adds one package, deletes the oldest and updates two others."""

    def __init__(self, root: Path, revisions: int) -> None:
        self._root = root
        self._root.mkdir(parents=True)
        self._packages = signed_packages()
        self._packages.build(WINDOW + revisions)
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()
        self.number = -1
        self._revisions = revisions
        self.advance()

    @property
    def key(self) -> str:
        """The armoured public key."""
        return signing_key().public

    @property
    def directory(self) -> Path:
        """The newest revision."""
        return self._root / f"r{self.number:04d}"

    def number_of(self, repomd: bytes) -> int | None:
        """Which revision these bytes of repomd.xml are of; None: bytes that we never published."""
        with self._lock:
            return self._numbers.get(hashlib.sha256(repomd).hexdigest())

    def advance(self) -> Path:
        """Make the next revision; its directory. Raises IndexError when all packages are used up."""
        number = self.number + 1
        if number >= self._revisions:
            raise IndexError("the upstream was built with too few revisions")
        target = self._root / f"r{number:04d}"
        target.mkdir()
        for place in range(WINDOW):
            # The oldest was updated first; each gets its last version some time before it goes.
            age = WINDOW - place
            version = 1 + min(VERSIONS - 1, max(0, (age - 1) * UPDATES // WINDOW))
            name = f"{name_of(number + place)}-{version}.0-1.noarch.rpm"
            os.link(self._packages.directory / name, target / name)
        stamp = str(EPOCH + 3600 * number)
        options = ["--quiet", "--no-database", "--workers", "1", "--unique-md-filenames"]
        run("createrepo_c", *options, "--revision", stamp, "--set-timestamp-to-revision", target)
        repomd = target / "repodata/repomd.xml"
        signing_key().sign_file(repomd, repomd.with_name("repomd.xml.asc"))
        with self._lock:
            self._numbers[hashlib.sha256(repomd.read_bytes()).hexdigest()] = number
        self.number = number
        return target


def publish_next(repository: ChangingRepository, upstream: Upstream) -> None:
    """The upstream shows its next revision from now on."""
    upstream.swap(repository.advance())
