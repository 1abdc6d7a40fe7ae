from pathlib import Path

from station.control.copies import COPIES_PER_SOURCE_MAX, Copies, worth_copying
from station.control.storage_view import StoredSource
from station.model.identity import Revision
from station.model.report import SourceReport
from tests.unit.control.builders import FIRST, R1, R2, R3, SECOND, held


def test_copies_of_an_earlier_run_are_known_and_stray_files_are_not_taken_for_some(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "manifests" / "base"
    directory.mkdir(parents=True)
    for name in (R1, f".{R2}-new", "readme"):
        (directory / name).write_text("x")
    copies = Copies(tmp_path)
    assert copies.of("base") == {R1}
    assert copies.of("other") == frozenset()


def test_each_wanted_manifest_is_copied_once(tmp_path: Path) -> None:
    copies = Copies(tmp_path)
    wanted = {"base": [R1, R2], "apps": [R1]}
    assert copies.missing(wanted) == [("base", R1), ("base", R2), ("apps", R1)]
    copies.made("base", R1)
    assert copies.missing(wanted) == [("base", R2), ("apps", R1)]


def test_what_is_shown_comes_first_then_the_candidate_then_the_newest() -> None:
    stored = StoredSource((FIRST,), {R1: held(10), R2: held(20), R3: held(30)})
    own = SourceReport(candidate=R2)
    assert worth_copying(stored, [FIRST, None], own) == [R1, R2, R3]
    assert worth_copying(stored, [SECOND], SourceReport()) == [R2, R1, R3]


def test_a_manifest_that_is_not_on_the_storage_cannot_be_copied_from_it() -> None:
    stored = StoredSource((), {R1: held(10)})
    assert worth_copying(stored, [SECOND], SourceReport(candidate=R3)) == [R1]


def test_of_many_revisions_only_the_newest_are_copied() -> None:
    many = {Revision(f"{n:064x}"): held(n) for n in range(20)}
    found = worth_copying(StoredSource((), many), [], SourceReport())
    assert found == sorted(many, reverse=True)[:COPIES_PER_SOURCE_MAX]
