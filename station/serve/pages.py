"""Directory pages for people: the sources of this station, and what is in one of them."""

from station.http.answer import page
from station.http.target import Listing
from station.http.view import Name
from station.serve.lookup import Library
from station.serve.world import World

SOURCES_MAX = 5000


class Pages:
    """Renders from the snapshot; a page never reads a whole manifest."""

    def __init__(self, world: World, library: Library) -> None:
        self._world = world
        self._library = library

    def render(self, route: Listing, now: float) -> bytes:
        """The page, or b"" when there is no such source. `now` in boot-clock seconds."""
        if route.source is None:
            return self._index()
        view = self._world.source(route.source)
        if view is None and route.source not in self._world.snapshot.listed:
            return b""
        if route.revision is not None:
            return self._revision(route.source, route.revision)
        live = self._world.shown(route.source, Name.FIXED, now).revision
        rows = [("repodata/repomd.xml", "repodata/repomd.xml", "live" if live else "not yet")]
        revisions = dict.fromkeys((live, *(view.revisions if view else ()))) if live else {}
        rows += [
            (
                f"/repo/{route.source}/@{revision}/",
                f"@{revision}",
                "live" if revision == live else "also served",
            )
            for revision in revisions
        ]
        if view and view.key:
            rows.append((f"/keys/{route.source}", "signing key", "OpenPGP"))
        return page(route.source, rows)

    def _index(self) -> bytes:
        snapshot = self._world.snapshot
        names = sorted({*snapshot.listed, *snapshot.sources})[:SOURCES_MAX]
        rows = [
            (f"/repo/{name}/", name, "" if name in snapshot.listed else "no longer mirrored")
            for name in names
        ]
        return page(f"Software sources of {snapshot.station or 'this station'}", rows)

    def _revision(self, source: str, revision: str) -> bytes:
        if not self._library.has(source, revision):
            return b""
        rows = [("repodata/repomd.xml", "repodata/repomd.xml", f"of revision {revision[:12]}")]
        return page(f"{source} @{revision[:12]}", rows)
