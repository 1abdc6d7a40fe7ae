"""Which revisions of a source must stay servable, and why. What has no reason may be collected."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from station.model.identity import Revision
from station.model.publication import Publication

# A machine switched off over a weekend continues what it began on Friday.
RETAIN_S_MIN = 72 * 3600.0
BEYOND_EXPIRE_S = 24 * 3600.0
GRACE_S = 24 * 3600.0  # from unnamed to removed: longer than the longest download we allow


class Kept(StrEnum):
    """Why a revision is kept. The first that applies."""

    LIVE = "live"
    FROZEN = "frozen"
    STAGED = "staged"
    WAS_LIVE = "was live"
    IN_USE = "a sync relies on it"
    FRESH = "not yet judged"


@dataclass(frozen=True, slots=True)
class RevisionFacts:
    """A revision on the storage. `idle_s`: for how long it was seen neither live nor staged (0: not yet seen so)."""

    revision: Revision
    order: int
    is_complete: bool
    idle_s: float


def retain_for(metadata_expire_s_max: float) -> float:
    """Seconds a revision stays servable after it was live. `metadata_expire_s_max`: the longest we hand out."""
    return max(RETAIN_S_MIN, metadata_expire_s_max + BEYOND_EXPIRE_S)


def judge_revisions(
    facts: Iterable[RevisionFacts],
    publications: Collection[Publication],
    *,
    frozen: Collection[Revision],
    staged: Collection[Revision],
    in_use: Collection[Revision],
    retain_s: float,
) -> dict[Revision, Kept]:
    """The revisions to keep, each with its reason. Pure: time comes in as `idle_s` of the facts.

    `frozen`: held by a source's or a profile's freeze. `staged`: candidates of any station. `in_use`: named by an
    intent. The newest complete revision beyond the live one counts as staged even when nobody says so.
    """
    facts = list(facts)
    live = max(publications).revision if publications else None
    was_live = {publication.revision for publication in publications}
    newest = _newest_staged(facts, publications, was_live)
    kept: dict[Revision, Kept] = {}
    for fact in facts:
        revision = fact.revision
        if revision == live:
            kept[revision] = Kept.LIVE
        elif revision in frozen:
            kept[revision] = Kept.FROZEN
        elif revision in staged or revision == newest:
            kept[revision] = Kept.STAGED
        elif revision in in_use:
            kept[revision] = Kept.IN_USE
        elif revision in was_live:
            if fact.idle_s < retain_s:
                kept[revision] = Kept.WAS_LIVE
        elif fact.idle_s < GRACE_S:
            kept[revision] = Kept.FRESH
    return kept


def _newest_staged(
    facts: list[RevisionFacts], publications: Collection[Publication], was_live: set[Revision]
) -> Revision | None:
    """Of the complete revisions never live and newer than the live one, the newest."""
    order = max(publications).order if publications else -1
    newer = [f for f in facts if f.is_complete and f.revision not in was_live and f.order >= order]
    return max(newer, key=lambda f: (f.order, f.revision)).revision if newer else None


def advance_idle(
    idle_s: Mapping[str, float], busy: Collection[str], seen: Iterable[str], elapsed_s: float
) -> dict[str, float]:
    """The waiting times after `elapsed_s` more seconds, of those of `seen` that are not `busy`.

    What is busy is not listed: once it no longer is, it begins at 0 with the first look that sees so. `elapsed_s` is
    time this machine spent running since the last look, so that no jump of a clock expires anything.
    """
    return {
        name: idle_s[name] + elapsed_s if name in idle_s else 0.0
        for name in seen
        if name not in busy
    }
