"""What a station keeps true about itself: the seeds of a new group, its own record, its certificates."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from station.config.schema import Config
from station.gossip.machine import Gossip
from station.gossip.replica import WriteRefused
from station.model.records import GroupRecord, Kind, StationRecord
from station.peering.changes import Change
from station.peering.driver import RegistryClosed
from station.peering.group import renew_keys, station_record
from station.peering.identity import GroupIdentity
from station.peering.keys import KeysInvalid
from station.runtime.clock import Clock
from station.runtime.lines import line

RETRY_S = 1.0  # the first exchange is not done, or the disk is full
LOOK_EVERY_S = 3600.0  # a certificate is renewed four months before it ends
# Whether the group has another name, for which certificates must be good before it is told.
GROUP_EVERY_S = 1.0


class _Writable(Protocol):
    gossip: Gossip

    def group(self) -> GroupRecord | None: ...
    def stations(self) -> Mapping[str, StationRecord]: ...
    async def write(self, changes: Sequence[Change]) -> object: ...


class _Renewable(Protocol):
    async def renew(self) -> None: ...


class Upkeep:
    """One station's own facts, by its configuration and its keys."""

    def __init__(self, identity: GroupIdentity, config: Config, clock: Clock) -> None:
        self._identity = identity
        self._config = config
        self._clock = clock
        self._last_refusal = ""

    async def run(self, registry: _Writable, transport: _Renewable) -> None:
        """Until cancelled: at once, then each hour and when the group's record changes."""
        while True:
            group = registry.group()
            try:
                await self._plant(registry)
                await self._renew(transport, group)
                is_done = await self._tell(registry)
            except (WriteRefused, RegistryClosed, KeysInvalid, OSError, ValueError) as error:
                self._complain(error)
                is_done = False
            left_s = LOOK_EVERY_S if is_done else RETRY_S
            while left_s > 0 and registry.group() == group:
                await asyncio.sleep(GROUP_EVERY_S)
                left_s -= GROUP_EVERY_S

    async def _plant(self, registry: _Writable) -> None:
        if self._identity.seeds:
            await registry.write(self._identity.seeds)
            self._identity = self._identity.without_seeds()
            await asyncio.to_thread(self._identity.save, Path(self._config.state_directory))

    async def _renew(self, transport: _Renewable, group: GroupRecord | None) -> None:
        renewed = await asyncio.to_thread(renew_keys, self._config, self._clock.wall(), group)
        if "peer" in renewed:
            await transport.renew()

    async def _tell(self, registry: _Writable) -> bool:
        """Our record says what is true; not before the group has told us what it says now."""
        if not registry.gossip.first_exchange_done:
            return False
        record = await asyncio.to_thread(station_record, self._config)
        if registry.stations().get(record.name) != record:
            await registry.write([Change.put(Kind.STATION, record.name, record)])
            line("info", "station.record_written", station=record.name, address=record.address)
        return True

    def _complain(self, error: Exception) -> None:
        """Once for each new reason: a removed station would say it each second."""
        text = str(error)
        if text != self._last_refusal:
            self._last_refusal = text
            line("warning", "station.record_not_written", error=text)
