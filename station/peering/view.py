"""The registry's records, decoded once each, as the rest of the station reads them.

Gossip shows only what validates here, and of that only the fields that this version knows; the rest (a newer
station may understand it) is kept and relayed, and counted as opaque.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, cast

from station.model.records import (
    RECORDS,
    GroupRecord,
    InstanceRecord,
    Kind,
    ProfileRecord,
    PublicationRecord,
    ReferenceRecord,
    SourceRecord,
    StationRecord,
)
from station.peering.candidate import GROUP_KEY

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class RecordsView:
    """Reads through `get(kind, key)`, which gives a valid value or None, what `changed` named since the last look."""

    def __init__(self, get: Callable[[Kind, str], Mapping[str, Any] | None]) -> None:
        self._get = get
        self._decoded: dict[Kind, Mapping[str, Any]] = {}
        self._dirty: dict[str, set[str]] = {}

    def changed(self, keys: Iterable[tuple[str, str]]) -> None:
        """These records have new values."""
        for kind, key in keys:
            self._dirty.setdefault(kind, set()).add(key)

    def group(self) -> GroupRecord | None:
        """What all stations share; None before the first exchange of a station that joined."""
        return cast(GroupRecord | None, self._of(Kind.GROUP).get(GROUP_KEY))

    def stations(self) -> Mapping[str, StationRecord]:
        """The members of the group by name."""
        return self._of(Kind.STATION)

    def sources(self) -> Mapping[str, SourceRecord]:
        """The software sources by id."""
        return self._of(Kind.SOURCE)

    def profiles(self) -> Mapping[str, ProfileRecord]:
        """The profiles by name."""
        return self._of(Kind.PROFILE)

    def instances(self) -> Mapping[str, InstanceRecord]:
        """The instances by id."""
        return self._of(Kind.INSTANCE)

    def references(self) -> Mapping[str, ReferenceRecord]:
        """The references by key (`profile:NAME:SOURCE`)."""
        return self._of(Kind.REFERENCE)

    def publications(self) -> Mapping[str, PublicationRecord]:
        """The publications by source."""
        return self._of(Kind.PUBLICATION)

    def settings(self) -> Mapping[str, Mapping[str, Any]]:
        """The settings as they were written."""
        return self._of(Kind.SETTINGS)

    def _of(self, kind: Kind) -> Mapping[str, Any]:
        """A mapping that never changes: whoever iterates over it may await in between."""
        found = self._decoded.get(kind, _NOTHING)
        dirty = self._dirty.pop(kind, None)
        if dirty:
            fresh = dict(found)
            for key in sorted(dirty):
                value = self._decode(kind, key)
                if value is None:
                    fresh.pop(key, None)
                else:
                    fresh[key] = value
            found = self._decoded[kind] = MappingProxyType(fresh)
        return found

    def _decode(self, kind: Kind, key: str) -> Any:
        value = self._get(kind, key)
        model = RECORDS.get(kind)
        if value is None or model is None:
            return value
        return model.model_validate(value)
