from pathlib import Path

from station.storage.remembered import remember_storage, remembered_storage


def test_no_storage_was_seen_before_the_first(tmp_path: Path) -> None:
    assert remembered_storage(tmp_path) == ""


def test_the_storage_that_was_adopted_last_belongs_here(tmp_path: Path) -> None:
    for storage_id in ("one", "two"):
        remember_storage(tmp_path, storage_id)
    assert remembered_storage(tmp_path) == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["storage-id"]
