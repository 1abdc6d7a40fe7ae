"""When instances were last seen, in buckets of five minutes, as stations tell each other.

Shared as part of a station's ephemeral status: 32 blocks by the hash of the instance's id, of which only those that
changed travel. Ten thousand instances are some 70 KiB. The times of all stations together are the group's knowledge.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

BUCKET_S = 300.0
PUBLISH_S = 10.0  # a change of a block is told at most this much later
KEPT_BUCKETS = 12 * 24  # a day; who was silent for longer is UNREACHABLE all the same
ENTRIES_MAX = 16_000  # 110 KiB of a status, which may have 256 KiB
FIELD_PREFIX = "instances."
_MARK_BYTES = 5  # 40 bits: among 10,000 instances two are alike with a chance of 1 : 20,000
_BLOCK_SHIFT = 3  # 256 >> 3 = 32 blocks

Block = dict[str, str]


class Sightings:
    """What this station saw itself. Times are wall clock, seconds."""

    def __init__(self) -> None:
        self._buckets: dict[bytes, int] = {}
        self._marks: dict[int, set[bytes]] = {}  # by block
        self._dirty: set[int] = set()
        self._wire: dict[str, Block] = {}
        self._published = float("-inf")

    def note(self, instance: str, now: float) -> None:
        """The instance checked in."""
        mark, bucket = mark_of(instance), int(now // BUCKET_S)
        if self._buckets.get(mark) != bucket:
            self._buckets[mark] = bucket
            block = mark[0] >> _BLOCK_SHIFT
            self._marks.setdefault(block, set()).add(mark)
            self._dirty.add(block)

    def to_wire(self, now: float) -> Mapping[str, Block]:
        """Fields of the status, by name. The same until PUBLISH_S have passed."""
        if self._dirty and abs(now - self._published) >= PUBLISH_S:
            self._published = now
            self._drop(now)
            for block in self._dirty:
                self._wire[f"{FIELD_PREFIX}{block:02}"] = self._block(block)
            self._dirty.clear()
        return self._wire

    def marks(self) -> Mapping[bytes, int]:
        """The last bucket of each instance, by mark."""
        return self._buckets

    def _drop(self, now: float) -> None:
        oldest = int(now // BUCKET_S) - KEPT_BUCKETS
        gone = [mark for mark, bucket in self._buckets.items() if bucket < oldest]
        if len(self._buckets) - len(gone) > ENTRIES_MAX:
            by_age = sorted(self._buckets, key=lambda mark: self._buckets[mark])
            gone = by_age[: len(by_age) - ENTRIES_MAX]
        for mark in gone:
            del self._buckets[mark]
            block = mark[0] >> _BLOCK_SHIFT
            self._marks[block].discard(mark)
            self._dirty.add(block)

    def _block(self, block: int) -> Block:
        by_bucket: dict[int, list[bytes]] = {}
        for mark in self._marks.get(block, ()):
            by_bucket.setdefault(self._buckets[mark], []).append(mark)
        return {
            str(bucket): base64.b64encode(b"".join(sorted(marks))).decode()
            for bucket, marks in sorted(by_bucket.items())
        }


def mark_of(instance: str) -> bytes:
    """What stands for an instance in a block."""
    return hashlib.sha256(instance.encode()).digest()[:_MARK_BYTES]


def merged(own: Mapping[bytes, int], statuses: Iterable[Mapping[str, Any]]) -> dict[bytes, int]:
    """The latest bucket of each mark, over this station and what the others say. Nonsense counts for nothing."""
    found = dict(own)
    for status in statuses:
        for name, block in status.items():
            if name.startswith(FIELD_PREFIX) and isinstance(block, dict):
                _merge(found, block)
    return found


def seen_at(marks: Mapping[bytes, int], instance: str, now: float) -> float | None:
    """Wall time, seconds, at which it was seen at the latest: the end of the bucket. None: not in a day."""
    bucket = marks.get(mark_of(instance))
    return None if bucket is None else min((bucket + 1) * BUCKET_S, now)


def _merge(found: dict[bytes, int], block: Mapping[Any, Any]) -> None:
    for text, marks in block.items():
        try:
            bucket, data = int(text), base64.b64decode(marks, validate=True)
        except (ValueError, TypeError):
            continue
        for at in range(0, len(data) - _MARK_BYTES + 1, _MARK_BYTES):
            mark = data[at : at + _MARK_BYTES]
            if found.get(mark, bucket) <= bucket:
                found[mark] = bucket
