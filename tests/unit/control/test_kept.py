from pathlib import Path

from station.control.kept import Kept
from station.model.identity import SourceId
from tests.unit.control.builders import FIRST, SECOND

BASE = SourceId("base")


def names(state: Path) -> list[str]:
    return sorted(path.name for path in (state / "live" / "base").iterdir())


def test_what_was_shown_is_known_after_a_restart(tmp_path: Path) -> None:
    Kept(tmp_path).keep(BASE, FIRST)
    assert Kept(tmp_path).of("base") == FIRST
    assert Kept(tmp_path).of("other") is None


def test_only_the_greatest_publication_stays(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    for publication in (FIRST, SECOND):
        kept.keep(BASE, publication)
    assert names(tmp_path) == [SECOND.file_name()]
    assert kept.of("base") == SECOND


def test_a_lesser_one_that_is_kept_late_changes_nothing(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    for publication in (SECOND, FIRST):
        kept.keep(BASE, publication)
    assert kept.of("base") == Kept(tmp_path).of("base") == SECOND


def test_keeping_twice_is_harmless(tmp_path: Path) -> None:
    for _ in range(2):
        Kept(tmp_path).keep(BASE, FIRST)
    assert names(tmp_path) == [FIRST.file_name()]


def test_a_stray_file_is_no_publication(tmp_path: Path) -> None:
    Kept(tmp_path).keep(BASE, FIRST)
    (tmp_path / "live" / "base" / "notes").write_text("x")
    assert Kept(tmp_path).of("base") == FIRST
