"""One change of the registry, as its writers say it: a record with a new value, or without."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from station.model.records import Kind, Record


@dataclass(frozen=True, slots=True)
class Change:
    """`value` (JSON) becomes the record (kind, key); None deletes it."""

    kind: Kind
    key: str
    value: Mapping[str, Any] | None

    @classmethod
    def put(cls, kind: Kind, key: str, record: Record) -> Self:
        """The record as a change."""
        return cls(kind, key, record.model_dump(mode="json"))

    @classmethod
    def delete(cls, kind: Kind, key: str) -> Self:
        """The deletion of a record."""
        return cls(kind, key, None)
