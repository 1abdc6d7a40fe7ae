"""Looks now and then for instances that fell silent or came back, or were to leave and did not: tells the registry.

`control/silence` and `control/deregistration` decide.

One station of those that may write does it; which, does not matter. It waits while a station is out of contact: that
one may have seen what nobody else did.
"""

import asyncio

from station.control.changes import BadChange
from station.control.deregistration import overdue
from station.control.silence import silence_changes
from station.control.station import Station
from station.model.last_seen import merged
from station.publish import duty
from station.runtime.clock import Clock
from station.runtime.lines import line

# A machine that comes back waits so long for its references; ten thousand records are read in 20 ms.
LOOK_EVERY_S = 60.0
DAY_S = 86_400.0
# One durable step; more wait for the next look.
CHANGES_MAX = 1000


class SilenceWatch:
    """`run` it as a task."""

    def __init__(self, station: Station, clock: Clock) -> None:
        self._station = station
        self._clock = clock
        self._since = clock.wall()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Tell the registry what changed, when it is for this station to do so."""
        station = self._station
        records, reports = station.records(), station.present_reports()
        able = [name for name, report in reports.items() if report.may_write]
        if records.group is None or not set(records.stations) <= set(reports):
            return
        if not able or duty.holder("instances that are silent", able) != station.name:
            return
        statuses = station.registry.statuses()
        others = [status.payload for name, status in statuses.items() if name != station.name]
        settings, now = station.registry.settings(), self._clock.wall()
        steps = overdue(records, settings, now) + silence_changes(
            records,
            settings,
            merged(station.sightings.marks(), others),
            grace_s=records.group.age_out_days * DAY_S,
            listening_since=self._since,
            now=now,
        )
        if steps:
            try:
                await station.write(steps[:CHANGES_MAX])
                line("info", "instances.silence", changes=len(steps))
            except BadChange as error:
                line("warning", "instances.silence_not_written", error=str(error))
