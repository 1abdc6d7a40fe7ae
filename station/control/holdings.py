"""Which sources each profile and each instance refers to, sorted once a change and not once a question. Pure."""

from collections.abc import Mapping

from station.model.records import ReferenceRecord


class Holdings:
    """Read through `sources_of`; the mappings of references never change, a new one is given after each change."""

    def __init__(self) -> None:
        self._read: Mapping[str, ReferenceRecord] | None = None
        self._by_holder: dict[tuple[str, str], list[str]] = {}

    def sources_of(
        self, references: Mapping[str, ReferenceRecord], holder_kind: str, holder: str
    ) -> list[str]:
        """The ids of the sources, in no particular order."""
        if references is not self._read:
            self._read, self._by_holder = references, {}
            for record in references.values():
                place = record.holder_kind, record.holder
                self._by_holder.setdefault(place, []).append(record.source)
        return self._by_holder.get((holder_kind, holder), [])
