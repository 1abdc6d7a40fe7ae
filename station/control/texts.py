"""Texts for other programs: the .repo file of a profile, the configuration of a balancer."""

from collections.abc import Callable

from aiohttp import web

from station.config.schema import Config
from station.control.admin_records import as_answers
from station.control.changes import existing
from station.control.http_server import ApiError, via
from station.control.station import Station
from station.model.records import GroupRecord, Kind
from station.setup.haproxy import HaproxyOptions, render_haproxy
from station.setup.repo_file import RepoOptions, render_repo_file

# Where anybody who reaches the mirror may ask for a .repo file: it says nothing that the mirror does not say itself.
_OPEN_TO = ("admin", "http", "https")


def snippet_routes(config: Config, station: Station) -> list[web.RouteDef]:
    """What instances ask for."""
    return [web.get("/snippets/repo", _Texts(config, station).repo)]


def balancer_routes(config: Config, station: Station) -> list[web.RouteDef]:
    """What an administrator asks for."""
    return [web.get("/balancer", _Texts(config, station).balancer)]


class _Texts:
    def __init__(self, config: Config, station: Station) -> None:
        self._config = config
        self._station = station

    async def repo(self, request: web.Request) -> web.Response:
        if via(request).listener not in _OPEN_TO:
            raise ApiError(404, "unknown", "no such page")
        profile = request.query.get("profile", "")
        scheme = request.query.get("scheme", "https")
        if scheme not in ("http", "https"):
            raise ApiError(400, "scheme", f"scheme {scheme!r}: http or https", "scheme")
        records = self._station.records()
        with as_answers():
            existing(records, Kind.PROFILE, profile)
        listed = self._station.mirror_list()
        sources = [listed[s].source for s in records.sources_of("profile", profile) if s in listed]
        options = RepoOptions(
            profile=profile,
            https=scheme == "https",
            sslverify=self._config.mirror.is_sslverify_enabled,
        )
        return _text(lambda: render_repo_file(self._group(), sources, options))

    async def balancer(self, request: web.Request) -> web.Response:
        kind = request.query.get("kind", "haproxy")
        if kind != "haproxy":
            raise ApiError(400, "kind", f"kind {kind!r}: only haproxy is known", "kind")
        options = HaproxyOptions(
            bind=request.query.get("bind", "*"),
            balance=request.query.get("balance", "leastconn"),
            ca_path=request.query.get("ca", ""),
            send_proxy=request.query.get("send_proxy", "") == "yes",
        )
        for value in (options.bind, options.balance, options.ca_path):
            if any(c.isspace() or ord(c) < 32 for c in value):
                raise ApiError(400, "invalid", f"{value[:80]!r}: no blanks or control characters")
        stations = [record for _, record in sorted(self._station.records().stations.items())]
        return _text(lambda: render_haproxy(self._group(), stations, options))

    def _group(self) -> GroupRecord:
        group = self._station.records().group
        if group is None:
            raise ApiError(503, "starting", "no word from the group yet; try again")
        return group


def _text(render: Callable[[], str]) -> web.Response:
    try:
        return web.Response(text=render(), content_type="text/plain")
    except ValueError as error:
        raise ApiError(409, "incomplete", str(error)) from None
