"""Revisions and publications: complete means complete, and only the greatest is live."""

from pathlib import Path

import pytest

from station.model.publication import Publication
from station.repo.errors import RepoError
from station.storage.errors import StorageError
from station.storage.layout import Layout
from station.storage.publications import Publications
from station.storage.revisions import Revisions
from tests.unit.storage.shelf import SOURCE, STATION, Staged, a_layout, check_whole, sha_of


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return a_layout(tmp_path)


def test_a_revision_is_complete_once_every_object_is_there(layout: Layout) -> None:
    staged = Staged({"a.rpm": b"a", "b.rpm": b"b"}, order=5)
    revisions = Revisions(layout, STATION)
    revisions.add_manifest(SOURCE, staged.revision, staged.manifest)
    with pytest.raises(StorageError, match=r"3 files are missing: a\.rpm, b\.rpm"):
        revisions.complete(SOURCE, staged.revision)
    assert not revisions.is_complete(SOURCE, staged.revision)
    staged.fetch(layout)
    summary = revisions.complete(SOURCE, staged.revision)
    assert (summary.packages, summary.order) == (2, 5)
    assert revisions.is_complete(SOURCE, staged.revision)
    assert revisions.complete(SOURCE, staged.revision) == summary


def test_an_object_of_another_size_counts_as_missing(layout: Layout) -> None:
    staged = Staged({"a.rpm": b"a"}).stage(layout)
    layout.pool(sha_of(b"a")).write_bytes(b"")
    with pytest.raises(StorageError, match="1 files are missing"):
        Revisions(layout, STATION).complete(SOURCE, staged.revision)


def test_inventory_says_what_lies_there_and_sees_what_another_station_adds(layout: Layout) -> None:
    revisions = Revisions(layout, STATION)
    assert dict(revisions.inventory()) == {}
    one = Staged({"a.rpm": b"a"}, 1, station="B").stage(layout)
    two = Staged({"a.rpm": b"a"}, 2, station="B")
    Revisions(layout, "B").add_manifest(SOURCE, two.revision, two.manifest)
    found = dict(revisions.inventory())[SOURCE]
    assert {r: s.is_complete for r, s in found.items()} == {one.revision: True, two.revision: False}
    two.stage(layout)
    assert dict(revisions.inventory())[SOURCE][two.revision].is_complete


def test_a_damaged_manifest_is_not_listed_and_can_be_made_anew(layout: Layout) -> None:
    staged = Staged({"a.rpm": b"a"}).stage(layout)
    path = layout.manifest(SOURCE, staged.revision)
    path.write_bytes(path.read_bytes()[:-5])
    revisions = Revisions(layout, STATION)
    assert revisions.stored(SOURCE, staged.revision) is None
    revisions.add_manifest(SOURCE, staged.revision, staged.manifest)
    assert revisions.is_complete(SOURCE, staged.revision)


def test_complete_is_about_one_manifest(layout: Layout) -> None:
    staged = Staged({"a.rpm": b"a"}).stage(layout)
    other = Staged({"a.rpm": b"a", "b.rpm": b"b"})
    path = layout.manifest(SOURCE, staged.revision)
    path.unlink()
    path.write_bytes(other.manifest)
    assert not Revisions(layout, STATION).is_complete(SOURCE, staged.revision)


def test_what_is_no_manifest_is_not_stored(layout: Layout) -> None:
    with pytest.raises(RepoError):
        Revisions(layout, STATION).add_manifest(SOURCE, "0" * 64, b"<html>")
    assert Revisions(layout, STATION).sources() == []


def test_the_greatest_publication_is_live_and_a_late_lesser_one_changes_nothing(
    layout: Layout,
) -> None:
    old = Staged({"a.rpm": b"a"}, 1).stage(layout)
    new = Staged({"a.rpm": b"b"}, 2).stage(layout)
    publications = Publications(layout, STATION)
    second = new.publish(layout, 2)
    assert publications.live(SOURCE) == second
    old.publish(layout, 1)
    assert publications.live(SOURCE) == second
    assert publications.publish(SOURCE, second) is False
    (layout.live(SOURCE) / "zzz").touch()
    (layout.live(SOURCE) / ".nfs0001").touch()
    assert check_whole(layout) == [Publication(1, 1, old.revision), second]


def test_nothing_is_published_without_its_manifest(layout: Layout) -> None:
    staged = Staged({})
    with pytest.raises(StorageError) as caught:
        staged.publish(layout, 1)
    assert caught.value.code == "incomplete"
    assert check_whole(layout) == []
    assert list(layout.intents(STATION).iterdir()) == []
