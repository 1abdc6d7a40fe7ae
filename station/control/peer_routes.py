"""What workers relay to control: gossip and manifests from peers, joins from candidates, snippets for people."""

import asyncio
from pathlib import Path

from aiohttp import web

from station.control.http_server import ApiError, via
from station.control.station import Station
from station.model.identity import InvalidName, Revision, SourceId


def relayed_routes(station: Station) -> list[web.RouteDef]:
    """Routes behind the three public ports and the peer port. Each looks at the listener first."""
    api = _Relayed(station)
    return [
        web.post("/gossip", api.gossip),
        web.get("/manifest/{source}/{revision}", api.manifest),
        web.post("/group/join", api.join),
    ]


class _Relayed:
    def __init__(self, station: Station) -> None:
        self._station = station

    async def gossip(self, request: web.Request) -> web.Response:
        return await self._station.gossip(self._member(request), request)

    async def manifest(self, request: web.Request) -> web.StreamResponse:
        self._member(request)
        try:
            source = SourceId.parse(request.match_info["source"])
            revision = Revision.parse(request.match_info["revision"])
        except InvalidName as error:
            raise ApiError(400, "name", str(error)) from None
        path = Path(await self._station.manifest_path(source, revision))
        try:
            data = await asyncio.to_thread(path.read_bytes)
        except OSError:
            raise ApiError(404, "unknown", f"no manifest of {source} {revision} here") from None
        return web.Response(body=data, content_type="application/octet-stream")

    async def join(self, request: web.Request) -> web.Response:
        way = via(request)
        if way.listener != "https":
            raise ApiError(404, "unknown", "no such page")
        status, answer = await self._station.join(await request.json(), way.client)
        return web.json_response(answer, status=status)

    def _member(self, request: web.Request) -> str:
        way = via(request)
        if way.listener != "peers" or not way.peer:
            raise ApiError(404, "unknown", "no such page")
        if way.peer not in self._station.members():
            raise ApiError(403, "forgotten", f"{way.peer} is not a member of this group (any more)")
        return way.peer
