"""The records as the rest of the station reads them."""

from typing import Any

import pytest

from station.model.records import Kind, ReferenceRecord, SourceRecord
from station.peering.view import RecordsView


class Shelf:
    """Values by (kind, key); counts how often each was asked for."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], dict[str, Any]] = {}
        self.reads = 0

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        self.reads += 1
        return self.values.get((kind, key))


@pytest.fixture
def shelf() -> Shelf:
    shelf = Shelf()
    for name in ("one", "two"):
        shelf.values[Kind.SOURCE, name] = {"id": name, "url": "http://upstream.test/"}
    return shelf


@pytest.fixture
def view(shelf: Shelf) -> RecordsView:
    view = RecordsView(shelf.get)
    view.changed(shelf.values)
    return view


def test_records_are_decoded_once(shelf: Shelf, view: RecordsView) -> None:
    assert view.sources()["one"] == SourceRecord(id="one", url="http://upstream.test/")
    assert view.sources() is view.sources()
    assert shelf.reads == 2


def test_only_what_changed_is_decoded_again(shelf: Shelf, view: RecordsView) -> None:
    before = view.sources()
    shelf.values[Kind.SOURCE, "one"]["display_name"] = "One"
    view.changed([(Kind.SOURCE, "one")])
    assert view.sources()["one"].display_name == "One"
    assert view.sources()["two"] is before["two"]
    assert shelf.reads == 3


def test_reader_that_iterates_is_not_disturbed_by_a_change(shelf: Shelf, view: RecordsView) -> None:
    seen = []
    for name in view.sources():
        seen.append(name)
        del shelf.values[Kind.SOURCE, name]
        view.changed([(Kind.SOURCE, name)])
        view.sources()
    assert seen == ["one", "two"]
    assert dict(view.sources()) == {}


def test_kinds_are_apart_and_settings_are_as_written(shelf: Shelf, view: RecordsView) -> None:
    reference = ReferenceRecord(holder_kind="profile", holder="web", source="one")
    shelf.values[Kind.REFERENCE, reference.key] = reference.model_dump(mode="json")
    shelf.values[Kind.SETTINGS, "token:1"] = {"any": ["thing"]}
    view.changed([(Kind.REFERENCE, reference.key), (Kind.SETTINGS, "token:1")])
    assert dict(view.references()) == {reference.key: reference}
    assert dict(view.settings()) == {"token:1": {"any": ["thing"]}}
    assert not any((view.profiles(), view.instances(), view.publications(), view.stations()))
    assert view.group() is None


def test_kind_of_a_newer_station_disturbs_nobody(view: RecordsView) -> None:
    view.changed([("hologram", "x")])
    assert set(view.sources()) == {"one", "two"}
