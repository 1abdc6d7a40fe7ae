"""What the storage is able to do and what lies on it, asked of the storage child under deadlines.

Control never touches the storage path. When the child does not answer, the mount hangs: the state is *stalled*, the
supervisor is told, and everything that does not need the storage goes on.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from station.control.storage_view import StorageView, stored_source
from station.model.publication import Publication
from station.model.states import StorageState
from station.runtime.lines import line
from station.storage.client import StorageChild, StorageError, StorageStalled
from station.storage.remembered import remember_storage, remembered_storage

PROBE_EVERY_S = 1.0
PROBE_DEADLINE_S = 3.0  # a slow NFS server answers within; a hung one never does
# Publications and revisions may appear by other stations' hands on shared storage.
INVENTORY_EVERY_S = 2.0
INVENTORY_DEADLINE_S = 30.0
WRITE_DEADLINE_S = 30.0


class StorageWatch:
    """Keeps a StorageView current. `on_change` is called after each change of it.

    The first storage ever seen is this station's, until `station storage init` says otherwise; `state` remembers it.
    """

    def __init__(self, child: StorageChild, state: Path, on_change: Callable[[], None]) -> None:
        self.view = StorageView()
        self._child = child
        self._state = state
        self._expected = ""
        self._is_swept = False
        self._was_listed = False
        self._on_change = on_change
        self._inventory_wanted = asyncio.Event()
        self._write = asyncio.Lock()

    async def watch(self) -> None:
        """Probe and list for ever."""
        self._expect_remembered()
        since_inventory = INVENTORY_EVERY_S
        while True:
            await self._probe()
            due = since_inventory >= INVENTORY_EVERY_S or self._inventory_wanted.is_set()
            if due and self.is_readable:
                await self.refresh()
                since_inventory = 0.0
            try:
                async with asyncio.timeout(PROBE_EVERY_S):
                    await self._inventory_wanted.wait()
            except TimeoutError:
                since_inventory += PROBE_EVERY_S

    @property
    def is_readable(self) -> bool:
        """True when what lies there may be trusted and read."""
        return self.view.state in (StorageState.READY, StorageState.READ_ONLY, StorageState.FULL)

    @property
    def is_known(self) -> bool:
        """Whether its state was told and, where it can be read, what lies there."""
        return self.view.was_asked and (self._was_listed or not self.is_readable)

    def look_again(self) -> None:
        """A child process says that something new lies there: list it now."""
        self._inventory_wanted.set()

    async def refresh(self) -> None:
        """List the storage now."""
        self._inventory_wanted.clear()
        try:
            found = await self._child.call("inventory", deadline_s=INVENTORY_DEADLINE_S)
        except StorageStalled:
            self._become(StorageState.STALLED, "the storage did not answer in time")
            return
        except StorageError as error:
            line("warning", "storage.inventory_failed", code=error.code, detail=error.detail)
            return
        sources = {source: stored_source(wire) for source, wire in found.items()}
        is_first, self._was_listed = not self._was_listed, True
        if is_first or sources != self.view.sources:
            self._set(sources=sources)

    async def publish(self, source: str, publication: Publication) -> None:
        """Link `publication` as live on the storage. Raises StorageError, StorageStalled."""
        async with self._write:
            await self._child.call(
                "publish",
                deadline_s=WRITE_DEADLINE_S,
                source=source,
                number=publication.number,
                order=publication.order,
                revision=str(publication.revision),
            )
        await self.refresh()

    async def call(self, op: str, *, deadline_s: float = WRITE_DEADLINE_S, **args: Any) -> Any:
        """Any other operation of the storage child."""
        return await self._child.call(op, deadline_s=deadline_s, **args)

    async def _probe(self) -> None:
        try:
            answer = await self._child.call("probe", deadline_s=PROBE_DEADLINE_S)
        except StorageStalled:
            self._become(StorageState.STALLED, "the storage did not answer in time")
            return
        except StorageError as error:
            self._become(StorageState.MISSING, f"{error.code}: {error.detail}")
            return
        state = StorageState(answer["state"])
        if state is StorageState.FOREIGN:
            self._expect_remembered()  # `storage init` may have adopted it meanwhile
        elif state is StorageState.READY and not self._expected:
            self._adopt(answer["storage_id"])
        if state is StorageState.READY and not self._is_swept and not await self._sweep():
            return
        if state is not self.view.state:
            self._become(state, answer["detail"])
        figures = (answer["storage_id"], answer["capacity"], answer["free"])
        if figures != (self.view.storage_id, self.view.capacity, self.view.free):
            self._set(
                storage_id=figures[0], capacity=figures[1], free=figures[2], detail=answer["detail"]
            )

    async def _sweep(self) -> bool:
        """Whether what an earlier run left is gone. Nothing else writes before: it would be taken for such a rest."""
        try:
            found = await self._child.call("sweep", deadline_s=WRITE_DEADLINE_S)
        except StorageStalled:
            self._become(StorageState.STALLED, "the storage did not answer in time")
            return False
        except StorageError as error:
            self._become(StorageState.MISSING, f"{error.code}: {error.detail}")
            return False
        line("info", "storage.swept", **found)
        self._is_swept = True
        return True

    def _expect_remembered(self) -> None:
        try:
            known = remembered_storage(self._state)
        except (OSError, ValueError) as error:
            line("error", "storage.id_unreadable", error=error)
            return
        if known != self._expected:
            self._expected = known
            self._child.expect(storage_id=known)

    def _adopt(self, storage_id: str) -> None:
        try:
            remember_storage(self._state, storage_id)
        except OSError as error:
            line("error", "storage.id_not_kept", error=error)
            return
        line("info", "storage.remembered", storage_id=storage_id)
        self._expect_remembered()

    def _become(self, state: StorageState, detail: str) -> None:
        if state is self.view.state and detail == self.view.detail:
            return
        level = "info" if state is StorageState.READY else "error"
        line(level, "storage.state", state=state.value, detail=detail)
        self._set(state=state, detail=detail)
        if self.is_readable:
            self._inventory_wanted.set()

    def _set(self, **changes: Any) -> None:
        fields = {name: getattr(self.view, name) for name in StorageView.__dataclass_fields__}
        self.view = StorageView(**(fields | changes))
        self._on_change()
