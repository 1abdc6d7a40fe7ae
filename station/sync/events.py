"""What a sync child tells: one JSON line per event on its standard output."""

import json
from collections.abc import Callable
from typing import IO, Any

from station.sync.failure import SyncFailed

PROGRESS_EVERY_S = 0.25  # a page redraws no faster


class Events:
    """Writes events. `now` is a monotonic clock in seconds, for the pace of progress."""

    def __init__(self, stream: IO[str], now: Callable[[], float]) -> None:
        self._stream = stream
        self._now = now

    def say(self, event: str, **fields: Any) -> None:
        """One event. A reader that is gone ends the process: BrokenPipeError."""
        self._stream.write(json.dumps({"event": event, **fields}, separators=(",", ":")) + "\n")
        self._stream.flush()

    def failed(self, failure: SyncFailed, **fields: Any) -> None:
        """The one event of a job that did not succeed."""
        self.say(
            "failed",
            code=failure.code,
            detail=failure.detail,
            retriable=failure.retriable,
            **fields,
        )

    def progress(self, packages_total: int, bytes_total: int) -> "Progress":
        """A counter that begins at nothing."""
        return Progress(self, self._now, packages_total, bytes_total)


class Progress:
    """Bytes and packages that are on the storage, of all that the revision has; and the bytes that were fetched."""

    def __init__(
        self, events: Events, now: Callable[[], float], packages_total: int, bytes_total: int
    ) -> None:
        self._events = events
        self._now = now
        self._said_at = float("-inf")
        self._packages_total = packages_total
        self._bytes_total = bytes_total
        self.packages = 0
        self.bytes = 0
        self.fetched_bytes = 0

    def present(self, size: int, *, packages: int = 1) -> None:
        """An object is on the storage, verified."""
        self.packages += packages
        self.bytes += size
        self._say_if_due()

    def fetched(self, count: int) -> None:
        """Bytes came over the network; also those of a download that fails later."""
        self.fetched_bytes += count
        self._say_if_due()

    def say(self) -> None:
        """Tell the figures now."""
        self._said_at = self._now()
        self._events.say(
            "progress",
            bytes=self.bytes,
            bytes_total=self._bytes_total,
            packages=self.packages,
            packages_total=self._packages_total,
            fetched_bytes=self.fetched_bytes,
        )

    def _say_if_due(self) -> None:
        if self._now() - self._said_at >= PROGRESS_EVERY_S:
            self.say()
