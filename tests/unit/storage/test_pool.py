"""The pool: what has a name there is whole, and damage does not stay."""

from pathlib import Path

import pytest

from station.storage.intents import declare_intent
from station.storage.layout import Layout
from station.storage.pool import Pool
from station.storage.revisions import Revisions
from tests.unit.storage.shelf import SOURCE, STATION, Staged, a_layout, put, sha_of

BODY = b"package"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return a_layout(tmp_path)


def test_an_object_is_found_by_its_checksum_and_size(layout: Layout) -> None:
    pool = Pool(layout, STATION)
    assert not pool.has(sha_of(BODY))
    put(layout, BODY)
    pool.settle([sha_of(BODY)])
    assert pool.has(sha_of(BODY)) and pool.has(sha_of(BODY), len(BODY))
    assert not pool.has(sha_of(BODY), len(BODY) + 1)
    with pool.open(sha_of(BODY)) as file:
        assert file.read() == BODY


def test_adding_what_is_there_adopts_it_and_leaves_no_partial(layout: Layout) -> None:
    put(layout, BODY)
    before = layout.pool(sha_of(BODY)).stat().st_ino
    pool = Pool(layout, STATION)
    partial = pool.new_partial("again")
    partial.write_bytes(BODY)
    assert pool.add(partial, sha_of(BODY)) is False
    assert layout.pool(sha_of(BODY)).stat().st_ino == before
    assert not partial.exists()


def test_a_damaged_object_is_taken_away_not_written_over(layout: Layout) -> None:
    put(layout, BODY)
    damaged = layout.pool(sha_of(BODY))
    damaged.write_bytes(b"bit rot")
    put(layout, BODY)
    assert damaged.read_bytes() == BODY
    (taken,) = layout.trash(STATION).iterdir()
    assert taken.read_bytes() == b"bit rot"


def test_nothing_is_made_where_the_storage_is_gone(layout: Layout, tmp_path: Path) -> None:
    gone = Layout(tmp_path / "unmounted")
    with pytest.raises(FileNotFoundError):
        Pool(gone, STATION).new_partial()
    assert not gone.root.exists()


def test_a_writer_that_outlives_its_mount_leaves_the_empty_mount_point_as_it_is(
    tmp_path: Path,
) -> None:
    layout, mount_point = a_layout(tmp_path), tmp_path / "mount-point"
    mount_point.mkdir()
    partial = Pool(layout, STATION).new_partial()
    partial.write_bytes(b"bytes")
    unmounted = Layout(mount_point)
    with pytest.raises(FileNotFoundError):
        Pool(unmounted, STATION).add(partial, sha_of(b"bytes"))
    with pytest.raises(FileNotFoundError):
        Pool(unmounted, STATION).new_partial()
    with pytest.raises(FileNotFoundError):
        declare_intent(unmounted, STATION, SOURCE, "", [])
    staged = Staged({"a.rpm": b"a"})
    with pytest.raises(FileNotFoundError):
        Revisions(unmounted, STATION).add_manifest(SOURCE, staged.revision, staged.manifest)
    assert not list(mount_point.iterdir())
