"""The ephemeral namespace: what each station says of itself, many times a minute.

Only the owner writes its status, so there is nothing to merge: the later run and the higher counter is right.
Fields travel when they changed; a heartbeat is a higher counter, and every message of the owner is one. Ages are
counted on our own boot clock from the moment we, or the one who told us, saw the counter grow. Never persisted.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from station.gossip.entry import Count, Name, Stamp, Value
from station.gossip.views import check_json

PRESENT_S = 5.0  # a heartbeat each second: four may be lost
STATUS_BYTES_MAX = 256 * 1024  # 500 sources at 500 bytes
STATUSES_BYTES_MAX = 3 * 512 * 1024  # per message


class StatusMark(NamedTuple):
    """What is known of a station's status: the run, and the counter within it."""

    station: Name
    started: Stamp
    run: Name
    counter: Count


class VersionedField(NamedTuple):
    """One field of a status and the counter at which it got this value; None: it went away."""

    counter: Count
    value: Any


@dataclass(frozen=True, slots=True)
class StatusDelta:
    """The fields of a station's status that changed after `base`. `age_ms`: since the sender saw `counter` reached."""

    mark: StatusMark
    epoch: Name
    base: Count
    age_ms: Count
    fields: Annotated[dict[Name, VersionedField], Field(max_length=1_000)]


@dataclass(frozen=True, slots=True)
class StationStatus:
    """A station as we see it. `age_s`: seconds since its last heartbeat. `payload` stays the same object until a field
    of it changes, so that what is made of it can be kept; nobody may write to it.
    """

    payload: Value
    age_s: float
    is_present: bool
    epoch: str
    run: str


@dataclass(slots=True)
class _Known:
    mark: StatusMark
    epoch: str
    beat_at: float
    fields: dict[str, VersionedField] = field(default_factory=dict)
    changed_at: int = 0
    payload: Value = field(default_factory=dict)

    def change(self, fields: Mapping[str, VersionedField]) -> None:
        """Take these in the place of those of the same names."""
        if not fields:
            return
        self.fields |= fields
        shown = {name: field.value for name, field in self.fields.items()}
        self.payload = {name: value for name, value in shown.items() if value is not None}


class StatusBoard:
    """The statuses of all stations, our own among them. Times are boot-clock seconds."""

    def __init__(self, station: str, epoch: str, run: str, started: Stamp, boot: float) -> None:
        self._station = station
        mark = StatusMark(station, started, run, 1)
        self._known: dict[str, _Known] = {station: _Known(mark, epoch, boot)}

    @property
    def own(self) -> StatusMark:
        """Our own mark."""
        return self._known[self._station].mark

    @property
    def own_changed_at(self) -> int:
        """The counter at which our own fields changed last."""
        return self._known[self._station].changed_at

    def beat(self, epoch: str, boot: float) -> None:
        """Our own heartbeat: with each message that we send."""
        own = self._known[self._station]
        own.mark = own.mark._replace(counter=own.mark.counter + 1)
        own.epoch, own.beat_at = epoch, boot

    def set_own(self, payload: Mapping[str, Any]) -> bool:
        """Replace our payload; whether a field changed. Raises ValueError: no JSON, or above STATUS_BYTES_MAX."""
        text = json.dumps(payload, allow_nan=False)
        if len(text) > STATUS_BYTES_MAX:
            raise ValueError(f"a status of {len(text)} bytes, the limit is {STATUS_BYTES_MAX}")
        plain: Value = json.loads(text)
        check_json(plain)
        own = self._known[self._station]
        names = plain.keys() | own.fields.keys()
        changed = [name for name in sorted(names) if plain.get(name) != own.payload.get(name)]
        if not changed:
            return False
        counter = own.mark.counter + 1
        own.mark = own.mark._replace(counter=counter)
        own.changed_at = counter
        own.change({name: VersionedField(counter, plain.get(name)) for name in changed})
        return True

    def marks(self, members: Collection[str]) -> tuple[StatusMark, ...]:
        """What we know, of members."""
        return tuple(known.mark for name, known in self._known.items() if name in members)

    def deltas_for(
        self, theirs: Iterable[StatusMark], members: Collection[str], *, boot: float
    ) -> tuple[StatusDelta, ...]:
        """What the one with the marks `theirs` does not know yet, our own status first."""
        marks = {mark.station: mark for mark in theirs}
        names = sorted(self._known.keys() & set(members), key=lambda name: name != self._station)
        deltas: list[StatusDelta] = []
        left = STATUSES_BYTES_MAX
        for name in names:
            known, mark = self._known[name], marks.get(name)
            base = 0
            if mark is not None and mark.run == known.mark.run:
                base = mark.counter
            elif mark is not None and _order(mark) > _order(known.mark):
                continue
            if base >= known.mark.counter:
                continue
            fields = {n: f for n, f in known.fields.items() if f.counter > base}
            left -= len(json.dumps(fields)) + 200 if fields else 200
            if left < 0:
                break  # the rest goes with the next message
            age_ms = max(0, int((boot - known.beat_at) * 1000))
            deltas.append(StatusDelta(known.mark, known.epoch, base, age_ms, fields))
        return tuple(deltas)

    def absorb(self, delta: StatusDelta, *, boot: float) -> bool:
        """Take in what another says of a station; whether it told us anything new."""
        mark = delta.mark
        if mark.station == self._station:
            return False
        known = self._known.get(mark.station)
        if known is None or known.mark.run != mark.run:
            if delta.base or (known and _order(known.mark) > _order(mark)):
                return False
            known = _Known(mark, delta.epoch, float("-inf"))
            self._known[mark.station] = known
        elif mark.counter <= known.mark.counter or delta.base > known.mark.counter:
            return False
        known.change({n: f for n, f in delta.fields.items() if f.counter > delta.base})
        known.mark, known.epoch = mark, delta.epoch
        known.beat_at = max(known.beat_at, boot - delta.age_ms / 1000)
        return True

    def outlive(self, mark: StatusMark) -> None:
        """Be later than an earlier run of ours that others still hold up as the latest (its clock was ahead)."""
        own = self._known[self._station]
        if mark.run != own.mark.run and _order(mark) > _order(own.mark):
            later = Stamp(mark.started.physical_ms, mark.started.logical + 1)
            own.mark = own.mark._replace(started=later)

    def forgive(self, seconds: float) -> None:
        """We were paused: the others' silence in that time was ours."""
        for known in self._known.values():
            known.beat_at += seconds

    def age(self, station: str, *, boot: float) -> float:
        """Seconds since the last heartbeat of a station; infinite when there was none."""
        known = self._known.get(station)
        return boot - known.beat_at if known else float("inf")

    def statuses(self, members: Collection[str], *, boot: float) -> dict[str, StationStatus]:
        """The members that said anything, and ourselves."""
        found = {}
        for name, known in self._known.items():
            is_own = name == self._station
            if name in members or is_own:
                age = 0.0 if is_own else max(0.0, boot - known.beat_at)
                is_present = age < PRESENT_S
                found[name] = StationStatus(
                    known.payload, age, is_present, known.epoch, known.mark.run
                )
        return found


def _order(mark: StatusMark) -> tuple[Stamp, str, int]:
    return mark.started, mark.run, mark.counter
