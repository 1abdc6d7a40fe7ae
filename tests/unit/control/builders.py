"""A small group, and what lies on its storages."""

from station.control.changes import Records
from station.control.storage_view import StorageView, StoredRevision, StoredSource
from station.model.identity import Revision
from station.model.publication import Publication
from station.model.records import (
    GroupRecord,
    ProfileRecord,
    PublicationRecord,
    ReferenceRecord,
    SourceRecord,
    StationRecord,
)
from station.model.states import StorageState

URL = "https://upstream.example/base/"
R1, R2, R3 = (Revision(digit * 64) for digit in "123")
FIRST, SECOND = Publication(1, 10, R1), Publication(2, 20, R2)


def records(
    *,
    frozen: dict[str, str] | None = None,
    is_frozen: bool = False,
    frozen_revision: Revision | None = None,
    publication: Publication | None = None,
) -> Records:
    """Stations A and B; profile `web` (frozen: its pins) → source `base`."""
    base = SourceRecord(
        id="base", url=URL, is_frozen=is_frozen, frozen_revision=frozen_revision, gpgkey="KEY"
    )
    reference = ReferenceRecord(holder_kind="profile", holder="web", source="base")
    shown = {}
    if publication:
        shown["base"] = PublicationRecord(
            number=publication.number,
            order=publication.order,
            revision=publication.revision,
            by="A",
        )
    return Records(
        GroupRecord(id="g", compartment="c", hostname="lb.example.com"),
        {name: StationRecord(name=name, address=f"{name}.example.com") for name in ("A", "B")},
        {"base": base},
        {"web": ProfileRecord(name="web", station="A", frozen=frozen or {})},
        {},
        {reference.key: reference},
        shown,
    )


def held(order: int, *, is_complete: bool = True) -> StoredRevision:
    """One revision on a storage."""
    return StoredRevision(is_complete, 5, 500, order)


def view(
    *, state: StorageState = StorageState.READY, is_complete: bool = True, detail: str = ""
) -> StorageView:
    """A storage on which R1 of `base` is live."""
    stored = StoredSource((FIRST,), {R1: held(10, is_complete=is_complete)})
    return StorageView(state, detail, "s1", 1000, 500, {"base": stored})
