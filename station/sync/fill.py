"""Fills: single files that clients wait for, into growing files that workers send from while they grow."""

import contextlib
from pathlib import Path

from station.repo.checksum import Checksum
from station.repo.errors import RepoError
from station.repo.location import REPOMD
from station.repo.manifest import lookup
from station.repo.plan import Wanted
from station.storage.layout import Layout
from station.storage.pool import Pool
from station.storage.revisions import Revisions
from station.sync.coming import comes_anyway
from station.sync.copying import copy_metadata
from station.sync.events import Events
from station.sync.failure import SyncFailed
from station.sync.fetch import FetchFailed
from station.sync.objects import Objects
from station.sync.order import Order
from station.sync.partial import Growing, name_of_fill, name_of_sync, writing
from station.sync.peers import Peers
from station.sync.room import room_of
from station.sync.staging import Staging


class Fill:
    """One order of kind "fill". Every event names source, revision (as ordered, or "") and path."""

    def __init__(self, order: Order, peers: Peers, objects: Objects, events: Events) -> None:
        self._order = order
        self._peers = peers
        self._objects = objects
        self._events = events
        self._pool = Pool(Layout(order.storage), order.station)

    async def run(self) -> None:
        """Fetch what is ordered, one after the other; each ends with "filled" or "failed"."""
        wanted = list(self._order.objects)
        if self._order.path:
            try:
                if self._order.path == REPOMD:
                    await self._bring_revision()
                wanted.append(await self._look_up())
            except SyncFailed as failure:
                self._failed(self._order.path, failure)
        for one in wanted:
            try:
                await self._fill(one)
            except SyncFailed as failure:
                self._failed(one.path, failure)
            except FetchFailed as error:
                code = "missing" if error.absent else error.code
                self._failed(one.path, SyncFailed(code, error.detail, retriable=True))

    async def _bring_revision(self) -> None:
        """Whoever asks for repomd.xml of a revision waits for its manifest: that comes first, as a copy brings it."""
        order = self._order
        layout = Layout(order.storage)
        if order.revision is None or layout.manifest(order.source, order.revision).exists():
            return
        with contextlib.closing(Staging(order, self._objects, self._events)) as staging:
            await copy_metadata(order, self._peers, self._objects, staging, self._pool)

    async def _fill(self, wanted: Wanted) -> None:
        facts = {"sha256": wanted.checksum.hex, "size": wanted.size, "mtime": wanted.mtime}
        syncs = name_of_sync("*", wanted.checksum.hex)
        if not self._objects.has(wanted) and not await comes_anyway(self._pool, wanted, syncs):
            self._refuse_if_full(wanted)
            with writing():
                place = self._pool.new_partial(name_of_fill(wanted.checksum.hex))
            growing = Growing(place, wanted.checksum, wanted.size)
            try:
                with writing():
                    growing.open(resume=False)
                self._say("growing", wanted.path, file=str(place), **facts)
                await self._objects.bring(wanted.path, growing, _uncounted)
                await self._objects.settle([wanted.checksum.hex])
            except BaseException:
                growing.discard()
                raise
        self._say("filled", wanted.path, **facts)

    def _refuse_if_full(self, wanted: Wanted) -> None:
        """Before a client has the first bytes: then it can be had another way yet. Raises SyncFailed."""
        free, floor = room_of(self._order)
        if free - wanted.size < floor:
            detail = f"{wanted.path}: {wanted.size} bytes of {free} free ones, of which {floor} stay free"
            raise SyncFailed("no-space", detail, retriable=True)

    async def _look_up(self) -> Wanted:
        """The ordered path in the ordered revision, or in the newest that has it. Raises SyncFailed."""
        order = self._order
        for manifest in await self._manifests():
            try:
                entry = lookup(manifest, order.path.encode())
            except RepoError as error:
                raise SyncFailed("metadata", str(error), retriable=True) from error
            if entry is not None:
                checksum = Checksum("sha256", entry.sha256)
                return Wanted(entry.path, checksum, entry.size, entry.mtime)
        where = order.revision or "any revision that is here"
        raise SyncFailed("missing", f"{order.path} is not in {where}", retriable=False)

    async def _manifests(self) -> list[bytes]:
        source, revision = self._order.source, self._order.revision
        revisions = Revisions(Layout(self._order.storage), self._order.station)
        if revision is None:
            with writing():
                found = {one: revisions.stored(source, one) for one in revisions.revisions(source)}
                orders = {one: stored.summary.order for one, stored in found.items() if stored}
                newest = sorted(orders, key=lambda one: orders[one], reverse=True)
                return [revisions.read_manifest(source, one) for one in newest]
        with contextlib.suppress(OSError):
            return [revisions.read_manifest(source, revision)]
        return [await self._peers.manifest(source, revision)]

    def _say(self, event: str, path: str, **fields: object) -> None:
        revision = self._order.revision or ""
        self._events.say(event, source=self._order.source, revision=revision, path=path, **fields)

    def _failed(self, path: str, failure: SyncFailed) -> None:
        revision = self._order.revision or ""
        self._events.failed(failure, source=self._order.source, revision=revision, path=path)


def reclaim_fills(directory: Path) -> None:
    """Remove the growing files of fill children that have ended. Never raises."""
    with contextlib.suppress(OSError):
        for path in directory.glob("fill-*"):
            pid = path.name.split("-")[1].partition(".")[0]
            if not Path(f"/proc/{pid}").exists():
                path.unlink(missing_ok=True)


def _uncounted(count: int) -> None:
    """Workers see the file grow."""
