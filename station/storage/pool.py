"""The pool: immutable bytes named by their sha256. What has a name there is whole."""

import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from station.runtime.durable import Differs, make_directory, move_away, place, sync_directory
from station.storage.layout import Layout


class Pool:
    """The pool as one station writes it. The caller has checked the marker, and has declared its intents."""

    def __init__(self, layout: Layout, station: str) -> None:
        self._layout = layout
        self._station = station

    def has(self, sha256: str, size: int | None = None) -> bool:
        """Whether the object is there, with this size in bytes. Raises OSError when that cannot be told."""
        try:
            found = os.stat(self._layout.pool(sha256))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return size is None or found.st_size == size

    def open(self, sha256: str) -> BinaryIO:
        """The object, for reading. Raises OSError."""
        return self._layout.pool(sha256).open("rb")

    def new_partial(self, name: str = "") -> Path:
        """A place in staging to write to: `name` (to find it again after a kill), or a random one."""
        directory = self._layout.partial(self._station)
        make_directory(directory, self._layout.staging_directory)
        return directory / (name or secrets.token_hex(16))

    def add(self, partial: Path, sha256: str) -> bool:
        """Give a finished partial, whose bytes the caller has verified, its name. True: made; False: it was there.

        The name is durable after `settle`. An object with other bytes under this name is damage: it is taken away.
        Raises FsyncFailed (the partial is gone: fetch it again), OSError.
        """
        final = self._layout.pool(sha256)
        make_directory(final.parent, self._layout.pool_directory)
        try:
            return place(partial, final, settle=False)
        except Differs:
            self._quarantine(final)
            return place(partial, final, settle=False)

    def settle(self, objects: Iterable[str]) -> None:
        """Make the names of these objects durable: one fsync per directory, also for what others linked.

        Raises FsyncFailed, OSError.
        """
        for directory in sorted({self._layout.pool(sha256).parent for sha256 in objects}):
            sync_directory(directory)

    def _quarantine(self, damaged: Path) -> None:
        trash = self._layout.trash(self._station)
        make_directory(trash, self._layout.staging_directory)
        try:
            move_away(damaged, trash / f"damaged-{damaged.name}-{secrets.token_hex(8)}")
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
