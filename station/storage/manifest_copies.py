"""Copies of manifests in the local state directory: they answer for a storage that is not there."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from station.repo.manifest import check_manifest
from station.runtime.durable import Differs, make_directory, write_new
from station.storage.layout import Layout, manifest_copy

# A manifest of 30,000 packages has 4 MiB: some 250 revisions of that size.
COPIES_BYTES_MAX = 1024**3


def copy_manifest(
    layout: Layout, state: Path, source: str, revision: str, *, bytes_max: int = COPIES_BYTES_MAX
) -> bool:
    """Copy it to `state/manifests`, and remove the copies used longest ago until all are within `bytes_max`.

    Repeating it says that the copy is still wanted. True: made; False: it was there. Raises RepoError, OSError.
    """
    content = layout.manifest(source, revision).read_bytes()
    check_manifest(content)
    return keep_copy(state, source, revision, content, bytes_max=bytes_max)


def keep_copy(
    state: Path, source: str, revision: str, content: bytes, *, bytes_max: int = COPIES_BYTES_MAX
) -> bool:
    """The same, for a manifest that came from a peer and was verified. Raises OSError."""
    manifests = state / "manifests"
    final = manifest_copy(manifests, source, revision)
    make_directory(final.parent, state)
    temp = final.with_name(f".{final.name}-{secrets.token_hex(8)}")
    try:
        made = write_new(final, content, temp=temp)
    except Differs:
        final.unlink()  # our own disk, our own copy: damaged
        made = write_new(final, content, temp=temp)
    if not made:
        os.utime(final)
    _shrink(manifests, final, bytes_max)
    return made


def _shrink(manifests: Path, newest: Path, bytes_max: int) -> None:
    copies = []
    for path in manifests.glob("*/*"):
        with suppress(FileNotFoundError):  # another process of ours makes room as well
            found = path.stat()
            copies.append((found.st_mtime_ns, found.st_size, path))
    total = sum(size for _, size, _ in copies)
    for _, size, path in sorted(copies):
        if total <= bytes_max:
            return
        if path != newest:
            path.unlink(missing_ok=True)
            total -= size
