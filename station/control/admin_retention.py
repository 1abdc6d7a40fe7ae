"""The admin API for what is kept and what goes: freezes, revisions and why they stay, purges."""

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web

from station.config.schema import Config
from station.control import freezing, retention
from station.control.admin_records import as_answers, json_body
from station.control.changes import existing
from station.control.chores import Chores
from station.control.http_server import ApiError
from station.control.leaving import Left, freezes_of, left_sources
from station.control.station import Station
from station.control.storage_view import StoredSource
from station.model.identity import Revision
from station.model.records import Kind
from station.peering.changes import Change
from station.storage.client import StorageError
from station.storage.waiting import load_waiting

BYTES_DEADLINE_S = 30.0


def retention_routes(config: Config, station: Station, chores: Chores) -> list[web.RouteDef]:
    """Routes of freezes, revisions and purges."""
    api = _Retention(config, station, chores)
    return [
        web.post("/sources/{key}/freeze", api.freeze_source),
        web.post("/sources/{key}/unfreeze", api.unfreeze_source),
        web.post("/profiles/{key}/freeze", api.freeze_profile),
        web.post("/profiles/{key}/unfreeze", api.unfreeze_profile),
        web.get("/mirrors/{source}/revisions", api.revisions),
        web.post("/mirrors/purge", api.purge),
    ]


class _Retention:
    def __init__(self, config: Config, station: Station, chores: Chores) -> None:
        self._waiting_path = Path(config.state_directory) / "collect.json"
        self._station = station
        self._chores = chores

    # Freezes.

    async def freeze_source(self, request: web.Request) -> web.Response:
        key, station = request.match_info["key"], self._station
        body = await json_body(request)
        live = station.flips.barrier.live(key)
        with as_answers():
            steps = freezing.freeze_source(
                station.records(),
                key,
                body,
                live=live.revision if live else None,
                held=self._held(key),
                wall=station.now().wall,
            )
        return await self._write(steps)

    async def unfreeze_source(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        with as_answers():
            steps = freezing.unfreeze_source(self._station.records(), key)
        answer = await self._write(steps)
        if key in self._station.mirror_list():
            self._station.request_sync([key])  # what came upstream meanwhile
        return answer

    async def freeze_profile(self, request: web.Request) -> web.Response:
        key, records = request.match_info["key"], self._station.records()
        body = await json_body(request)
        sources = records.sources_of("profile", key)
        shown = {source: self._station.flips.barrier.live(source) for source in sources}
        with as_answers():
            steps = freezing.freeze_profile(
                records,
                key,
                body,
                live={source: live.revision for source, live in shown.items() if live},
                held={source: self._held(source) for source in sources},
            )
        return await self._write(steps)

    async def unfreeze_profile(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        with as_answers():
            steps = freezing.unfreeze_profile(
                self._station.records(), request.match_info["key"], body
            )
        return await self._write(steps)

    def _held(self, source: str) -> set[Revision]:
        reports = self._station.present_reports().values()
        return {
            r for said in reports if source in said.sources for r in said.sources[source].revisions
        }

    # Revisions.

    async def revisions(self, request: web.Request) -> web.Response:
        source, station = request.match_info["source"], self._station
        stored = station.storage.view.sources.get(source)
        if stored is None:
            with as_answers():
                existing(station.records(), Kind.SOURCE, source)
        records = station.records()
        waiting = await asyncio.to_thread(
            load_waiting, self._waiting_path, station.storage.view.storage_id
        )
        prefix = f"{source}/"
        idle = {
            Revision(name.removeprefix(prefix)): seconds
            for name, seconds in waiting.revisions.items()
            if name.startswith(prefix)
        }
        rows = retention.revision_rows(
            stored or StoredSource(),
            frozen=retention.frozen_revisions(records).get(source, ()),
            staged=retention.staged_revisions(records, station.present_reports().values()).get(
                source, ()
            ),
            idle_s=idle,
        )
        return web.json_response(rows)

    # Purges.

    async def purge(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        is_forced, is_dry_run = body.get("force", False), body.get("dry_run", False)
        left = left_sources(self._station.registry.settings())
        wanted = body.get("sources") or sorted(left)
        if not isinstance(wanted, list) or not all(isinstance(s, str) for s in wanted):
            raise ApiError(400, "invalid", "sources: expected a list of source ids", "sources")
        rows = [await self._purge_row(source, left.get(source), is_forced) for source in wanted]
        waits = self._chores.why_not_remove()
        if is_dry_run:
            return web.json_response({"sources": rows, "waits": waits, "held_by": 0})
        for row in rows:
            if row["objections"]:
                raise ApiError(409, "objection", f"{row['source']}: {'; '.join(row['objections'])}")
        wall = self._station.now().wall
        steps = [
            Left(s, left[s].at if s in left else wall, True, bool(is_forced)).change()
            for s in wanted
        ]
        held_by = await self._commit(steps) if steps else 0
        return web.json_response({"sources": rows, "waits": waits, "held_by": held_by}, status=202)

    async def _purge_row(self, source: str, left: Left | None, is_forced: bool) -> dict[str, Any]:
        station = self._station
        records, entry = station.records(), station.mirror_list().get(source)
        reports = station.present_reports()
        holders = sorted(
            name
            for name, r in reports.items()
            if source in r.sources and r.sources[source].revisions
        )
        if not holders:
            with as_answers():
                existing(records, Kind.SOURCE, source)
        freezes = freezes_of(records, source)
        objections = [f"{reason} refers to it" for reason in entry.reasons] if entry else []
        if freezes and not is_forced:
            objections += [f"{freeze}; --force overrides it" for freeze in freezes]
        if source in station.storage.view.sources:
            try:
                facts = await station.storage.call(
                    "purge", deadline_s=BYTES_DEADLINE_S, source=source, dry_run=True
                )
            except StorageError as error:
                raise ApiError(503, error.code, f"{source}: {error.detail}") from None
        else:
            facts = {"revisions": 0, "bytes": 0}
        return {
            "source": source,
            "revisions": facts["revisions"],
            "bytes": facts["bytes"],
            "stations": holders,
            "left_at": left.at if left else None,
            "why": _why_it_may(entry is not None, left),
            "overrides": freezes if is_forced else [],
            "objections": objections,
        }

    # Writing.

    async def _commit(self, steps: list[Change]) -> int:
        with as_answers():
            return await self._station.write(steps)

    async def _write(self, steps: list[Change]) -> web.Response:
        held_by = await self._commit(steps)
        record = existing(self._station.records(), steps[0].kind, steps[0].key)
        return web.json_response({"result": record.model_dump(mode="json"), "held_by": held_by})


def _why_it_may(is_listed: bool, left: Left | None) -> str:
    if is_listed:
        return ""
    return "it left the mirror list" if left else "nothing refers to it"
