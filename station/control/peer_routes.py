"""What workers relay to control: gossip and manifests from peers, joins from candidates, snippets for people."""

import aiofiles
from aiohttp import web

from station.control.admin_records import json_body
from station.control.http_server import ApiError, via
from station.control.station import Station
from station.model.identity import InvalidName, Revision, SourceId
from station.peering.desk import JoinDesk
from station.peering.transport import GOSSIP_PATH
from station.runtime.clock import Clock
from station.storage.errors import StorageError


def relayed_routes(station: Station, desk: JoinDesk, clock: Clock) -> list[web.RouteDef]:
    """Routes behind the three public ports and the peer port. Each looks at the listener first."""
    api = _Relayed(station, desk, clock)
    return [
        web.post(GOSSIP_PATH, api.gossip),
        web.get("/manifest/{source}/{revision}", api.manifest),
        web.post("/group/join", api.join),
    ]


class _Relayed:
    def __init__(self, station: Station, desk: JoinDesk, clock: Clock) -> None:
        self._station = station
        self._desk = desk
        self._clock = clock

    async def gossip(self, request: web.Request) -> web.Response:
        received = self._clock.wall()
        answer = await self._station.registry.handle_request(
            self._peer(request), await request.read(), received
        )
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def manifest(self, request: web.Request) -> web.StreamResponse:
        self._member(request)
        try:
            source = SourceId.parse(request.match_info["source"])
            revision = Revision.parse(request.match_info["revision"])
        except InvalidName as error:
            raise ApiError(400, "name", str(error)) from None
        try:
            path = await self._station.manifest_path(source, revision)
            async with aiofiles.open(path, "rb") as file:
                data = await file.read()
        except (OSError, StorageError):
            raise ApiError(404, "unknown", f"no manifest of {source} {revision} here") from None
        return web.Response(body=data, content_type="application/octet-stream")

    async def join(self, request: web.Request) -> web.Response:
        way = via(request)
        if way.listener != "https":
            raise ApiError(404, "unknown", "no such page")
        body = await json_body(request)
        status, answer = await self._desk.handle(body, self._clock.wall(), way.client)
        return web.json_response(answer, status=status)

    def _peer(self, request: web.Request) -> str:
        way = via(request)
        if way.listener != "peers" or not way.peer:
            raise ApiError(404, "unknown", "no such page")
        return way.peer

    def _member(self, request: web.Request) -> str:
        peer = self._peer(request)
        if not self._station.registry.allowed(peer):
            raise ApiError(403, "forgotten", f"{peer} is not a member of this group (any more)")
        return peer
