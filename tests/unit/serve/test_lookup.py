"""Manifests: found in order, from the storage or its copy, with few open."""

import hashlib
from pathlib import Path

from station.repo.manifest import Entry, build_manifest
from station.serve.lookup import Library
from station.storage.layout import Layout, manifest_copy

A, B = "a" * 64, "b" * 64


def entry(path: str, content: str) -> Entry:
    return Entry(path, hashlib.sha256(content.encode()).hexdigest(), len(content), 1)


def library(tmp_path: Path, *, open_max: int = 4) -> Library:
    layout = Layout(tmp_path / "storage")
    for target, entries in (
        (layout.manifest("s", A), [entry("both", "a"), entry("only-a", "a")]),
        (manifest_copy(tmp_path / "copies", "s", B), [entry("both", "b"), entry("only-b", "b")]),
    ):
        target.parent.mkdir(parents=True)
        target.write_bytes(build_manifest(entries))
    return Library(tmp_path / "storage", tmp_path / "copies", open_max=open_max)


def test_the_first_revision_that_has_the_path_wins(tmp_path: Path) -> None:
    books = library(tmp_path)
    assert books.find("s", [A, B], b"both") == books.find("s", [A], b"both")
    found = books.find("s", [A, B], b"only-b")
    assert found is not None
    assert (found.revision, found.entry) == (B, entry("only-b", "b"))
    assert books.find("s", [A, B], b"none") is None
    books.close()


def test_a_manifest_that_is_nowhere_is_skipped_and_seen_once_it_comes(tmp_path: Path) -> None:
    books = library(tmp_path)
    late = "c" * 64
    assert not books.has("s", late)
    assert books.find("s", [late, A], b"both") is not None
    manifest_copy(tmp_path / "copies", "s", late).write_bytes(build_manifest([entry("late", "c")]))
    assert books.has("s", late)
    books.close()


def test_few_manifests_stay_open(tmp_path: Path) -> None:
    books = library(tmp_path, open_max=1)
    for _ in range(3):
        assert books.find("s", [A], b"only-a") is not None
        assert books.find("s", [B], b"only-b") is not None
    books.close()


def test_a_damaged_manifest_is_as_good_as_none(tmp_path: Path) -> None:
    books = library(tmp_path)
    Layout(tmp_path / "storage").manifest("s", A).write_bytes(b"no manifest at all")
    assert books.find("s", [A, B], b"both") == books.find("s", [B], b"both")
    books.close()
