"""What must stay of each source, as registry and stations say, and when anything may be taken away. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from station.control.changes import Records
from station.control.storage_view import StoredSource
from station.model.identity import Revision
from station.model.report import StationReport
from station.repo.retention import (
    GRACE_S,
    Kept,
    RevisionFacts,
    judge_revisions,
    retain_for,
)
from station.setup.repo_file import METADATA_EXPIRE_S

# 72 hours, or a day more than dnf keeps its metadata.
RETAIN_S = retain_for(METADATA_EXPIRE_S)

# Of the reasons to keep a revision, those that time takes away.
_SECONDS = {Kept.WAS_LIVE: RETAIN_S, Kept.FRESH: GRACE_S}


def frozen_revisions(records: Records) -> dict[str, set[Revision]]:
    """By source: what a freeze of the source or of a profile holds. A freeze whose time is over still holds it."""
    found: dict[str, set[Revision]] = {}
    for source in records.sources.values():
        if source.is_frozen and source.frozen_revision:
            found.setdefault(source.id, set()).add(Revision(source.frozen_revision))
    for profile in records.profiles.values():
        for source_id, revision in profile.frozen.items():
            found.setdefault(source_id, set()).add(Revision(revision))
    return found


def staged_revisions(
    records: Records, reports: Iterable[StationReport]
) -> dict[str, set[Revision]]:
    """By source: what is registered, shown, or prepared anywhere in the group."""
    found: dict[str, set[Revision]] = {}
    for source, publication in records.publications.items():
        found.setdefault(source, set()).add(Revision(publication.revision))
    for report in reports:
        for source, said in report.sources.items():
            named = {Revision(text) for text in (said.candidate, said.upstream) if text}
            if said.live:
                named.add(said.live.revision)
            if named:
                found.setdefault(source, set()).update(named)
    return found


def why_not_remove(
    records: Records,
    stored: Iterable[str],
    present: Iterable[str],
    *,
    has_exchanged: bool,
    is_new_epoch: bool,
    is_known: Mapping[str, bool],
) -> str:
    """Why nothing may be taken away from a storage now; empty when it may.

    `stored`: the sources on it; `is_known`: whether the registry ever knew each. A registry that lost its records
    knows neither what is referred to nor what is frozen, and must not judge.
    """
    if records.group is None or not has_exchanged:
        return "the registry has not heard from the group yet"
    absent = sorted(set(records.stations) - set(present))
    if absent:
        return f"out of contact with {', '.join(absent)}"
    unknown = sorted(source for source in stored if not is_known.get(source))
    if is_new_epoch and unknown:
        return f"the registry was begun anew and knows nothing of {', '.join(unknown[:5])}"
    return ""


def revision_rows(
    stored: StoredSource,
    *,
    frozen: Iterable[Revision],
    staged: Iterable[Revision],
    idle_s: Mapping[Revision, float] | None,
) -> list[dict[str, Any]]:
    """One row per revision, newest first: why it is kept, and for how many seconds more at least.

    `idle_s`: for how long the collector has seen each unused; None when another station collects. A kept_for_s of None
    means: as long as the reason lasts.
    """
    idle = idle_s or {}
    facts = [
        RevisionFacts(revision, held.order, held.is_complete, idle.get(revision, 0.0))
        for revision, held in stored.revisions.items()
    ]
    kept = judge_revisions(
        facts,
        stored.live,
        frozen=set(frozen),
        staged=set(staged),
        in_use=(),
        retain_s=RETAIN_S,
    )
    numbers = {p.revision: p.number for p in stored.live}
    rows = []
    for fact in sorted(facts, key=lambda f: (f.order, f.revision), reverse=True):
        why = kept.get(fact.revision)
        lasts = _SECONDS.get(why) if why else 0.0
        held = stored.revisions[fact.revision]
        rows.append(
            {
                "revision": str(fact.revision),
                "order": held.order,
                "publication": numbers.get(fact.revision, 0),
                "complete": held.is_complete,
                "package_count": held.packages,
                "size": held.size,
                "kept": why.value if why else "nothing: the collector may take it",
                "kept_for_s": None if lasts is None else max(0.0, lasts - fact.idle_s),
            }
        )
    return rows
