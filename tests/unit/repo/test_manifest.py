"""The manifest: deterministic, and found by bisection what a dictionary would find."""

import mmap
import tempfile
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.repo.errors import RepoError
from station.repo.manifest import Entry, Summary, build_manifest, check_manifest, iterate, lookup

SHA = "0123456789abcdef" * 4
INDEX = Entry("repodata/repomd.xml", SHA, 100, 7)

names = st.text("abcxyz019_+~^é", min_size=1, max_size=12).map(lambda name: f"Packages/{name}.rpm")
entry_values = st.tuples(st.integers(0, 2**256 - 1), st.integers(0, 2**40), st.integers(0, 2**33))
entries = st.dictionaries(names, entry_values, max_size=40).map(
    lambda found: [Entry(path, f"{sha:064x}", size, t) for path, (sha, size, t) in found.items()]
)


@given(entries, st.randoms(use_true_random=False))
def test_order_of_entries_does_not_change_the_bytes(found: list[Entry], random: Random) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    assert build_manifest(shuffled) == build_manifest(found)


@given(entries, names)
def test_lookup_finds_what_a_dictionary_finds(found: list[Entry], other: str) -> None:
    buffer = build_manifest(found)
    by_path = {entry.path: entry for entry in found}
    for path in [*by_path, other]:
        assert lookup(buffer, path.encode()) == by_path.get(path)
    assert list(iterate(buffer)) == sorted(found, key=lambda entry: entry.path.encode())


@given(entries, st.binary(max_size=20))
def test_a_path_of_any_bytes_is_looked_up_without_error(found: list[Entry], path: bytes) -> None:
    entry = lookup(build_manifest(found), path)
    assert entry is None or entry.path.encode() == path


def test_lookup_works_in_a_mapped_file() -> None:
    found = [Entry(f"Packages/p{n}.rpm", SHA, n, n) for n in range(1000)]
    with tempfile.TemporaryFile() as file:
        file.write(build_manifest(found))
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert all(lookup(mapped, entry.path.encode()) == entry for entry in found)
            assert lookup(mapped, b"Packages/p") is None


def test_empty_manifest_has_nothing() -> None:
    assert build_manifest([]) == b""
    assert lookup(b"", b"a") is None


def test_summary_counts_packages_bytes_and_order() -> None:
    buffer = build_manifest([INDEX, Entry("repodata/p.xml", SHA, 10, 5), Entry("a.rpm", SHA, 1, 1)])
    assert check_manifest(buffer) == Summary(packages=1, size=111, order=7)


def test_a_repeated_entry_counts_once() -> None:
    assert build_manifest([INDEX, INDEX]) == build_manifest([INDEX])


@pytest.mark.parametrize(
    "other",
    [
        Entry("repodata/repomd.xml", "f" * 64, 100, 7),
        Entry("repodata/repomd.xml/x", SHA, 1, 1),
        Entry("repodata", SHA, 1, 1),
        Entry("repodata/RepoMD.xml", SHA, 100, 7),
        Entry("a\tb", SHA, 1, 1),
        Entry("a\nb", SHA, 1, 1),
        Entry("a", "F" * 64, 1, 1),
        Entry("a", SHA, -1, 1),
        Entry("a", SHA, 2**60, 1),
    ],
)
def test_contradictions_and_nonsense_are_refused(other: Entry) -> None:
    for pair in ([INDEX, other], [other, INDEX]):
        with pytest.raises(RepoError):
            build_manifest(pair)


@pytest.mark.parametrize(
    "damaged",
    [
        b"no tabs\n",
        b"a\t" + SHA.encode() + b"\t1\t1",  # cut short
        b"a\t" + SHA.encode() + b"\t01\t1\n",
        b"a\t" + SHA.encode() + b"\t+1\t1\n",
        b"\xff\t" + SHA.encode() + b"\t1\t1\n",
        b"b\t" + SHA.encode() + b"\t1\t1\na\t" + SHA.encode() + b"\t1\t1\n",
        b"",
    ],
)
def test_a_damaged_manifest_is_refused(damaged: bytes) -> None:
    with pytest.raises(RepoError):
        check_manifest(damaged)
