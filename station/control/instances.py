"""The instance API, behind the public https port: register, check in, .repo file, deregister; and the script.

Answers are lines `name=value` for a shell that asks for text/plain, JSON for everybody else. The listener is looked
at first: over http there is nothing here, for credentials do not travel in clear.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

import station.setup.instance_script
from station.control.admin_records import as_answers
from station.control.changes import BadChange, Records
from station.control.http_server import REQUEST_DEADLINE_S, ApiError, Via, via
from station.control.instance_desk import Caller, InstanceDesk
from station.control.instance_facts import BODY_BYTES_MAX, WAYS, BadFacts, Facts, answer_lines
from station.control.station import Station
from station.model.credential import signing_key
from station.model.records import Kind
from station.peering.changes import Change
from station.peering.keys import fingerprint
from station.peering.pki import Pki
from station.peering.trust import Trust
from station.runtime.clock import Clock
from station.runtime.lines import line
from station.setup.instance_script import TEMPLATE, render_script

TEXT, JSON = "text/plain; charset=utf-8", "application/json; charset=utf-8"
SCRIPT = Path(station.setup.instance_script.__file__).with_name(TEMPLATE)


class _Registry:
    """The station, as the desk sees it."""

    def __init__(self, station: Station) -> None:
        self._station = station

    def records(self) -> Records:
        return self._station.records()

    def settings(self) -> Mapping[str, Mapping[str, Any]]:
        return self._station.registry.settings()

    def is_deleted(self, instance: str) -> bool:
        return self._station.registry.gossip.is_deleted(Kind.INSTANCE, instance)

    def certified(self) -> Iterable[str] | None:
        return self._station.certificate.names()

    async def write(self, changes: Sequence[Change]) -> int:
        return await self._station.write(changes)


class InstanceApi:
    """What instances ask, over https alone."""

    def __init__(self, station: Station, pki: Pki, clock: Clock, *, sslverify: bool) -> None:
        """Raises KeysInvalid: the group's keys cannot be read."""
        key = signing_key(pki.authority().ca_key)
        self._station = station
        self._desk = InstanceDesk(
            _Registry(station), key, station.sightings, clock.wall, sslverify=sslverify
        )
        self._pki = pki
        self._template = SCRIPT.read_text(encoding="utf-8")

    def routes(self) -> list[web.RouteDef]:
        """All of it."""
        return [
            web.put("/instances/{id}", self.register),
            web.delete("/instances/{id}", self.deregister),
            web.post("/instances/{id}/checkin", self.check_in),
            web.get("/instances/{id}/repos", self.repos),
            web.get("/instance-setup.sh", self.script),
            web.get("/trust.pem", self.trust),
        ]

    async def asked(self, ask: Mapping[str, Any]) -> dict[str, Any]:
        """A check-in that a worker had as a whole: the route's answer, as `status`, `media` and `body`."""
        is_text = str(ask["accept"]).startswith("text/plain")
        try:
            caller = Caller(_bearer(ask["authorization"]), ask["client"])
            media = str(ask["content-type"]).partition(";")[0].strip()
            facts = Facts.parse(str(ask["body"]).encode("latin-1"), media)
            async with asyncio.timeout(REQUEST_DEADLINE_S):
                answer = await self._desk.check_in(str(ask["instance"]), facts, caller)
        except TimeoutError:
            return _refused(503, "timeout", "no answer in time; try again")
        except BadFacts as error:
            return _refused(400, "facts", str(error))
        except BadChange as error:
            return _refused(error.status, error.code, str(error), error.field)
        except Exception as error:
            line("error", "api.failed", path="checkin", error=repr(error))
            return _refused(500, "internal", "the station failed to answer; its log says more")
        body = answer_lines(answer) if is_text else json.dumps(answer)
        return {"status": 200, "media": TEXT if is_text else JSON, "body": body}

    async def register(self, request: web.Request) -> web.Response:
        caller, facts = _caller(request), await _facts(request)
        with as_answers():
            status, answer = await self._desk.register(request.match_info["id"], facts, caller)
        return _answer(request, answer, status)

    async def check_in(self, request: web.Request) -> web.Response:
        caller, facts = _caller(request), await _facts(request)
        with as_answers():
            answer = await self._desk.check_in(request.match_info["id"], facts, caller)
        return _answer(request, answer)

    async def deregister(self, request: web.Request) -> web.Response:
        with as_answers():
            answer = await self._desk.deregister(request.match_info["id"], _caller(request))
        return _answer(request, answer)

    async def repos(self, request: web.Request) -> web.Response:
        way = request.query.get("way", "direct")
        if way not in WAYS:
            raise ApiError(400, "way", f"expected one of {', '.join(WAYS)}", "way")
        with as_answers():
            text = self._desk.repos(request.match_info["id"], way, _caller(request))
        return web.Response(text=text)

    async def trust(self, request: web.Request) -> web.Response:
        _only_https(request)
        keys, trust = self._pki.authority(), Trust.of(self._station.registry.settings())
        bundle = trust.bundle(keys.ca, keys.ca_key)
        return web.Response(body=bundle, content_type="application/x-pem-file")

    async def script(self, request: web.Request) -> web.Response:
        _only_https(request)
        group = self._station.records().group
        if group is None:
            raise ApiError(503, "starting", "no word from the group yet; try again")
        text = render_script(self._template, group, fingerprint(self._station.ca_pem).hex())
        return web.Response(text=text, content_type="text/x-shellscript")


def _only_https(request: web.Request) -> Via:
    way = via(request)
    if way.listener != "https":
        raise ApiError(404, "unknown", "no such page; over https there is one")
    return way


def _caller(request: web.Request) -> Caller:
    way = _only_https(request)
    return Caller(_bearer(request.headers.get("Authorization", "")), way.client)


def _bearer(authorization: str) -> str:
    scheme, _, bearer = authorization.partition(" ")
    return bearer.strip() if scheme.lower() == "bearer" else ""


def _refused(status: int, code: str, message: str, field: str = "") -> dict[str, Any]:
    body = json.dumps({"error": {"code": code, "message": message, "field": field}})
    return {"status": status, "media": JSON, "body": body}


async def _facts(request: web.Request) -> Facts:
    if (request.content_length or 0) <= BODY_BYTES_MAX:
        body = await request.read()
        if len(body) <= BODY_BYTES_MAX:
            try:
                return Facts.parse(body, request.content_type)
            except BadFacts as error:
                raise ApiError(400, "facts", str(error)) from None
    raise ApiError(413, "facts", f"more than {BODY_BYTES_MAX} bytes of facts")


def _answer(request: web.Request, answer: Mapping[str, Any], status: int = 200) -> web.Response:
    if request.headers.get("Accept", "").startswith("text/plain"):
        return web.Response(text=answer_lines(answer), status=status)
    return web.json_response(answer, status=status)
