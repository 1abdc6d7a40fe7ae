"""The marker: made in an empty directory only, and required by every writer."""

import json
from pathlib import Path

import pytest

from station.storage.errors import StorageError
from station.storage.layout import Layout
from station.storage.marker import Marker, init_storage, read_marker, require_marker


def code_of(call: pytest.ExceptionInfo[StorageError]) -> str:
    return call.value.code


def test_an_empty_directory_becomes_a_storage_once(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    (tmp_path / "lost+found").mkdir()
    first = init_storage(layout, "g")
    assert init_storage(layout, "g") == first == read_marker(layout)
    assert layout.pool_directory.is_dir() and layout.sources.is_dir()


def test_a_wanted_storage_id_is_kept(tmp_path: Path) -> None:
    assert init_storage(Layout(tmp_path), "g", "s-1") == Marker("s-1", "g")


def test_a_directory_with_other_content_is_never_taken(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(StorageError) as caught:
        init_storage(Layout(tmp_path), "g")
    assert code_of(caught) == "not-empty"
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_path_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        init_storage(Layout(tmp_path / "unmounted"), "g")
    assert code_of(caught) == "missing"
    assert not (tmp_path / "unmounted").exists()


def test_an_init_that_was_killed_before_the_link_is_repeated(tmp_path: Path) -> None:
    (tmp_path / ".station.storage.0123").write_bytes(b'{"half')
    assert init_storage(Layout(tmp_path), "g").group_id == "g"


def test_another_group_and_another_storage_are_told_apart_from_none(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with pytest.raises(StorageError) as caught:
        require_marker(layout)
    assert code_of(caught) == "missing"
    init_storage(layout, "g", "s-1")
    assert require_marker(layout, group_id="g", storage_id="s-1")
    for expected in ({"group_id": "h"}, {"storage_id": "s-2"}):
        with pytest.raises(StorageError) as caught:
            require_marker(layout, **expected)
        assert code_of(caught) == "foreign"
    with pytest.raises(StorageError) as caught:
        init_storage(layout, "h")
    assert code_of(caught) == "foreign"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"format": 1}'])
def test_a_damaged_marker_is_no_leave_to_write(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "station.storage").write_bytes(content)
    with pytest.raises(StorageError) as caught:
        require_marker(Layout(tmp_path))
    assert code_of(caught) == "damaged"


def test_the_format_of_a_newer_version_is_foreign(tmp_path: Path) -> None:
    marker = {"format": 2, "storage_id": "s", "group_id": "g"}
    (tmp_path / "station.storage").write_text(json.dumps(marker))
    with pytest.raises(StorageError) as caught:
        require_marker(Layout(tmp_path))
    assert code_of(caught) == "foreign"
