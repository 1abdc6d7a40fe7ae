"""From verified metadata to the manifest: which files a revision has. The only place that opens compressed metadata."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from station.repo.errors import RepoError
from station.repo.manifest import Entry, build_manifest
from station.repo.plan import Wanted
from station.repo.primary import parse_primary
from station.repo.repomd import Record
from station.storage.decompress import decompressed
from station.sync.failure import SyncFailed
from station.sync.index import Index


@dataclass(frozen=True, slots=True)
class Stored:
    """A metadata file in the pool: its sha256 and size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Content:
    """All files of a revision: the manifest, and the packages that it names."""

    manifest: bytes
    packages: tuple[Wanted, ...]
    size: int  # bytes of all files, metadata included


def read_content(index: Index, stored: Mapping[str, Stored], primary: Path) -> Content:
    """Parse primary.xml (compressed, at `primary`) and write down every file. Blocking: half a second per 30,000.

    `stored` maps the locations of the metadata files. Raises SyncFailed "metadata"; OSError.
    """
    record = index.parsed.primary
    try:
        packages = _packages(record, primary)
        entries = index.entries()
        for one in index.parsed.records:
            file = stored[one.location]
            entries.append(Entry(one.location, file.sha256, file.size, one.timestamp))
        entries += [
            Entry(package.path, package.checksum.hex, package.size, package.mtime)
            for package in packages
        ]
        manifest = build_manifest(entries)
    except RepoError as error:
        raise SyncFailed("metadata", f"{record.location}: {error}", retriable=True) from error
    size = sum({entry.path: entry.size for entry in entries}.values())
    once = {package.path: package for package in packages}
    return Content(manifest, tuple(once.values()), size)


def _packages(record: Record, primary: Path) -> list[Wanted]:
    found = []
    with primary.open("rb") as file:
        for package in parse_primary(decompressed(file, record.open_size, "primary")):
            if package.checksum.kind != "sha256":
                raise RepoError(
                    f"primary checksum of {package.location}",
                    package.checksum.kind,
                    "sha256: packages are kept under this name",
                )
            found.append(Wanted(package.location, package.checksum, package.size, package.time))
    return found
