"""The admin API for who looks for a fault: the registry as gossip knows it, and the metrics without the page.

What a settings record is called may name a secret's hash, so of those only the sort is told, and how many there are.
"""

from collections import Counter
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from station.control.page import metrics_body
from station.control.station import Station
from station.gossip.effects import Alarm
from station.gossip.entry import Mark
from station.model.last_seen import FIELD_PREFIX
from station.model.records import Kind


def registry_routes(station: Station) -> list[web.RouteDef]:
    """Routes of the registry and of the metrics."""
    api = _Registry(station)
    return [web.get("/registry", api.registry), web.get("/metrics", api.metrics)]


class _Registry:
    def __init__(self, station: Station) -> None:
        self._station = station

    async def registry(self, _request: web.Request) -> web.Response:
        """Digest, numbers of records and deletions by kind, conflicts, statuses of all stations, the last alarms."""
        station, registry = self._station, self._station.registry
        gossip, group = registry.gossip, registry.group()
        refusal = gossip.write_refusal(now=station.now())
        high_water = gossip.high_water()
        return web.json_response(
            {
                "station": station.name,
                "group": group and group.model_dump(mode="json"),
                "epoch": gossip.epoch,
                "is_new_epoch": gossip.is_new_epoch,
                "first_exchange_done": gossip.first_exchange_done,
                "write_refusal": refusal and refusal.reason,
                "clock_ms": high_water.stamp.physical_ms,
                "seen": [_mark(mark) for mark in high_water.seen],
                "collected": [_mark(mark) for mark in high_water.collected],
                "last_write": _mark(gossip.last_write),
                "held_by": gossip.held_by(),
                "records": {kind.value: len(gossip.items(kind)) for kind in Kind},
                "settings": Counter(map(_sort, registry.settings())),
                "deleted": Counter(kind for kind, _ in gossip.deleted()),
                "conflicts": [_shown(c.kind, c.key) for c in gossip.conflicts()],
                "opaque": [_shown(kind, key) for kind, key in gossip.opaque()],
                "stalled": {name: stamp.physical_ms for name, stamp in gossip.stalled().items()},
                "differences": {
                    name: {"field": said.field, "ours": said.ours, "theirs": said.theirs}
                    for name, said in gossip.differences().items()
                },
                "statuses": self._statuses(),
                "alarms": [
                    {"code": alarm.code, "peer": alarm.peer, "detail": alarm.detail}
                    if isinstance(alarm, Alarm)
                    else {"code": "refused", "peer": alarm.peer, "detail": alarm.field}
                    for alarm in registry.alarms
                ],
                "counters": registry.counters,
            }
        )

    async def metrics(self, _request: web.Request) -> web.Response:
        return web.Response(
            body=metrics_body(self._station), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    def _statuses(self) -> dict[str, Any]:
        """Without the last-seen times of the instances, which are told of each instance."""
        return {
            name: {
                "age_s": round(status.age_s, 2),
                "is_present": status.is_present,
                "epoch": status.epoch,
                "run": status.run,
                "says": {
                    key: value
                    for key, value in status.payload.items()
                    if not key.startswith(FIELD_PREFIX)
                },
            }
            for name, status in sorted(self._station.registry.statuses().items())
        }


def _mark(mark: Mark) -> dict[str, Any]:
    return {
        "station": mark.origin.station,
        "epoch": mark.origin.epoch,
        "sequence": mark.sequence,
    }


def _sort(key: str) -> str:
    """`key:web:0123…` is of the sort `key`."""
    return key.partition(":")[0]


def _shown(kind: str, key: str) -> dict[str, str]:
    return {"kind": kind, "key": _sort(key) if kind == Kind.SETTINGS else key}
