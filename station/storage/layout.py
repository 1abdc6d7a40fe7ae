"""What lies where below the storage path. Names only: nothing here touches a disk, so that workers may use it.

station.storage                                 marker
pool/ab/abcdef…                                 immutable bytes named by sha256
sources/<id>/<revision>/manifest, complete      one revision; `complete` once every object was there
sources/<id>/live/<number>-<order>-<revision>   a publication; the greatest name is live
staging/<station>/…                             what one station is working on

`pool`, `sources` and `staging` are made beside the marker and by no writer: what is under way when a storage is
unmounted finds them missing, and leaves the empty mount point as it is.
"""

from pathlib import Path

from station.model.identity import Revision, SourceId, StationName

MARKER = "station.storage"
_HEX = frozenset("0123456789abcdef")


class Layout:
    """Paths below one storage path. Every name is parsed before it becomes part of a path."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.marker = self.root / MARKER
        self.pool_directory = self.root / "pool"
        self.sources = self.root / "sources"
        self.staging_directory = self.root / "staging"

    def pool(self, sha256: str) -> Path:
        """The object with this checksum. Raises ValueError unless it is 64 lower-case hex digits."""
        if len(sha256) != 64 or not _HEX.issuperset(sha256):
            raise ValueError(f"{sha256[:80]!r} is not a sha256")
        return self.pool_directory / sha256[:2] / sha256

    def source(self, source: str) -> Path:
        """The directory of one source. Raises InvalidName."""
        return self.sources / SourceId.parse(source)

    def revision(self, source: str, revision: str) -> Path:
        """The directory of one revision. Raises InvalidName."""
        return self.source(source) / Revision.parse(revision)

    def manifest(self, source: str, revision: str) -> Path:
        """path → sha256, size, mtime of one revision. Raises InvalidName."""
        return self.revision(source, revision) / "manifest"

    def complete(self, source: str, revision: str) -> Path:
        """Linked once every object of the revision was verified. Raises InvalidName."""
        return self.revision(source, revision) / "complete"

    def live(self, source: str) -> Path:
        """The directory of publications of one source. Raises InvalidName."""
        return self.source(source) / "live"

    def staging(self, station: str) -> Path:
        """What one station is working on; only this station writes there. Raises InvalidName."""
        return self.staging_directory / StationName.parse(station)

    def partial(self, station: str) -> Path:
        """Downloads under way, and files about to be linked. Raises InvalidName."""
        return self.staging(station) / "partial"

    def intents(self, station: str) -> Path:
        """What running syncs are about to rely on. Raises InvalidName."""
        return self.staging(station) / "intents"

    def trash(self, station: str) -> Path:
        """What the collector took away and has not yet judged. Raises InvalidName."""
        return self.staging(station) / "trash"


def manifest_copy(manifests: Path, source: str, revision: str) -> Path:
    """The local copy of a manifest below `state_directory/manifests`. Raises InvalidName."""
    return Path(manifests) / SourceId.parse(source) / Revision.parse(revision)
