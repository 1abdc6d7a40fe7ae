"""Who shares this storage: those whose fresh word is here, and not those on a copy."""

import shutil
from pathlib import Path

from station.storage.layout import Layout
from station.storage.recognise import KEEP, read_words, refresh_word
from tests.unit.storage.shelf import a_layout


def test_stations_on_one_storage_see_each_others_newest_word(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    a, b = refresh_word(layout, "A"), refresh_word(layout, "B")
    words = read_words(layout)
    assert words["A"] == [a] and words["B"] == [b]


def test_only_the_last_words_are_kept(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    words = [refresh_word(layout, "A") for _ in range(KEEP + 5)]
    assert read_words(layout)["A"] == words[-KEEP:]


def test_a_copied_disk_has_no_fresh_words(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    refresh_word(layout, "A")
    shutil.copytree(layout.root, tmp_path / "copy")
    fresh = [refresh_word(layout, "A") for _ in range(KEEP)]
    assert not set(read_words(Layout(tmp_path / "copy"))["A"]) & set(fresh)


def test_strange_names_in_staging_are_passed_over(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    (layout.staging_directory / "file").touch()
    (layout.staging_directory / ".nfs1").touch()
    (layout.staging_directory / "C").mkdir()
    (layout.staging_directory / "C" / "seen-garbage").touch()
    assert read_words(layout) == {}
