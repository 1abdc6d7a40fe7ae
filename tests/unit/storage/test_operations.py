"""The operations as control asks for them: shapes of answers, and refusal without a marker."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from station.storage.errors import StorageError
from station.storage.intents import declare_intent
from station.storage.layout import manifest_copy
from station.storage.operations import Operations, Settings
from tests.unit.storage.shelf import GROUP, SOURCE, STATION, Staged, a_layout, put, sha_of


def ask(operations: Operations, op: str, **args: Any) -> Any:
    """The result, whether the operation is quick or long."""
    found = operations.find(op)(**args)
    if isinstance(found, Iterator):
        return list(found)[-1]
    return found


def operations_in(directory: Path, group: str = GROUP) -> Operations:
    settings = Settings(str(directory / "storage"), STATION, str(directory / "state"), group)
    return Operations(settings)


def test_inventory_lists_publications_and_revisions(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    staged = Staged({"a.rpm": b"12345"}, order=7).stage(layout)
    operations = operations_in(tmp_path)
    answer = ask(operations, "publish", source=SOURCE, number=3, order=7, revision=staged.revision)
    assert answer == {"made": True}
    found = ask(operations, "inventory")[SOURCE]
    assert found["live"] == [f"{3:020d}-{7:020d}-{staged.revision}"]
    facts = found["revisions"][staged.revision]
    assert (facts["complete"], facts["packages"], facts["order"]) == (True, 1, 7)
    assert facts["size"] == sum(len(content) for content in staged.files.values())


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("inventory", {}),
        ("publish", {"source": SOURCE, "number": 1, "order": 1, "revision": "0" * 64}),
        ("add_manifest", {"source": SOURCE, "revision": "0" * 64, "manifest": ""}),
        ("recognise", {}),
        ("collect", {}),
        ("purge", {"source": SOURCE}),
        ("sweep", {}),
        ("reclaim", {}),
        ("forget", {"station": "B"}),
    ],
)
def test_without_its_marker_nothing_is_done(tmp_path: Path, op: str, args: dict[str, Any]) -> None:
    a_layout(tmp_path)
    with pytest.raises(StorageError) as caught:
        ask(operations_in(tmp_path, group="another"), op, **args)
    assert caught.value.code == "foreign"
    for path in sorted((tmp_path / "storage").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(StorageError) as caught:
        ask(operations_in(tmp_path), op, **args)
    assert caught.value.code == "missing"
    assert list((tmp_path / "storage").iterdir()) == []


def test_only_operations_can_be_called(tmp_path: Path) -> None:
    for name in ("find", "_collector", "__init__", "nonsense"):
        with pytest.raises(StorageError) as caught:
            operations_in(tmp_path).find(name)
        assert caught.value.code == "unknown-op"


def test_sweep_removes_what_ended_processes_left(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    dead = declare_intent(layout, STATION, SOURCE, "", [])
    dead.path.write_text(dead.path.read_text().replace(dead.boot_id, "before"))
    alive = declare_intent(layout, STATION, SOURCE, "", [sha_of(b"named")])
    partial = layout.partial(STATION)
    for name in ("manifest-0123", "live-0123", "Probe-0123"):
        (partial / name).touch()
    (partial / sha_of(b"download under way")).write_bytes(b"down")
    assert ask(operations_in(tmp_path), "sweep") == {"intents": 1, "leftovers": 3}
    assert alive.path.exists()
    assert [path.name for path in partial.iterdir()] == [sha_of(b"download under way")]


def test_reclaim_judges_the_trash(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    put(layout, b"named")
    declare_intent(layout, STATION, SOURCE, "", [sha_of(b"named")])
    trash = layout.trash(STATION)
    trash.mkdir()
    layout.pool(sha_of(b"named")).rename(trash / sha_of(b"named"))
    found = {"objects_removed": 0, "objects_linked_back": 1}
    assert ask(operations_in(tmp_path), "reclaim") == found


def test_a_manifest_goes_to_storage_and_state(tmp_path: Path) -> None:
    a_layout(tmp_path)
    staged = Staged({"a.rpm": b"a"})
    operations = operations_in(tmp_path)
    where = {"source": SOURCE, "revision": staged.revision}
    assert ask(operations, "add_manifest", manifest=staged.manifest.decode(), **where)["made"]
    assert ask(operations, "copy_manifest", **where)["made"]
    copy = manifest_copy(tmp_path / "state" / "manifests", SOURCE, staged.revision)
    assert copy.read_bytes() == staged.manifest


def test_a_station_that_left_is_forgotten_but_not_what_it_took(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    staged = Staged({"a.rpm": b"a"}).stage(layout)
    trash = layout.trash("B")
    trash.mkdir(parents=True)
    layout.pool(sha_of(b"a")).rename(trash / sha_of(b"a"))
    operations = operations_in(tmp_path)
    assert ask(operations, "forget", station="B") == {"existed": True}
    assert not layout.staging("B").exists()
    assert layout.pool(sha_of(b"a")).exists() and staged
    with pytest.raises(StorageError):
        ask(operations, "forget", station=STATION)


def test_collect_and_purge_take_their_arguments_from_json(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    staged = Staged({"a.rpm": b"a"}).stage(layout)
    operations = operations_in(tmp_path)
    assert ask(operations, "purge", source=SOURCE, dry_run=True)["revisions"] == 1
    keep = {SOURCE: [str(staged.revision)]}
    report = ask(operations, "collect", retain_s=0, wait_s=0, frozen=keep, staged={})
    assert report["revisions_removed"] == 0
    assert ask(operations, "purge", source=SOURCE)["revisions"] == 1
    assert ask(operations, "collect", wait_s=0)["objects_removed"] == 2
    assert ask(operations, "inventory") == {}
