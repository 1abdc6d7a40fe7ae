"""What this station says of each source in its report to the peers. Pure."""

from collections.abc import Container, Mapping
from dataclasses import replace

from station.control.storage_view import StorageView, StoredSource
from station.model.identity import Revision
from station.model.publication import Publication
from station.model.records import PublicationRecord
from station.model.report import SourceReport
from station.model.states import StorageState

# Of a source, those told to the others: a station that lost its storage asks for the manifests of these. At a flip
# every few seconds, which is faster than any vendor, they are what the last minutes showed.
RETAINED_MAX = 16

# What was listed there before cannot be read now.
_UNREADABLE = (
    StorageState.MISSING,
    StorageState.FOREIGN,
    StorageState.STALLED,
    StorageState.DENIED,
)


def source_report(
    said: SourceReport,
    source: str,
    storage: StorageView,
    *,
    live: Publication | None,
    candidate: Revision | None,
    record: PublicationRecord | None,
    kept: Publication | None,
    copies: Mapping[Revision, int],
    next_at: float,
) -> SourceReport:
    """`said` (what the sync desk knows) with what is shown, and what this station holds.

    `copies`: the manifests in the state directory, with their order: all that counts while the storage cannot be read.
    """
    stored = storage.sources.get(source, StoredSource())
    numbers = [p.number for p in (stored.greatest, kept) if p]
    here = manifests_here(source, storage, copies)
    return replace(
        said,
        live=live,
        greatest=max([record.number if record else 0, *numbers]),
        revisions=here,
        complete=complete_here(source, storage),
        retained=_retained(stored, here),
        candidate=str(candidate or ""),
        next_at=next_at,
    )


def manifests_here(
    source: str, storage: StorageView, copies: Mapping[Revision, int]
) -> dict[Revision, int]:
    """Every revision that can be looked up here now, with its order."""
    if storage.state in _UNREADABLE:
        return dict(copies)
    stored = storage.sources.get(source, StoredSource())
    orders = {revision: facts.order for revision, facts in stored.revisions.items()}
    return orders if storage.state is StorageState.READY else {**copies, **orders}


def complete_here(source: str, storage: StorageView) -> frozenset[Revision]:
    """The revisions of which every byte can be read here now."""
    if storage.state in _UNREADABLE:
        return frozenset()
    stored = storage.sources.get(source, StoredSource())
    return frozenset(r for r, facts in stored.revisions.items() if facts.is_complete)


def orders_known(
    revisions: Container[Revision],
    storage: StorageView,
    source: str,
    publications: list[Publication],
    others: list[SourceReport],
) -> dict[Revision, int]:
    """The order of each of `revisions`, as far as the storage, a publication or a peer told it."""
    stored = storage.sources.get(source, StoredSource())
    found = {r: o for report in others for r, o in report.revisions.items()}
    found |= {p.revision: p.order for p in publications}
    found |= {r: facts.order for r, facts in stored.revisions.items()}
    return {revision: order for revision, order in found.items() if revision in revisions}


def _retained(stored: StoredSource, here: Container[Revision]) -> tuple[Revision, ...]:
    """Only what this storage saw live: a manifest fetched for a client must not make others fetch it for ever."""
    once = dict.fromkeys(publication.revision for publication in reversed(stored.live))
    return tuple(revision for revision in [*once][1:] if revision in here)[:RETAINED_MAX]
