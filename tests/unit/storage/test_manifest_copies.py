"""Copies of manifests: kept while wanted, the oldest out first."""

import os
from pathlib import Path

import pytest

from station.repo.errors import RepoError
from station.storage.layout import manifest_copy
from station.storage.manifest_copies import copy_manifest, keep_copy
from tests.unit.storage.shelf import SOURCE, Staged, a_layout


def test_a_copy_is_equal_and_made_once(tmp_path: Path) -> None:
    layout, state = a_layout(tmp_path), tmp_path / "state"
    staged = Staged({"a.rpm": b"a"}).stage(layout)
    assert copy_manifest(layout, state, SOURCE, staged.revision)
    assert not copy_manifest(layout, state, SOURCE, staged.revision)
    path = manifest_copy(state / "manifests", SOURCE, staged.revision)
    assert path.read_bytes() == staged.manifest
    path.write_bytes(b"damage")
    assert copy_manifest(layout, state, SOURCE, staged.revision)
    assert path.read_bytes() == staged.manifest


def test_a_manifest_of_a_peer_is_kept_without_a_storage(tmp_path: Path) -> None:
    staged = Staged({"a.rpm": b"a"}).stage(a_layout(tmp_path))
    state = tmp_path / "state"
    assert keep_copy(state, SOURCE, staged.revision, staged.manifest)
    assert not keep_copy(state, SOURCE, staged.revision, staged.manifest)
    path = manifest_copy(state / "manifests", SOURCE, staged.revision)
    assert path.read_bytes() == staged.manifest


def test_beyond_the_cap_those_used_longest_ago_go(tmp_path: Path) -> None:
    layout, state = a_layout(tmp_path), tmp_path / "state"
    staged = [Staged({"a.rpm": b"%d" % n}, n).stage(layout) for n in (1, 2, 3)]
    paths = [manifest_copy(state / "manifests", SOURCE, s.revision) for s in staged]
    for age, one in zip((30, 20, 10), staged, strict=True):
        copy_manifest(layout, state, SOURCE, one.revision)
        path = manifest_copy(state / "manifests", SOURCE, one.revision)
        os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))
    size = len(staged[0].manifest)
    copy_manifest(layout, state, SOURCE, staged[0].revision, bytes_max=2 * size)
    assert [path.exists() for path in paths] == [True, False, True]


def test_a_damaged_manifest_is_not_copied(tmp_path: Path) -> None:
    layout, state = a_layout(tmp_path), tmp_path / "state"
    staged = Staged({"a.rpm": b"a"}).stage(layout)
    layout.manifest(SOURCE, staged.revision).write_bytes(b"?")
    with pytest.raises(RepoError):
        copy_manifest(layout, state, SOURCE, staged.revision)
