"""The registry's records, decoded once each, as the rest of the station reads them.

A record that does not validate here (a newer station may understand it) is left out and counted; fields that this
version does not know are ignored for reading and travel on untouched.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, cast

from station.model.records import (
    RECORDS,
    GroupRecord,
    InstanceRecord,
    Kind,
    ProfileRecord,
    PublicationRecord,
    Record,
    ReferenceRecord,
    SourceRecord,
    StationRecord,
)
from station.peering.candidate import GROUP_KEY
from station.runtime.lines import line

R = TypeVar("R", bound=Record)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class RecordsView:
    """Reads through `get(kind, key)` what `changed` named since the last look; the raw value, or None."""

    def __init__(self, get: Callable[[Kind, str], Mapping[str, Any] | None]) -> None:
        self._get = get
        self._decoded: dict[Kind, Mapping[str, Any]] = {}
        self._dirty: dict[Kind, set[str]] = {}
        self._invalid: dict[tuple[Kind, str], str] = {}

    def changed(self, keys: Iterable[tuple[Kind, str]]) -> None:
        """These records have new values."""
        for kind, key in keys:
            self._dirty.setdefault(kind, set()).add(key)

    @property
    def invalid(self) -> Mapping[tuple[Kind, str], str]:
        """Records left out, and why."""
        for kind in Kind:
            self._of(kind)
        return MappingProxyType(self._invalid)

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
            for key in dirty:
                value = self._decode(kind, key)
                if value is None:
                    fresh.pop(key, None)
                else:
                    fresh[key] = value
            found = self._decoded[kind] = MappingProxyType(fresh)
        return found

    def _decode(self, kind: Kind, key: str) -> Any:
        value = self._get(kind, key)
        self._invalid.pop((kind, key), None)
        if value is None:
            return None
        model = RECORDS.get(kind)
        if model is None:
            return MappingProxyType(dict(value))
        try:
            return model.model_validate({k: v for k, v in value.items() if k in model.model_fields})
        except ValueError as error:
            self._invalid[kind, key] = str(error)
            line("warning", "record.invalid", kind=kind, key=key, error=str(error)[:500])
            return None
