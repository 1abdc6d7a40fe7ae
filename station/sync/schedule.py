"""When each source is synced: a recurring job per source, runs on demand, retries. The only user of APScheduler.

Nothing is stored: the jobs follow from the mirror list, which control has. `due` is called in the event loop.
"""

import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from station.model.identity import SourceId

INTERVAL_S_MIN = 60  # more often is an attack upon upstream
RETRIES = 3
RETRY_AFTER_S = 300
LISTED_S = 5.0
SPLAY_SHARE = 0.1  # of the interval, so that a fleet of stations does not ask at one second


class Schedule:
    """One recurring job per source. `due(source)` says that a sync should run now; it must not block."""

    def __init__(
        self, due: Callable[[SourceId], None], *, retry_after_s: float = RETRY_AFTER_S
    ) -> None:
        # misfire_grace_time=None: the default forgets a job that a busy loop delayed by a second (measured).
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._due = due
        self._retry_after_s = retry_after_s
        self._failures: dict[SourceId, int] = {}
        self._intervals: dict[SourceId, float] = {}
        self._listed: dict[str, float] = {}
        self._listed_until = 0.0

    def start(self) -> None:
        """Begin; needs a running event loop."""
        self._scheduler.start()

    def close(self) -> None:
        """End; nothing is due any more."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def set(self, source: SourceId, interval_s: float) -> None:
        """Sync `source` every `interval_s` seconds from now on, at a random phase. Again with the same: no change.

        Raises ValueError below INTERVAL_S_MIN.
        """
        if interval_s < INTERVAL_S_MIN:
            raise ValueError(f"a sync interval of {interval_s} s: at least {INTERVAL_S_MIN}")
        if self._intervals.get(source) == interval_s:
            return
        self._intervals[source] = interval_s
        first = datetime.now(UTC) + timedelta(seconds=interval_s * random.uniform(0.5, 1.0))
        self._scheduler.add_job(
            self._run,
            IntervalTrigger(
                seconds=int(interval_s), jitter=int(interval_s * SPLAY_SHARE), timezone=UTC
            ),
            args=[source],
            id=_recurring(source),
            next_run_time=first,
            replace_existing=True,
        )

    def remove(self, source: SourceId) -> None:
        """The source left the mirror list."""
        self._intervals.pop(source, None)
        self._failures.pop(source, None)
        self._drop(_recurring(source))
        self._drop(_retry(source))

    def succeeded(self, source: SourceId) -> None:
        """The run ended well: forget earlier failures."""
        self._failures.pop(source, None)
        self._drop(_retry(source))

    def failed(self, source: SourceId, *, retriable: bool) -> float | None:
        """The run failed. The seconds until the retry, or None: only the recurring job will try again."""
        count = self._failures.get(source, 0)
        if not retriable or count >= RETRIES or source not in self._intervals:
            self._failures.pop(source, None)
            return None
        self._failures[source] = count + 1
        at = datetime.now(UTC) + timedelta(seconds=self._retry_after_s)
        self._scheduler.add_job(
            self._run,
            DateTrigger(at, timezone=UTC),
            args=[source],
            id=_retry(source),
            replace_existing=True,
        )
        return self._retry_after_s

    def sources(self) -> frozenset[SourceId]:
        """The sources that have a recurring job."""
        return frozenset(self._intervals)

    def next_runs(self) -> Mapping[str, float]:
        """`next_run` of every source, as it was some seconds ago at most: control asks for it all the time."""
        now = time.monotonic()
        if now >= self._listed_until:
            self._listed_until = now + LISTED_S
            found = {source: self.next_run(source) for source in self._intervals}
            self._listed = {source: at for source, at in found.items() if at is not None}
        return self._listed

    def next_run(self, source: SourceId) -> float | None:
        """When the next run is due, retry or recurring: seconds since 1970, or None."""
        times = [
            job.next_run_time.timestamp()
            for job in (
                self._scheduler.get_job(_retry(source)),
                self._scheduler.get_job(_recurring(source)),
            )
            if job is not None and job.next_run_time is not None
        ]
        return min(times, default=None)

    async def _run(self, source: SourceId) -> None:
        # A coroutine function: APScheduler runs plain functions in a thread.
        self._due(source)

    def _drop(self, job: str) -> None:
        if self._scheduler.get_job(job) is not None:
            self._scheduler.remove_job(job)


def _recurring(source: SourceId) -> str:
    return f"recurring:{source}"


def _retry(source: SourceId) -> str:
    return f"retry:{source}"
