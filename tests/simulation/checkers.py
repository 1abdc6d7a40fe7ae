"""What must hold: after each step (safety), and once all is repaired (agreement)."""

from dataclasses import dataclass, field

from station.gossip.entry import Entry, Origin, Row, Version
from station.gossip.machine import Gossip
from station.gossip.state import canonical

Record = tuple[str, str]
Rank = tuple[tuple[int, int, str], Version]


def rank(entry: Entry) -> Rank:
    """The order that is promised: publications by (number, order, revision), the rest by version."""
    value = entry.value
    if entry.kind == "publication" and value:
        return (value["number"], value["order"], value["revision"]), entry.version
    return (0, 0, ""), entry.version


class Violation(AssertionError):
    """A promise was broken."""


@dataclass
class Checker:
    """Watches every write that became durable, and every change of what a station shows."""

    written: dict[tuple[Origin, int], Entry] = field(default_factory=dict)
    by_record: dict[Record, dict[tuple[Origin, int], Entry]] = field(default_factory=dict)
    # Epochs whose disk was lost, with what only it held.
    lost: set[str] = field(default_factory=set)
    shown: dict[str, dict[Record, Rank]] = field(default_factory=dict)

    def wrote(self, station: str, rows: tuple[Row, ...], epoch: str) -> None:
        """A station made rows durable; those of its own epoch are its writes, now acknowledged."""
        for row in rows:
            if not isinstance(row, Entry) or row.origin != Origin(station, epoch):
                continue
            place = (row.origin, row.sequence)
            before = self.written.setdefault(place, row)
            if (before.kind, before.key, canonical(before.value)) != (
                row.kind,
                row.key,
                canonical(row.value),
            ):
                raise Violation(f"{place} was used for two changes: {before} and {row}")
            self.by_record.setdefault((row.kind, row.key), {})[place] = row

    def changed(self, station: str, gossip: Gossip, records: frozenset[Record]) -> None:
        """No station ever shows less than it did, unless it keeps nothing of the record."""
        shown = self.shown.setdefault(station, {})
        for kind, key in records:
            slot = gossip._replica.state.slot(kind, key)
            if slot is None:
                shown.pop((kind, key), None)
                continue
            now, before = rank(slot.winner), shown.get((kind, key))
            if before is not None and now < before:
                raise Violation(f"{station} went back from {before} to {now} of {kind} {key}")
            shown[kind, key] = now

    def started(self, station: str) -> None:
        """What a station showed before a start, it may have to learn again (its disk may be gone)."""
        self.shown.pop(station, None)

    def agreed(self, stations: dict[str, Gossip]) -> str:
        """Empty when all have seen the same and show the same; else who lacks what."""
        views = {name: _view(gossip) for name, gossip in stations.items()}
        digests = {name: gossip.digest() for name, gossip in stations.items()}
        first = next(iter(stations))
        problems = []
        for name in stations:
            if digests[name] != digests[first]:
                odd = sorted(set(digests[name]) ^ set(digests[first]))
                problems.append(f"{first} and {name} have seen different things: {odd[:6]}")
            elif views[name] != views[first]:
                records = set(views[name] | views[first])
                odd2 = [k for k in records if views[name].get(k) != views[first].get(k)]
                problems.append(f"{first} and {name} show different values of {odd2[:6]}")
        return "; ".join(problems)

    def nothing_lost(self, gossip: Gossip) -> None:
        """Once all agree: of each record the greatest acknowledged write counts, and nothing deleted is back."""
        for record, writes in self.by_record.items():
            surviving = [e for (origin, _), e in writes.items() if origin.epoch not in self.lost]
            if not surviving:
                continue
            greatest = max(surviving, key=rank)
            deletions = [entry for entry in writes.values() if entry.value is None]
            if any(rank(deletion) > rank(greatest) for deletion in deletions):
                continue  # by a station that lost its disk after the others had it
            slot = gossip._replica.state.slot(*record)
            if slot is None:
                if greatest.value is not None:
                    raise Violation(f"acknowledged write of {record} is lost: {greatest}")
            elif rank(slot.winner) < rank(greatest):
                raise Violation(f"{record}: {slot.winner} counts, but {greatest} was acknowledged")


def _view(gossip: Gossip) -> dict[Record, object]:
    return {
        record: (slot.winner.version, canonical(slot.winner.value))
        for record, slot in gossip._replica.state.slots()
        if slot.winner.value is not None
    }
