"""The admin API for registering: install keys, the command, the response file; and what is known of an instance now."""

import secrets
from typing import Any

from aiohttp import web

from station.control import changes
from station.control.admin_records import as_answers, json_body
from station.control.deregistration import deleting_of
from station.control.http_server import ApiError
from station.control.station import Station
from station.model.install_key import (
    LIFE_S,
    LIFE_S_MAX,
    SECRET_BYTES,
    USES_MAX,
    InstallKey,
    KeyRecord,
    digest_of,
    keys_of,
    settings_of,
    uses_of,
)
from station.model.instance_status import status_of
from station.model.last_seen import merged, seen_at
from station.model.records import GroupRecord, Kind
from station.peering.changes import Change
from station.peering.keys import fingerprint
from station.runtime.clock import Clock
from station.setup.instance_script import registration_command, render_response_file


def instance_admin_routes(station: Station, clock: Clock) -> list[web.RouteDef]:
    """Routes of install keys and of the instances' statuses."""
    api = _Registration(station, clock)
    return [
        web.get("/instance-statuses", api.statuses),
        web.get("/profiles/{name}/keys", api.list_keys),
        web.post("/profiles/{name}/keys", api.create_key),
        web.delete("/profiles/{name}/keys/{id}", api.revoke_key),
        web.get("/profiles/{name}/command", api.command),
        web.post("/profiles/{name}/response-file", api.response_file),
    ]


class _Registration:
    def __init__(self, station: Station, clock: Clock) -> None:
        self._station = station
        self._clock = clock
        self._since = clock.wall()

    async def statuses(self, _request: web.Request) -> web.Response:
        """By instance: `status`, `last_seen` (wall time or null), `same_machine` (other ids of one machine).

        `deleted_by`: the wall time at which one that is DELETING goes without its word, else null.
        """
        registry, now = self._station.registry, self._clock.wall()
        others = [s.payload for n, s in registry.statuses().items() if n != self._station.name]
        marks = merged(self._station.sightings.marks(), others)
        records = registry.instances()
        machines: dict[str, list[str]] = {}
        for record in records.values():
            if machine := record.facts.get("machine"):
                machines.setdefault(machine, []).append(record.id)
        rows = {}
        for name, record in sorted(records.items()):
            seen = seen_at(marks, name, now)
            twins = machines.get(record.facts.get("machine", ""), [])
            mark = deleting_of(registry.settings(), name)
            rows[name] = {
                "status": status_of(
                    record, seen, now, self._since, is_deleting=mark is not None
                ).value,
                "deleted_by": mark and mark.until,
                "last_seen": seen,
                "same_machine": sorted(set(twins) - {name}),
            }
        return web.json_response(rows)

    async def list_keys(self, request: web.Request) -> web.Response:
        name = self._profile(request)
        settings, now = self._station.registry.settings(), self._clock.wall()
        rows = []
        for record in keys_of(name, settings):
            uses = len(uses_of(record.id, settings))
            rows.append(
                {
                    "id": record.id,
                    "created": record.created,
                    "expires": record.expires,
                    "uses": uses if record.uses_max else None,  # counted only where they matter
                    "uses_max": record.uses_max,
                    "state": record.refusal(uses, now) or "good",
                    "issued_by": record.issued_by,
                }
            )
        return web.json_response(rows)

    async def create_key(self, request: web.Request) -> web.Response:
        name, body = self._profile(request), await json_body(request)
        key, record, held_by = await self._issue(name, body)
        result = {"id": record.id, "expires": record.expires, "uses_max": record.uses_max}
        return web.json_response({"key": key, "result": result, "held_by": held_by}, status=201)

    async def revoke_key(self, request: web.Request) -> web.Response:
        name, wanted = self._profile(request), request.match_info["id"]
        found = [r for r in keys_of(name, self._station.registry.settings()) if r.id == wanted]
        if not found:
            raise ApiError(404, "unknown", f"profile {name} has no install key {wanted!r}")
        record = found[0].revoked()
        with as_answers():
            held_by = await self._station.write(
                [Change(Kind.SETTINGS, record.key, record.to_wire())]
            )
        return web.json_response({"result": {"revoked": record.id}, "held_by": held_by})

    async def command(self, request: web.Request) -> web.Response:
        self._profile(request)
        by_proxy = request.query.get("by_proxy") == "true"
        print_of_ca = fingerprint(self._station.ca_pem).hex()
        text = registration_command(self._group(), print_of_ca, by_proxy=by_proxy)
        return web.json_response({"command": text})

    async def response_file(self, request: web.Request) -> web.Response:
        name, body = self._profile(request), await json_body(request)
        key, record, held_by = await self._issue(name, body)
        text = render_response_file(self._group(), key)
        result = {"id": record.id, "expires": record.expires, "uses_max": record.uses_max}
        return web.json_response({"text": text, "result": result, "held_by": held_by}, status=201)

    async def _issue(self, profile: str, body: dict[str, Any]) -> tuple[str, KeyRecord, int]:
        """A new key; the records of its expired predecessors go, and of their uses."""
        life_s, uses = body.get("life_s", LIFE_S), body.get("uses", 0)
        if not isinstance(life_s, int | float) or not 0 < life_s <= LIFE_S_MAX:
            raise ApiError(400, "life", "an install key lives for 1 second to 366 days", "life_s")
        if not isinstance(uses, int) or not 0 <= uses <= USES_MAX:
            raise ApiError(400, "uses", f"expected 0 (any number) to {USES_MAX}", "uses")
        now = self._clock.wall()
        ca = fingerprint(self._station.ca_pem)
        key = InstallKey(ca, self._group().ports.https, secrets.token_bytes(SECRET_BYTES))
        digest = digest_of(key.secret)
        issued_by = self._station.name
        record = KeyRecord(profile, digest, now + life_s, now, uses, issued_by=issued_by)
        steps = [Change(Kind.SETTINGS, record.key, record.to_wire())]
        settings = self._station.registry.settings()
        for old in keys_of(profile, settings):
            if old.expires < now:
                steps += [Change.delete(Kind.SETTINGS, k) for k in settings_of(old, settings)]
        with as_answers():
            held_by = await self._station.write(steps)
        return key.text(), record, held_by

    def _profile(self, request: web.Request) -> str:
        with as_answers():
            name = request.match_info["name"]
            changes.existing(self._station.records(), Kind.PROFILE, name)
        return name

    def _group(self) -> GroupRecord:
        group = self._station.records().group
        if group is None:
            raise ApiError(503, "starting", "no word from the group yet; try again")
        return group
