"""The admin API for the mirror list, syncs, peers and the station itself."""

from typing import Any

from aiohttp import web

from station import __version__
from station.control import changes
from station.control.admin_records import as_answers, json_body
from station.control.fills import FillDesk
from station.control.http_server import ApiError
from station.control.mirrors import mirror_rows
from station.control.skew import skew_rows
from station.control.station import Station
from station.control.status import (
    held_requests,
    overall_state,
    peer_rows,
    storage_row,
    sync_counts,
)
from station.model.records import GroupRecord, Kind
from station.peering.desk import JoinDesk
from station.peering.keys import fingerprint
from station.runtime.clock import Clock


def mirror_routes(
    station: Station, desk: JoinDesk, fills: FillDesk, clock: Clock
) -> list[web.RouteDef]:
    """Routes of what is mirrored and who does it."""
    api = _Mirrors(station, desk, fills, clock)
    return [
        web.get("/status", api.status),
        web.get("/mirrors", api.list_all),
        web.get("/mirrors/status", api.table),
        web.post("/mirrors/sync", api.sync),
        web.get("/peers", api.peers),
        web.post("/group/token", api.token),
    ]


class _Mirrors:
    def __init__(self, station: Station, desk: JoinDesk, fills: FillDesk, clock: Clock) -> None:
        self._station = station
        self._desk = desk
        self._fills = fills
        self._clock = clock

    def _rows(self) -> list[dict[str, Any]]:
        station = self._station
        return mirror_rows(
            station.mirror_list(),
            station.storage.view.sources,
            station.reports_of_our_storage(),
            station.reports_of_all(),
        )

    def _group(self) -> GroupRecord:
        group = self._station.records().group
        if group is None:
            raise ApiError(503, "starting", "no word from the group yet; try again")
        return group

    async def status(self, _request: web.Request) -> web.Response:
        station = self._station
        records, rows = station.records(), self._rows()
        is_ready, reason = station.readiness()
        group = self._group()
        return web.json_response(
            {
                "name": station.name,
                "version": __version__,
                "compartment": group.compartment,
                "hostname": group.hostname,
                "ports": group.ports.model_dump(),
                "ready": is_ready,
                "reason": reason,
                "overall_state": overall_state(is_ready, station.storage.view.state, rows),
                "storage": storage_row(station.storage.view, station.partners()),
                "mirror_sync_status": sync_counts(rows),
                "peers": len(records.stations) - 1,
                "peers_present": sum(p for p, _ in station.peers().values()),
                "flips": station.flips.flips,
                "fills": {"filled": self._fills.filled, "failed": self._fills.failed},
                "held_requests": held_requests(w.counters for w in station.workers()),
                "workers": {w.name: w.counters for w in station.workers()},
                "alarms": station.alarms(),
                "warnings": station.warnings(),
            }
        )

    async def list_all(self, _request: web.Request) -> web.Response:
        return web.json_response(self._rows())

    async def table(self, _request: web.Request) -> web.Response:
        station = self._station
        reports = {name: report.sources for name, report in station.present_reports().items()}
        rows = skew_rows(
            [row for row in station.skew if row.source in station.mirror_list()],
            reports,
            station.records().stations,
        )
        return web.json_response(rows)

    async def sync(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        listed = self._station.mirror_list()
        wanted = list(listed) if body.get("all") else body.get("sources", [])
        if not wanted:
            raise ApiError(400, "nothing", "name the sources to sync, or say all", "sources")
        for source in wanted:
            with as_answers():
                changes.existing(self._station.records(), Kind.SOURCE, source)
            if source not in listed:
                raise ApiError(
                    409,
                    "not_listed",
                    f"{source} is not on the mirror list: no profile or instance refers to it; "
                    "create one that does",
                    "sources",
                )
        requested_at = self._station.request_sync(wanted)
        return web.json_response({"requested": wanted, "requested_at": requested_at}, status=202)

    async def peers(self, _request: web.Request) -> web.Response:
        station = self._station
        rows = peer_rows(
            station.name,
            station.records(),
            station.peers(),
            station.last_seen(),
            station.clock_offsets(),
        )
        return web.json_response(rows)

    async def token(self, _request: web.Request) -> web.Response:
        group = self._group()
        token = await self._desk.issue(
            fingerprint(self._station.ca_pem), group.ports.https, self._clock.wall()
        )
        return web.json_response({"token": token.text()})
