"""What lies on the storage, as the storage child last told it. Pure."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from station.model.identity import InvalidName, Revision
from station.model.publication import Publication
from station.model.states import StorageState


@dataclass(frozen=True, slots=True)
class StoredRevision:
    """A revision with a manifest on the storage."""

    is_complete: bool
    packages: int
    size: int  # bytes of all its files
    order: int


@dataclass(frozen=True, slots=True)
class StoredSource:
    """What the storage holds of one source."""

    live: tuple[Publication, ...] = ()  # every publication ever linked and not collected, ascending
    revisions: dict[Revision, StoredRevision] = field(default_factory=dict)

    @property
    def greatest(self) -> Publication | None:
        """The publication that is live by the storage's own testimony."""
        return self.live[-1] if self.live else None


@dataclass(frozen=True, slots=True)
class StorageView:
    """The last answers of the storage child."""

    state: StorageState = StorageState.STALLED
    detail: str = "not asked yet"
    storage_id: str = ""
    capacity: int = 0
    free: int = 0
    sources: dict[str, StoredSource] = field(default_factory=dict)

    @property
    def was_asked(self) -> bool:
        """Whether the storage said anything yet, or failed to."""
        return self != StorageView()


def stored_source(wire: dict[str, Any]) -> StoredSource:
    """One source of the child's inventory; a stray file under `live/` is no publication and counts for nothing."""
    live = []
    for name in wire["live"]:
        with suppress(InvalidName):
            live.append(Publication.parse(name))
    revisions = {
        Revision(revision): StoredRevision(
            bool(facts["complete"]), int(facts["packages"]), int(facts["size"]), int(facts["order"])
        )
        for revision, facts in wire["revisions"].items()
    }
    return StoredSource(tuple(sorted(live)), revisions)
