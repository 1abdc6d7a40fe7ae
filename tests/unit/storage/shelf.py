"""A storage in a temporary directory, and revisions to put on it."""

import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path

from station.model.identity import Revision, SourceId
from station.model.publication import Publication
from station.repo.location import REPOMD
from station.repo.manifest import Entry, build_manifest
from station.storage.intents import Intent, declare_intent
from station.storage.layout import Layout
from station.storage.marker import init_storage
from station.storage.pool import Pool
from station.storage.publications import Publications
from station.storage.revisions import Revisions

STATION = "A"
SOURCE = SourceId("ol9")
GROUP = "group-1"


def sha_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def a_layout(directory: Path) -> Layout:
    """An initialised, empty storage."""
    root = directory / "storage"
    root.mkdir()
    (directory / "state").mkdir()
    layout = Layout(root)
    init_storage(layout, GROUP)
    return layout


def put(layout: Layout, content: bytes, station: str = STATION) -> str:
    """One object in the pool; its name."""
    pool = Pool(layout, station)
    partial = pool.new_partial(secrets.token_hex(8))
    partial.write_bytes(content)
    pool.add(partial, sha_of(content))
    return sha_of(content)


class Staged:
    """A revision of some files, staged step by step as a sync does."""

    def __init__(self, files: Mapping[str, bytes], order: int = 1, station: str = STATION) -> None:
        self.files = {REPOMD: f"index {order} {sorted(files)}".encode(), **files}
        self.order = order
        self.station = station
        self.manifest = build_manifest(
            Entry(path, sha_of(content), len(content), order)
            for path, content in self.files.items()
        )
        self.revision = Revision(sha_of(self.files[REPOMD]))

    def declare(self, layout: Layout) -> Intent:
        objects = [sha_of(content) for content in self.files.values()]
        return declare_intent(layout, self.station, SOURCE, self.revision, objects)

    def fetch(self, layout: Layout) -> int:
        """Put what is missing into the pool; how many were."""
        pool = Pool(layout, self.station)
        missing = [c for c in self.files.values() if not pool.has(sha_of(c), len(c))]
        for content in missing:
            put(layout, content, self.station)
        return len(missing)

    def finish(self, layout: Layout) -> None:
        revisions = Revisions(layout, self.station)
        revisions.add_manifest(SOURCE, self.revision, self.manifest)
        revisions.complete(SOURCE, self.revision)

    def publish(self, layout: Layout, number: int) -> Publication:
        publication = Publication(number, self.order, self.revision)
        Publications(layout, self.station).publish(SOURCE, publication)
        return publication

    def stage(self, layout: Layout) -> "Staged":
        self.fetch(layout)
        self.finish(layout)
        return self


def check_whole(layout: Layout) -> list[Publication]:
    """Every visible thing is whole: objects have their content, complete revisions all their objects, the live
    publication its manifest. Returns the publications."""
    for path in layout.pool_directory.glob("*/[!.]*"):
        assert sha_of(path.read_bytes()) == path.name
    revisions = Revisions(layout, STATION)
    pool = Pool(layout, STATION)
    found = []
    for source, stored in revisions.inventory():
        for revision, facts in stored.items():
            if facts.is_complete:
                for line in revisions.read_manifest(source, revision).splitlines():
                    _, sha256, size, _ = line.decode().split("\t")
                    assert pool.has(sha256, int(size))
        publications = Publications(layout, STATION).all(source)
        if publications:
            assert publications[-1].revision in stored
        found += publications
    return found
