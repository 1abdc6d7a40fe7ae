"""The objects that something names: manifests and intents. What is not among them may be collected.

Eight bytes of each checksum are kept: three million names need 24 MiB, and a chance collision only keeps an object.
"""

from array import array
from collections.abc import Iterator

from station.storage.errors import StorageError
from station.storage.intents import read_intents
from station.storage.layout import Layout
from station.storage.revisions import Revisions

YIELD_EVERY = 10_000  # lines, about 10 ms: between two yields the storage child answers others


class Roots:
    """A set of checksums, split by their first two digits as the pool is."""

    def __init__(self) -> None:
        self._shards = [array("Q") for _ in range(256)]
        self._looked_up: tuple[int, set[int]] = (-1, set())

    def add(self, sha256: str) -> None:
        """Raises ValueError when it is no checksum."""
        if len(sha256) != 64:
            raise ValueError(f"{sha256[:80]!r} is not a sha256")
        self._shards[int(sha256[:2], 16)].append(int(sha256[2:18], 16))

    def has(self, sha256: str) -> bool:
        """Fast when asked in sorted order. All must have been added before."""
        shard = int(sha256[:2], 16)
        if self._looked_up[0] != shard:
            self._looked_up = (shard, set(self._shards[shard]))
        return int(sha256[2:18], 16) in self._looked_up[1]


def gather_roots(layout: Layout, revisions: Revisions, roots: Roots) -> Iterator[None]:
    """Read every manifest and every intent of all stations into `roots`, yielding now and then.

    Intents come first: a sync that has withdrawn its intent has by then stored its manifest, which is read after.
    Raises StorageError (damaged) when anything cannot be read: whoever collects must not guess. Raises OSError.
    """
    yield from _intents(layout, roots)
    for source in revisions.sources():
        for revision in revisions.revisions(source):
            try:
                with layout.manifest(source, revision).open("rb") as file:
                    for number, line in enumerate(file):
                        try:
                            roots.add(line.split(b"\t")[1].decode("ascii"))
                        except (IndexError, ValueError) as error:
                            detail = f"manifest {source} {revision}, line {number + 1}"
                            raise StorageError("damaged", detail) from error
                        if number % YIELD_EVERY == 0:
                            yield
            except FileNotFoundError:
                continue


def _intents(layout: Layout, roots: Roots) -> Iterator[None]:
    for intent in read_intents(layout):
        try:
            for number, sha256 in enumerate(intent.objects()):
                try:
                    roots.add(sha256)
                except ValueError as error:
                    raise StorageError("damaged", f"{intent.path}, line {number + 2}") from error
                if number % YIELD_EVERY == 0:
                    yield
        except FileNotFoundError:
            continue  # withdrawn meanwhile
