"""From an index to a complete revision on the storage: the half that syncs and copies have in common."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from station.model.identity import Revision
from station.repo.errors import RepoError
from station.repo.manifest import iterate
from station.repo.plan import Wanted, plan_disk, plan_sync
from station.storage.errors import StorageError
from station.storage.intents import Intent, declare_intent, withdraw_intent
from station.storage.layout import Layout
from station.storage.marker import require_marker
from station.storage.pool import Pool
from station.storage.revisions import Revisions
from station.sync.content import Content, Stored, read_content
from station.sync.events import Events
from station.sync.failure import SyncFailed
from station.sync.fetch import FetchFailed
from station.sync.index import Index
from station.sync.objects import Objects, together
from station.sync.order import Order
from station.sync.partial import writing
from station.sync.room import room_of

NAMES_MAX = 10  # missing files named in a detail


@dataclass(frozen=True, slots=True)
class Staged:
    """A revision whose every byte is on the storage, but for the tolerated `missing` paths."""

    revision: Revision
    order: int
    package_count: int
    size: int
    missing: tuple[str, ...] = ()


class Staging:
    """One order's work on the storage. `close` when done: intents are withdrawn."""

    def __init__(self, order: Order, objects: Objects, events: Events) -> None:
        self._order = order
        self._objects = objects
        self._events = events
        self._layout = Layout(order.storage)
        self._revisions = Revisions(self._layout, order.station)
        self._intents: list[Intent] = []

    def close(self) -> None:
        """Withdraw the intents. What stays after a kill is reclaimed by the storage child."""
        with writing():
            for intent in self._intents:
                withdraw_intent(intent)

    def require_storage(self) -> None:
        """Raises SyncFailed "storage" unless the storage path is ours: nothing is written into a bare mount point."""
        try:
            with writing():
                require_marker(self._layout)
        except StorageError as error:
            raise SyncFailed("storage", error.detail, retriable=True) from error

    def is_whole(self, revision: Revision) -> bool:
        """Whether the revision was completed and every object is still there. Reads no object, hashes nothing."""
        try:
            with writing():
                if not self._revisions.is_complete(self._order.source, revision):
                    return False
                manifest = self._revisions.read_manifest(self._order.source, revision)
                pool = Pool(self._layout, self._order.station)
                return all(pool.has(entry.sha256, entry.size) for entry in iterate(manifest))
        except RepoError:
            return False

    async def metadata(self, index: Index) -> Content:
        """Fetch every metadata file, byte for byte, and write the manifest. Event "metadata".

        Raises SyncFailed "metadata", "no-space", "storage", "unreachable".
        """
        records = {record.location: record for record in index.parsed.records}
        known = [r.checksum.hex for r in records.values() if r.checksum.kind == "sha256"]
        self._declare(index.revision, [*known, *(e.sha256 for e in index.entries())])
        self._refuse_if_full(sum(record.size or 0 for record in records.values()))
        await self._objects.put(list(index.files().values()))
        stored: dict[str, Stored] = {}

        async def one(path: str) -> None:
            record = records[path]
            sha256 = record.checksum.hex
            wanted = Wanted(path, record.checksum, record.size or 0, 0)
            if record.size is not None and self._objects.has(wanted):
                stored[path] = Stored(sha256, record.size)
            else:
                stored[path] = await self._objects.get(
                    path, record.checksum, record.size, _uncounted
                )

        try:
            await together([one(path) for path in records])
        except FetchFailed as error:
            raise _metadata_failure(error) from error
        return await self._write_manifest(index, stored)

    async def _write_manifest(self, index: Index, stored: Mapping[str, Stored]) -> Content:
        primary = self._layout.pool(stored[index.parsed.primary.location].sha256)
        with writing():
            content = await asyncio.to_thread(read_content, index, stored, primary)
        self._declare(index.revision, [w.checksum.hex for w in content.packages])
        every = [file.sha256 for file in stored.values()]
        await self._objects.settle([*every, *(entry.sha256 for entry in index.entries())])
        with writing():
            self._revisions.add_manifest(self._order.source, index.revision, content.manifest)
        self._events.say("metadata", revision=index.revision, order=index.order)
        return content

    async def packages(self, content: Content) -> tuple[str, ...]:
        """Fetch every package that is missing; returns those that upstream lacks, as far as the source tolerates it.

        Raises SyncFailed "missing", "checksum", "unreachable", "no-space", "storage".
        """
        plan = plan_sync(content.packages, self._objects.has)
        self._refuse_if_full(plan.missing_bytes)
        metadata_bytes = content.size - plan.total_bytes
        progress = self._events.progress(plan.total, content.size)
        # Two paths with one content are one download: counted as they are in the plan's own totals.
        progress.packages = plan.total - len(plan.missing)
        progress.bytes = metadata_bytes + plan.total_bytes - plan.missing_bytes
        progress.say()
        verdicts = await self._objects.get_all(
            plan.missing,
            progress.fetched,
            lambda wanted: progress.present(wanted.size),
            self._order.limits.connections,
        )
        progress.say()
        if len(verdicts) > self._order.tolerate_missing:
            raise _missing(verdicts, self._order.tolerate_missing)
        return tuple(sorted(verdicts))

    def complete(self, index: Index, missing: tuple[str, ...]) -> Staged:
        """Look at every object once more, then say that the revision is complete. Raises SyncFailed "storage"."""
        try:
            with writing():
                summary = self._revisions.complete(self._order.source, index.revision, missing)
        except (StorageError, RepoError) as error:
            raise SyncFailed("storage", str(error), retriable=True) from error
        self._objects.reclaim()
        return Staged(index.revision, index.order, summary.packages, summary.size, missing)

    def _declare(self, revision: Revision, objects: list[str]) -> None:
        with writing():
            self._intents.append(
                declare_intent(
                    self._layout, self._order.station, self._order.source, revision, objects
                )
            )

    def _refuse_if_full(self, missing_bytes: int) -> None:
        plan = plan_disk(missing_bytes, **room_of(self._order)._asdict())
        if not plan.fits:
            raise SyncFailed("no-space", f"{self._order.source}: {plan.refusal()}", retriable=True)


def _uncounted(count: int) -> None:
    """Metadata is fetched before the total is known."""


def _metadata_failure(error: FetchFailed) -> SyncFailed:
    code = "metadata" if error.absent or error.code == "checksum" else error.code
    return SyncFailed(code, error.detail, retriable=True)


def _missing(verdicts: Mapping[str, FetchFailed], tolerated: int) -> SyncFailed:
    codes = {error.code for error in verdicts.values()}
    absent = any(error.absent for error in verdicts.values())
    code = "missing" if absent else "checksum" if "checksum" in codes else "unreachable"
    shown = "; ".join(verdicts[path].detail for path in sorted(verdicts)[:NAMES_MAX])
    return SyncFailed(
        code,
        f"{len(verdicts)} packages are not to be had (tolerate_missing is {tolerated}): {shown}",
        retriable=True,
    )
