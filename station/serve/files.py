"""Answers about one file: conditions, range, from memory, from the pool, or from a fill that still runs."""

import os

from station.http import answer
from station.http.conditional import is_not_modified, is_range_allowed
from station.http.head import Request
from station.http.ranges import Part, Unsatisfiable, select_range
from station.repo.manifest import Entry
from station.runtime.clock import Clock
from station.runtime.lines import line
from station.serve.feed import Feed
from station.serve.guard import Guard
from station.serve.limits import Counters, Limits
from station.serve.passing import open_relay
from station.serve.pool import ObjectMissing, Pool
from station.serve.reply import Complete, Drop, FromFile, FromFill, FromRelay, Hold, Reply
from station.serve.world import FILL_KEPT_S, Fill, World


class Files:
    """From a manifest entry to a reply."""

    def __init__(
        self,
        world: World,
        feed: Feed,
        pool: Pool,
        clock: Clock,
        limits: Limits,
        guard: Guard,
        counters: Counters,
    ) -> None:
        self._world, self._feed, self._pool, self._clock = world, feed, pool, clock
        self._limits, self._guard, self._counters = limits, guard, counters

    def keeps_alive(self, request: Request) -> bool:
        """Whether the connection lives on: not while others wait for room, nor while we are about to end."""
        return request.keep_alive and not self._guard.is_crowded and not self._world.is_leaving

    def reply(
        self,
        request: Request,
        source: str,
        entry: Entry,
        revision: str,
        arrived: float,
        *,
        is_mutable: bool,
    ) -> Reply:
        """The answer about `entry`, found in `revision`. A file that is not here is asked for from control."""
        plan = _Plan(request, entry, self.keeps_alive(request), int(self._clock.wall()), is_mutable)
        try:
            return self._from_pool(plan)
        except ObjectMissing:
            return self._from_fill(plan, source, revision, arrived)
        except OSError as error:
            return self._failed(entry.sha256, error)

    def pool_reply(self, request: Request, sha256: str) -> Reply:
        """An object by its hash, of the local pool only: a peer that asks has its own upstream."""
        try:
            size = self._pool.size(sha256)
            entry = Entry("object", sha256, size, 0)
            keep_alive = self.keeps_alive(request)
            return self._from_pool(
                _Plan(request, entry, keep_alive, int(self._clock.wall()), False)
            )
        except ObjectMissing:
            date = int(self._clock.wall())
            is_head = request.method == "HEAD"
            data = answer.error_answer(404, "not in this pool", date=date, is_head=is_head)
            return Complete(data, True, 404)
        except OSError as error:
            return self._failed(sha256, error)

    def want(self, source: str, path: str, revision: str) -> Fill | None:
        """The fill of a file, asked for if it is new; None while too many questions are open."""
        now = self._clock.boot()
        key = (source, path, revision)
        if key not in self._world.fills and len(self._world.fills) >= self._limits.wants:
            self._world.forget_fills(now, self._limits.fill_start_s)
            if len(self._world.fills) >= self._limits.wants:
                self._counters.hit("wants")
                return None
        fill, is_new = self._world.want(key, now)
        if is_new:
            self._counters.add("wants")
            self._feed.want(fill)
        return fill

    def _failed(self, sha256: str, error: OSError) -> Drop:
        line("error", "pool.unreadable", sha256=sha256, error=str(error))
        self._counters.add("pool_errors")
        return Drop("storage")

    def _from_pool(self, plan: "_Plan") -> Reply:
        if plan.is_head_only:
            return plan.complete(b"")  # the manifest knows all that a head says
        if plan.entry.size <= self._pool.small_bytes:
            body = self._pool.body(plan.entry.sha256, plan.entry.size)
            return plan.complete(body[plan.offset : plan.offset + plan.length])
        fd = self._pool.open(plan.entry.sha256, plan.entry.size)
        if plan.length <= self._pool.small_bytes:
            try:
                piece = os.pread(fd, plan.length, plan.offset)
            finally:
                os.close(fd)
            if len(piece) != plan.length:
                raise OSError("object is cut short")
            return plan.complete(piece)
        opener = self._pool.opener(plan.entry.sha256)
        return FromFile(
            plan.head, fd, plan.offset, plan.length, not plan.keep_alive, plan.status, opener
        )

    def _from_fill(self, plan: "_Plan", source: str, revision: str, arrived: float) -> Reply:
        now = self._clock.boot()
        fill = self.want(source, plan.entry.path, revision)
        until = arrived + self._limits.fill_start_s
        if fill is None:
            return Hold(until, "wants") if now < until else Drop("wants")
        if fill.error or now >= until:
            return self._unavailable(plan)
        if fill.relay:
            return self._from_relay(plan, fill, source, until)
        if fill.is_done:
            # And yet not in the pool: a network file system may show it a little later.
            if now - fill.ended_at > FILL_KEPT_S:
                self._world.forget(fill)
            return Hold(min(until, now + 0.5), "fill_start")
        if not fill.file or (fill.sha256 and fill.sha256 != plan.entry.sha256):
            return Hold(until, "fill_start")
        try:
            fd = os.open(fill.file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            # Just linked into the pool, or about to appear: the next word of control tells.
            return Hold(min(until, now + 0.2), "fill_start")
        self._counters.add("read_through")
        end = plan.offset + plan.length
        return FromFill(
            plan.head, fill, fd, plan.offset, end, plan.entry.size, not plan.keep_alive, plan.status
        )

    def _from_relay(self, plan: "_Plan", fill: Fill, source: str, until: float) -> Reply:
        sock = open_relay(
            fill.relay,
            source=source,
            sha256=plan.entry.sha256,
            size=plan.entry.size,
            offset=plan.offset,
            end=plan.offset + plan.length,
        )
        if sock is None:  # its process has ended: the next question starts another one
            self._world.forget(fill)
            return Hold(min(until, self._clock.boot() + 0.2), "fill_start")
        self._counters.add("relayed_files")
        return FromRelay(plan.head, sock, plan.length, not plan.keep_alive, plan.status)

    def _unavailable(self, plan: "_Plan") -> Complete:
        self._counters.hit("fill_start")
        data = answer.error_answer(503, "this file could not be fetched yet", date=plan.date)
        return Complete(data, True, 503)


class _Plan:
    """Status, head and bytes of an answer about one entry, before any file is opened."""

    __slots__ = (
        "date",
        "entry",
        "head",
        "is_head_only",
        "keep_alive",
        "length",
        "offset",
        "status",
    )

    def __init__(
        self, request: Request, entry: Entry, keep_alive: bool, date: int, is_mutable: bool
    ) -> None:
        self.entry, self.date = entry, date
        self.status, self.offset, self.length = 200, 0, entry.size
        etag = f'"{entry.sha256}"'.encode("ascii")
        content_range = ""
        last_modified = answer.http_date(entry.mtime).encode("ascii")
        headers = request.headers
        if is_not_modified(headers, etag, last_modified):
            self.status, self.length = 304, 0
        elif b"range" in headers and request.method == "GET" and is_range_allowed(headers, etag):
            selected = select_range(headers[b"range"], entry.size)
            if isinstance(selected, Part):
                self.status, self.offset = 206, selected.first
                self.length = selected.last - selected.first + 1
                content_range = f"bytes {selected.first}-{selected.last}/{entry.size}"
            elif isinstance(selected, Unsatisfiable):
                self.status, self.length = 416, 0
                content_range = f"bytes */{entry.size}"
        self.keep_alive = keep_alive and self.status != 416
        self.is_head_only = request.method == "HEAD" or not self.length
        self.head = answer.file_head(
            self.status,
            length=None if self.status == 304 else self.length,
            etag=etag,
            mtime=entry.mtime,
            media=answer.media_type(entry.path.encode()),
            date=date,
            keep_alive=self.keep_alive,
            content_range=content_range,
            is_mutable=is_mutable,
        )

    def complete(self, body: bytes) -> Complete:
        """The whole answer."""
        return Complete(self.head + body, not self.keep_alive, self.status, is_lasting=True)
