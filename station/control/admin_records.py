"""The admin API for records: sources, profiles, instances, stations. Bad input is one clear error, nothing lost."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from station.control import changes
from station.control.changes import BadChange
from station.control.deregistration import ask_to_leave, delete_now
from station.control.http_server import ApiError
from station.control.station import Station
from station.model.install_key import keys_of, settings_of
from station.model.records import InstanceRecord, Kind, ProfileRecord, Record, StationRecord
from station.peering.candidate import GROUP_KEY
from station.peering.changes import Change
from station.peering.keys import KeysInvalid
from station.peering.trust import Trust

COLLECTIONS = {"sources": Kind.SOURCE, "profiles": Kind.PROFILE, "instances": Kind.INSTANCE}


def record_routes(station: Station) -> list[web.RouteDef]:
    """Routes of the record collections and of the members."""
    api = _Records(station)
    routes = [
        web.get("/stations", api.list_stations),
        web.get("/stations/{key}", _with(Kind.STATION, api.show)),
        web.delete("/stations/{key}", api.forget),
        web.patch("/group", api.update_group),
        web.get("/group/trust", api.show_trust),
        web.put("/group/trust", api.set_trust),
        web.post("/instance-switch", api.switch),
    ]
    for name, kind in COLLECTIONS.items():
        routes += [
            web.get(f"/{name}", _with(kind, api.list_all)),
            web.post(f"/{name}", _with(kind, api.create)),
            web.get(f"/{name}/{{key}}", _with(kind, api.show)),
            web.patch(f"/{name}/{{key}}", _with(kind, api.update)),
            web.delete(f"/{name}/{{key}}", _with(kind, api.delete)),
        ]
    return routes


async def json_body(request: web.Request) -> dict[str, Any]:
    """The request's JSON object; `{}` for none. Raises ApiError 400."""
    text = await request.text()
    try:
        body = json.loads(text) if text else {}
    except ValueError as error:
        raise ApiError(400, "json", f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise ApiError(400, "json", "the body is not a JSON object")
    return body


class _Records:
    def __init__(self, station: Station) -> None:
        self._station = station

    async def list_all(self, kind: Kind, _request: web.Request) -> web.Response:
        records = self._station.records()
        return web.json_response([self._wire(r) for _, r in sorted(records.of(kind).items())])

    async def show(self, kind: Kind, request: web.Request) -> web.Response:
        with as_answers():
            record = changes.existing(self._station.records(), kind, request.match_info["key"])
        return web.json_response(self._wire(record))

    async def create(self, kind: Kind, request: web.Request) -> web.Response:
        body = await json_body(request)
        with as_answers():
            steps = changes.create(self._station.records(), kind, body)
        return await self._write(steps, status=201)

    async def update(self, kind: Kind, request: web.Request) -> web.Response:
        body = await json_body(request)
        with as_answers():
            steps = changes.update(self._station.records(), kind, request.match_info["key"], body)
        return await self._write(steps)

    async def delete(self, kind: Kind, request: web.Request) -> web.Response:
        key, settings = request.match_info["key"], self._station.registry.settings()
        if kind is Kind.INSTANCE:
            return await self._delete_instance(key, force=request.query.get("force") == "true")
        with as_answers():
            steps = changes.delete(self._station.records(), kind, key)
        if kind is Kind.PROFILE:  # one of the same name does not inherit its install keys
            for old in keys_of(key, settings):
                steps += [Change.delete(Kind.SETTINGS, k) for k in settings_of(old, settings)]
        return await self._write(steps)

    async def _delete_instance(self, key: str, *, force: bool) -> web.Response:
        """A machine that registered puts its old .repo files back first; the others are gone at once."""
        records, settings = self._station.records(), self._station.registry.settings()
        now, mark = self._station.now().wall, None
        with as_answers():
            if force:
                steps = delete_now(records, settings, key)
            else:
                steps, mark = ask_to_leave(records, settings, key, now)
        if mark is None:
            return await self._write(steps)
        with as_answers():
            held_by = await self._station.write(steps) if steps else None
        result = {"deleting": key, "deleted_by": mark.until}
        return web.json_response({"result": result, "held_by": held_by}, status=202)

    async def list_stations(self, _request: web.Request) -> web.Response:
        stations = self._station.records().stations
        return web.json_response([r.model_dump(mode="json") for _, r in sorted(stations.items())])

    async def forget(self, request: web.Request) -> web.Response:
        name, move_to = request.match_info["key"], request.query.get("move_to")
        if name == self._station.name:
            raise ApiError(409, "own", f"{name} cannot forget itself; ask another station")
        with as_answers():
            steps = changes.forget_station(self._station.records(), name, move_to)
        return await self._write(steps)

    async def show_trust(self, _request: web.Request) -> web.Response:
        return web.json_response(Trust.of(self._station.registry.settings()).authorities())

    async def set_trust(self, request: web.Request) -> web.Response:
        pem = (await json_body(request)).get("pem")
        if not isinstance(pem, str):
            raise ApiError(400, "pem", "expected the certificates as PEM text", "pem")
        try:
            trust = Trust.of(self._station.registry.settings()).replaced(pem)
        except KeysInvalid as error:
            raise ApiError(400, "pem", str(error), "pem") from None
        with as_answers():
            held_by = await self._station.write([trust.change()])
        return web.json_response({"result": trust.authorities(), "held_by": held_by})

    async def switch(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        with as_answers():
            steps = changes.switch_instances(self._station.records(), body)
            held_by = await self._station.write(steps) if steps else None
        result = {"switched": [step.key for step in steps], "station": body["to"]}
        return web.json_response({"result": result, "held_by": held_by})

    async def update_group(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        with as_answers():
            now = self._station.now().wall
            group = changes.update_group(self._station.records(), body, now)
            held_by = await self._station.write([Change.put(Kind.GROUP, GROUP_KEY, group)])
        return web.json_response({"result": group.model_dump(mode="json"), "held_by": held_by})

    async def _write(self, steps: list[Change], *, status: int = 200) -> web.Response:
        with as_answers():
            held_by = await self._station.write(steps)
        first = steps[0]
        record = self._station.records().of(first.kind).get(first.key)
        result = self._wire(record) if record else {"deleted": first.key, "changes": len(steps)}
        return web.json_response({"result": result, "held_by": held_by}, status=status)

    def _wire(self, record: Record) -> dict[str, Any]:
        wire = record.model_dump(mode="json")
        records = self._station.records()
        if isinstance(record, ProfileRecord):
            wire["sources"] = records.sources_of("profile", record.name)
        elif isinstance(record, InstanceRecord):
            wire["sources"] = records.sources_of("instance", record.id)
        elif isinstance(record, StationRecord):
            wire |= changes.station_facts(records, record.name)
        return wire


@contextmanager
def as_answers() -> Iterator[None]:
    """Turns a BadChange into the answer that tells it."""
    try:
        yield
    except BadChange as error:
        raise ApiError(error.status, error.code, str(error), error.field) from None


def _with(kind: Kind, handler: Any) -> Any:
    async def handle(request: web.Request) -> web.StreamResponse:
        response: web.StreamResponse = await handler(kind, request)
        return response

    return handle
