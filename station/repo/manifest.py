"""The manifest of one revision: sorted path → sha256, size, mtime. A pure function of the metadata.

Lines of `path TAB sha256 TAB size TAB mtime NL`, sorted by the bytes of the path, so that one path is found by
bisection in a file that is only mapped: memory does not grow with the number of packages. The mutable names
(repomd.xml, .asc, .key) are entries too, with the revision's order as their mtime.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from station.repo.errors import RepoError
from station.repo.location import MUTABLE, REPOMD

ENTRIES_MAX = 2_000_000  # the largest known repository has some 150,000 packages
# A location of 1,024 characters is at most 4 KiB; a longer line is damage.
LINE_BYTES_MAX = 8 * 1024
SIZE_MAX = 2**53  # sizes and times stay exact in JSON
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One file of a revision. `sha256` 64 lower-case hex digits, `size` bytes, `mtime` seconds since 1970."""

    path: str
    sha256: str
    size: int
    mtime: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a manifest says as a whole: packages (files outside repodata/), bytes of all files, order."""

    packages: int
    size: int
    order: int


class Buffer(Protocol):
    """bytes, bytearray or mmap.mmap."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes | bytearray: ...
    def find(self, sub: bytes, start: int = ..., end: int = ..., /) -> int: ...
    def rfind(self, sub: bytes, start: int = ..., end: int = ..., /) -> int: ...


def build_manifest(entries: Iterable[Entry]) -> bytes:
    """The manifest of these files. The same entries in any order give the same bytes; a repeated one counts once.

    Raises RepoError when one path is claimed by two different files, when two paths differ only in case, when a file
    is also a directory, or when there are more than ENTRIES_MAX.
    """
    lines: dict[bytes, bytes] = {}
    folded: dict[str, str] = {}
    for entry in entries:
        path, line = entry.path.encode(), _line(entry)
        known = lines.setdefault(path, line)
        if known is not line:
            if known != line:
                raise RepoError(
                    "location", entry.path, "one path, one file: two checksums claim it"
                )
            continue
        twin = folded.setdefault(entry.path.casefold(), entry.path)
        if twin != entry.path:
            raise RepoError("location", entry.path, f"differs from {twin!r} by more than case")
        if len(lines) > ENTRIES_MAX:
            raise RepoError("primary", len(lines), f"at most {ENTRIES_MAX} files")
    _check_no_file_is_a_directory(lines)
    return b"".join(lines[path] for path in sorted(lines))


def lookup(buffer: Buffer, path: bytes) -> Entry | None:
    """The entry of `path`, or None. Reads about 20 lines of the largest manifest.

    Raises RepoError when a line that was read is not one of ours.
    """
    low, high = 0, len(buffer)  # both at the beginning of a line, or at the end
    while low < high:
        start = buffer.rfind(b"\n", low, (low + high) // 2) + 1
        if start <= low:
            start = low
        end = buffer.find(b"\n", start, start + LINE_BYTES_MAX)
        if end < 0:
            raise RepoError("manifest", start, "a line of the manifest has no end")
        line = bytes(buffer[start:end])
        found = line.partition(b"\t")[0]
        if found == path:
            return _parse_line(line)
        if found < path:
            low = end + 1
        else:
            high = start
    return None


def iterate(buffer: Buffer) -> Iterator[Entry]:
    """All entries in order. Raises RepoError at a line that is not one of ours."""
    start = 0
    while start < len(buffer):
        end = buffer.find(b"\n", start, start + LINE_BYTES_MAX)
        if end < 0:
            raise RepoError("manifest", start, "a line of the manifest has no end")
        yield _parse_line(bytes(buffer[start:end]))
        start = end + 1


def check_manifest(buffer: Buffer) -> Summary:
    """Read it all once: every line well-formed, in strictly growing order, with an index. Raises RepoError."""
    packages = size = 0
    order: int | None = None
    previous = b""
    for entry in iterate(buffer):
        path = entry.path.encode()
        if path <= previous:
            raise RepoError("manifest", entry.path, "the lines are sorted and no path comes twice")
        previous = path
        size += entry.size
        packages += not entry.path.startswith("repodata/")
        if entry.path == REPOMD:
            order = entry.mtime
    if order is None:
        raise RepoError("manifest", len(buffer), f"it has an entry for {REPOMD}")
    return Summary(packages, size, order)


def is_mutable(path: str) -> bool:
    """Whether the live view answers this name with other bytes after a publication."""
    return path in MUTABLE


def _line(entry: Entry) -> bytes:
    if not entry.path or "\t" in entry.path or "\n" in entry.path:
        raise RepoError("location", entry.path, "no tab or line feed")
    if len(entry.sha256) != 64 or not _HEX.issuperset(entry.sha256):
        raise RepoError("sha256", entry.sha256, "64 lower-case hexadecimal digits")
    if not (0 <= entry.size <= SIZE_MAX and 0 <= entry.mtime <= SIZE_MAX):
        raise RepoError("size or mtime", (entry.size, entry.mtime), f"0 to {SIZE_MAX}")
    return f"{entry.path}\t{entry.sha256}\t{entry.size}\t{entry.mtime}\n".encode()


def _parse_line(line: bytes) -> Entry:
    try:
        path, sha256, size, mtime = line.decode().split("\t")
        entry = Entry(path, sha256, int(size), int(mtime))
        if _line(entry)[:-1] != line:  # one spelling only: no sign, no leading zeros
            raise ValueError
    except ValueError as error:
        raise RepoError("manifest", line, "path, sha256, size, mtime between tabs") from error
    return entry


def _check_no_file_is_a_directory(lines: dict[bytes, bytes]) -> None:
    directories: set[bytes] = set()
    for path in lines:
        cut = path.rfind(b"/")
        while cut > 0 and path[:cut] not in directories:
            directories.add(path[:cut])
            cut = path.rfind(b"/", 0, cut)
    for path in directories:
        if path in lines:
            raise RepoError("location", path.decode(), "not both a file and a directory")
