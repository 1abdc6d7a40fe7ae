"""What a sync must fetch, exactly, and whether it fits, before the first download."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from station.repo.checksum import Checksum

# Beside the missing bytes stay free: 5 % of them, for directories and for what others write meanwhile.
RESERVE_PERCENT = 5
RESERVE_BYTES_MIN = 64 * 1024 * 1024


class Wanted(NamedTuple):
    """One file of a revision. `size` bytes, `mtime` seconds since 1970."""

    path: str
    checksum: Checksum
    size: int
    mtime: int

    @property
    def sha256(self) -> str | None:
        """Its name in the pool; None while only another kind of checksum is known."""
        return self.checksum.hex if self.checksum.kind == "sha256" else None


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """`missing`: each content once, in the order wanted. Bytes and files of it, and of the whole revision."""

    missing: tuple[Wanted, ...]
    missing_bytes: int
    total: int
    total_bytes: int


def plan_sync(wanted: Iterable[Wanted], has: Callable[[Wanted], bool]) -> SyncPlan:
    """Ask `has` once for each content. Two paths with one checksum are one download."""
    missing: list[Wanted] = []
    seen: set[Checksum] = set()
    total = total_bytes = 0
    for item in wanted:
        total += 1
        total_bytes += item.size
        if item.checksum not in seen:
            seen.add(item.checksum)
            if not has(item):
                missing.append(item)
    return SyncPlan(tuple(missing), sum(item.size for item in missing), total, total_bytes)


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """Whether a plan may start. All in bytes."""

    needed: int
    free: int
    floor: int

    @property
    def fits(self) -> bool:
        """True when the download leaves the floor untouched."""
        return self.short == 0

    @property
    def short(self) -> int:
        """How many bytes more must be free."""
        return max(self.needed + self.floor - self.free, 0)

    def refusal(self) -> str:
        """For people: the figure needed."""
        return (
            f"needs {self.needed} bytes with its reserve, {self.free} are free and {self.floor} stay free: "
            f"free {self.short} bytes more"
        )


def plan_disk(missing_bytes: int, *, free: int, floor: int) -> DiskPlan:
    """`free`: what the file system grants us now; `floor`: what every writer leaves. All in bytes."""
    if missing_bytes == 0:
        return DiskPlan(0, free, 0)  # nothing to write: a full disk does not keep a revision back
    reserve = max(missing_bytes * RESERVE_PERCENT // 100, RESERVE_BYTES_MIN)
    return DiskPlan(missing_bytes + reserve, free, floor)
