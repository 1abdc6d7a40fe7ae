"""How much room there is, and the floor that every writer leaves."""

import os
from dataclasses import dataclass
from pathlib import Path

# Free bytes that no writer touches: a full file system takes down whoever shares it, and cannot even be cleaned.
FLOOR_BYTES_MIN = 64 * 1024 * 1024
FLOOR_BYTES_MAX = 1024 * 1024 * 1024
FLOOR_PERCENT = 1
INODES_MIN = 1000


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes. `inodes_free` is None where the file system does not count them."""

    capacity: int
    free: int
    inodes_free: int | None
    is_read_only: bool = False

    @property
    def floor(self) -> int:
        """Bytes that stay free."""
        return min(max(self.capacity * FLOOR_PERCENT // 100, FLOOR_BYTES_MIN), FLOOR_BYTES_MAX)

    @property
    def is_full(self) -> bool:
        """True below the floor, or when names run out before bytes do."""
        out_of_names = self.inodes_free is not None and self.inodes_free < INODES_MIN
        return self.free < self.floor or out_of_names


def measure_space(path: Path) -> Space:
    """What the file system of `path` grants this user now. Raises OSError."""
    found = os.statvfs(path)
    return Space(
        capacity=found.f_blocks * found.f_frsize,
        free=found.f_bavail * found.f_frsize,
        inodes_free=found.f_favail if found.f_files else None,
        is_read_only=bool(found.f_flag & os.ST_RDONLY),
    )
