"""The union rule: the sources this group mirrors, and why. Derived, never stored, never sent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from station.model.records import (
    InstanceRecord,
    ProfileRecord,
    ReferenceRecord,
    SourceRecord,
    SourceType,
)


@dataclass(frozen=True, slots=True, order=True)
class Reason:
    """Why a source is on the list: `profile web (station StationA)`, `instance db1 (station StationB)`, `pinned`."""

    kind: str
    holder: str = ""
    station: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.holder} (station {self.station})" if self.holder else self.kind


@dataclass(frozen=True, slots=True)
class MirrorListEntry:
    """One mirrored source and the reasons for it, sorted."""

    source: SourceRecord
    reasons: tuple[Reason, ...]


def derive_mirror_list(
    sources: Mapping[str, SourceRecord],
    profiles: Mapping[str, ProfileRecord],
    instances: Mapping[str, InstanceRecord],
    references: Iterable[ReferenceRecord],
) -> dict[str, MirrorListEntry]:
    """The union over all profiles and instances of the group, and the pinned sources, by source id.

    A reference whose holder or source is gone counts for nothing. PRIVATE and THIRD_PARTY sources are listed only
    where mirroring them is allowed.
    """
    reasons: dict[str, set[Reason]] = {}
    for reference in references:
        holders: Mapping[str, ProfileRecord | InstanceRecord] = (
            profiles if reference.holder_kind == "profile" else instances
        )
        holder = holders.get(reference.holder)
        if holder is not None:
            reason = Reason(reference.holder_kind, reference.holder, holder.station)
            reasons.setdefault(reference.source, set()).add(reason)
    for source_id, source in sources.items():
        if source.is_pinned:
            reasons.setdefault(source_id, set()).add(Reason("pinned"))
    return {
        source_id: MirrorListEntry(sources[source_id], tuple(sorted(found)))
        for source_id, found in sorted(reasons.items())
        if source_id in sources and may_be_mirrored(sources[source_id])
    }


def may_be_mirrored(source: SourceRecord) -> bool:
    """False for a private or third-party source whose mirroring is not allowed."""
    needs_leave = source.type in (SourceType.PRIVATE, SourceType.THIRD_PARTY)
    return source.is_mirror_sync_allowed or not needs_leave
