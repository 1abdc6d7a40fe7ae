"""Decides what to answer: routes a request to the snapshot, a manifest, the pool, a fill, or control."""

from station.http import answer
from station.http.head import Refusal, Request
from station.http.mirrorlist import pinned_urls, render_metalink, render_mirrorlist
from station.http.target import (
    CaPem,
    Health,
    Keys,
    Listing,
    MirrorList,
    Other,
    Pinned,
    PoolObject,
    Repo,
    Route,
    parse_target,
)
from station.http.view import Name, Shown, name_of
from station.runtime.clock import Clock
from station.serve.faults import NONE, Faults
from station.serve.feed import Feed
from station.serve.files import Files
from station.serve.limits import Counters, Limits
from station.serve.lookup import Library
from station.serve.pages import Pages
from station.serve.reply import Client, Complete, Drop, Hold, Reply, ToControl
from station.serve.world import DRAINING, World

PEERS_LISTENER = "peers"  # the only way to the pool
_NEVER = float("inf")
# Each costs control a fetch of a revision's metadata; clients of other files wait behind them.
MANIFESTS_AT_ONCE = 4
# A network file system may show a manifest a little after control said that it is there.
MANIFEST_LOOK_S = 1.0


class Router:
    """`answer` is asked again for a held request; `arrived` is when it came, in boot-clock seconds."""

    def __init__(
        self,
        world: World,
        feed: Feed,
        library: Library,
        files: Files,
        clock: Clock,
        limits: Limits,
        counters: Counters,
        faults: Faults = NONE,
    ) -> None:
        self._faults, self._counters = faults, counters
        self._world, self._feed, self._library, self._files = world, feed, library, files
        self._clock, self._limits = clock, limits
        self._pages = Pages(world, library)

    def answer(self, request: Request, client: Client, arrived: float) -> Reply:
        """What to do about `request` now."""
        route = parse_target(request.target)
        if isinstance(route, Refusal):
            return self._error(request, route.status, route.reason)
        if isinstance(route, Other):
            return ToControl()
        if request.method not in ("GET", "HEAD"):
            return self._error(request, 405, "GET and HEAD only", headers=("Allow: GET, HEAD",))
        if isinstance(route, Repo | Pinned):
            return self._file(request, route, client, arrived)
        if isinstance(route, PoolObject):
            return self._pool(request, route, client)
        return self._small(request, route, client, arrived)

    def is_health(self, request: Request) -> bool:
        """Whether this is a health check, answered even at the cap."""
        return isinstance(parse_target(request.target), Health)

    def _small(self, request: Request, route: Route, client: Client, arrived: float) -> Reply:
        if isinstance(route, Health):
            return self._health(request, route)
        if isinstance(route, MirrorList):
            return self._mirrorlist(request, route, client, arrived)
        held = self._hold_stale(arrived)
        if held:
            return held
        snapshot = self._world.snapshot
        body, media = b"", "text/plain; charset=utf-8"
        if isinstance(route, Keys):
            view = self._world.source(route.source)
            body, media = (view.key if view else "").encode(), "application/pgp-keys"
        elif isinstance(route, CaPem):
            body, media = snapshot.ca_pem.encode(), "application/x-pem-file"
        elif isinstance(route, Listing):
            body = self._pages.render(route, self._clock.boot())
            media = "text/html; charset=utf-8"
        if not body:
            return self._error(request, 404, "not found")
        return self._text(request, body, media)

    def _health(self, request: Request, route: Health) -> Reply:
        now = self._clock.boot()
        if route.kind == "ready":
            if not self._world.is_fresh(now):
                self._feed.drain()
            reason = self._world.not_ready_reason(self._clock.boot())
            if reason:
                status = 404 if reason == DRAINING else 503  # what HAProxy's disable-on-404 is for
                return self._error(request, status, reason.replace("\n", " ")[:200])
        return self._text(request, b"ok\n", is_lasting=False)

    def _mirrorlist(
        self, request: Request, route: MirrorList, client: Client, arrived: float
    ) -> Reply:
        held = self._hold_stale(arrived)
        if held:
            return held
        snapshot, now = self._world.snapshot, self._clock.boot()
        frozen = snapshot.frozen.get(route.profile or "", {}).get(route.source)
        shown = Shown(frozen) if frozen else self._world.shown(route.source, Name.FIXED, now)
        if not shown.revision:
            return self._unpublished(request, route.source, shown, arrived)
        is_https = client.scheme == "https"
        addresses = [
            member.address
            for member in snapshot.members
            if member.is_ready and (member.https or not is_https)
        ]
        port = snapshot.port_https if is_https else snapshot.port_http
        pin = "" if self._faults.no_pins else shown.revision
        urls = pinned_urls(client.scheme, port, snapshot.hostname, addresses, route.source, pin)
        if not route.is_metalink:
            return self._text(request, render_mirrorlist(urls))
        found = self._library.find(route.source, [shown.revision], b"repodata/repomd.xml")
        if found is None:
            return self._wait_for_manifest(request, route.source, shown.revision, arrived)
        entry = found.entry
        body = render_metalink(urls, sha256=entry.sha256, size=entry.size, timestamp=entry.mtime)
        return self._text(request, body, "application/metalink+xml")

    def _file(
        self, request: Request, route: Repo | Pinned, client: Client, arrived: float
    ) -> Reply:
        name = name_of(route.path)
        view = self._world.source(route.source)
        if view is None and route.source not in self._world.snapshot.listed:
            return self._hold_stale(arrived) or self._error(request, 404, "not found")
        if isinstance(route, Pinned):
            asked = route.revision
            is_own = name is not Name.FIXED
        else:
            if name is not Name.FIXED and (held := self._hold_stale(arrived)):
                return held
            is_zypp = request.headers.get(b"user-agent", b"").startswith(b"ZYpp")
            shown = self._world.shown(route.source, name, self._clock.boot(), is_zypp=is_zypp)
            if not shown.revision:
                if shown.held_until and name is not Name.FIXED:
                    return Hold(shown.held_until, "flip")
                return self._unpublished(request, route.source, shown, arrived)
            asked = shown.revision
            is_own = name in (Name.REPOMD, Name.SIGNATURE)
        found = self._library.find(route.source, [asked], route.path)
        is_alone = is_own or view is None or self._faults.no_union
        known = () if is_alone or view is None else (*view.revisions, *view.announced)
        others = [revision for revision in dict.fromkeys(known) if revision != asked]
        # These names have other bytes in each revision: first wait for the one that was asked for.
        is_own = is_own or name is Name.PLAIN
        if found is None and is_own and not self._library.has(route.source, asked):
            reply = self._wait_for_manifest(request, route.source, asked, arrived)
            if isinstance(reply, Complete) and isinstance(route, Pinned):
                return self._elsewhere(request, route, client) or reply
            return reply
        if found is None:
            found = self._library.find(route.source, others, route.path)
        if found is None:
            return self._unknown(request, route.source, [asked, *others], arrived)
        is_mutable = isinstance(route, Repo) and name is not Name.FIXED
        return self._files.reply(
            request, route.source, found.entry, found.revision, arrived, is_mutable=is_mutable
        )

    def _unknown(
        self, request: Request, source: str, revisions: list[str], arrived: float
    ) -> Reply:
        """A path in no manifest here. The group may know revisions whose manifests are not here: they are waited for,
        a few at a time, until one has the path or the time is over."""
        now, until, asked = self._clock.boot(), arrived + self._limits.manifest_hold_s, 0
        for revision in revisions:
            if asked == MANIFESTS_AT_ONCE or now >= until:
                break
            if not self._library.has(source, revision):
                fill = self._files.want(source, "repodata/repomd.xml", revision)
                is_on_its_way = revision == revisions[0] and self._is_coming(source, revision)
                asked += is_on_its_way or (fill is not None and not fill.error)
        if asked and now < until:
            return Hold(min(until, now + MANIFEST_LOOK_S), "manifest_hold")
        if asked:
            self._counters.hit("manifest_hold")
        return self._not_here(request, source, revisions[0], arrived)

    def _is_coming(self, source: str, revision: str) -> bool:
        """The group has this revision, and we do not have its manifest yet: just thawed, or just come back."""
        view = self._world.source(source)
        return (
            view is not None
            and revision in (*view.announced, *(p.revision for p in (view.live, view.next) if p))
            and not self._library.has(source, revision)
        )

    def _not_here(self, request: Request, source: str, revision: str, arrived: float) -> Reply:
        """404, which clients take for the truth; where the group knows better they are to ask another station."""
        if self._is_coming(source, revision):
            return Drop("manifest_hold")
        return self._hold_stale(arrived) or self._error(request, 404, "not found")

    def _wait_for_manifest(
        self, request: Request, source: str, revision: str, arrived: float
    ) -> Reply:
        """Control gets a manifest when it is asked for a file of its revision."""
        fill = self._files.want(source, "repodata/repomd.xml", revision)
        until = arrived + self._limits.manifest_hold_s
        is_late = self._clock.boot() >= until
        is_refused = (fill is None or fill.error) and not self._is_coming(source, revision)
        if is_refused or is_late:
            if is_late:
                self._counters.hit("manifest_hold")
            return self._not_here(request, source, revision, arrived)
        return Hold(min(until, self._clock.boot() + MANIFEST_LOOK_S), "manifest_hold")

    def _elsewhere(self, request: Request, route: Pinned, client: Client) -> Reply | None:
        """A signature of a revision that only a station out of our reach may have: the client is sent there.

        dnf goes to the next of its mirrors for any other file. The signature it wants from the mirror that gave it
        repomd.xml: behind a balancer, that was perhaps another station.
        """
        snapshot, is_https = self._world.snapshot, client.scheme == "https"
        away = [m for m in snapshot.members if not m.is_ready and (m.https or not is_https)]
        # Each sends on to the one after it, so that a chain comes to all.
        turn = sorted(away, key=lambda m: (m.name < snapshot.station, m.name))
        there = next((m.address for m in turn if m.name != snapshot.station), "")
        if name_of(route.path) is not Name.SIGNATURE or not there:
            return None
        port = snapshot.port_https if is_https else snapshot.port_http
        (url,) = pinned_urls(client.scheme, port, "", [there], route.source, route.revision)
        location = f"Location: {url}{route.path.decode('ascii')}"
        return self._error(request, 302, "another station may have it", headers=(location,))

    def _unpublished(self, request: Request, source: str, shown: Shown, arrived: float) -> Reply:
        """A source without a publication: held while it is on the mirror list, for its first one is near."""
        snapshot = self._world.snapshot
        if source not in snapshot.listed:
            return self._hold_stale(arrived) or self._error(request, 404, "not found")
        until = arrived + self._limits.unpublished_hold_s
        if self._clock.boot() >= until:
            self._counters.hit("unpublished_hold")
            return self._error(request, 503, "this source has no publication yet")
        return Hold(min(until, shown.held_until or _NEVER), "unpublished_hold")

    def _hold_stale(self, arrived: float) -> Hold | Drop | None:
        """Hold what depends on the present while control is silent; None when it may be answered."""
        now = self._clock.boot()
        if self._world.is_fresh(now):
            return None
        self._feed.drain()
        now = self._clock.boot()
        if self._world.is_fresh(now) or self._world.may_answer_stale():
            return None
        until = arrived + self._limits.stale_hold_s
        return Hold(until, "stale_hold") if now < until else Drop("stale_hold")

    def _pool(self, request: Request, route: PoolObject, client: Client) -> Reply:
        if client.listener != PEERS_LISTENER:
            return self._error(request, 404, "not found")
        return self._files.pool_reply(request, route.sha256)

    def _text(
        self,
        request: Request,
        body: bytes,
        media: str = "text/plain; charset=utf-8",
        *,
        is_lasting: bool = True,
    ) -> Complete:
        keep_alive = self._files.keeps_alive(request)
        data = answer.text_answer(
            200,
            body,
            date=int(self._clock.wall()),
            media=media,
            keep_alive=keep_alive,
            is_head=request.method == "HEAD",
        )
        return Complete(data, not keep_alive, 200, is_lasting)

    def _error(
        self, request: Request, status: int, reason: str, *, headers: tuple[str, ...] = ()
    ) -> Complete:
        data = answer.error_answer(
            status,
            reason,
            date=int(self._clock.wall()),
            is_head=request.method == "HEAD",
            headers=headers,
        )
        return Complete(data, True, status)
