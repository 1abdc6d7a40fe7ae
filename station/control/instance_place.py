"""Where an instance finds the group: the balancer, or without one the station it refers to; and where else. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from station.control.changes import Records
from station.control.health import covers
from station.model.records import GroupRecord, StationRecord

# Tried one after the other, with ten seconds each for one that is cut off: a check-in ends within its five minutes.
OTHERS_MAX = 4


@dataclass(frozen=True, slots=True)
class Place:
    """`host`: what it calls the group. `others`: stations' own addresses, for when nobody answers there."""

    host: str
    others: tuple[str, ...]


# All stations have another certificate by then; they look each second.
TOLD_AFTER_S = 10.0


def shown_group(group: GroupRecord, names: Iterable[str] | None, now: float) -> GroupRecord:
    """The group under the name that instances are told now: the new one once certificates are good for it.

    `names`: of this station's own certificate, None when it cannot be read. `now`: wall clock, seconds.
    """
    is_ready = covers(names or (), group.hostname) and now >= group.renamed_at + TOLD_AFTER_S
    if is_ready or not group.former_hostnames:
        return group
    return group.model_copy(update={"hostname": group.former_hostnames[-1]})


def place_of(records: Records, group: GroupRecord, station: str) -> Place:
    """For an instance that refers to `station`.

    The group's hostname, unless that is a station's own address: then there is no balancer, and each instance goes to
    the station it refers to. A station with a certificate from elsewhere is named by the group's hostname only: its
    own address need not be in there.
    """
    stations = records.stations
    is_balanced = all(record.address != group.hostname for record in stations.values())
    own = stations.get(station)
    host = own.address if own and not is_balanced and _is_certified(own) else group.hostname
    first = [own] if own else []
    others = [*first, *(record for _, record in sorted(stations.items()))]
    addresses = dict.fromkeys(record.address for record in others if _is_certified(record))
    addresses.pop(host, None)
    return Place(host, tuple(addresses)[:OTHERS_MAX])


def _is_certified(station: StationRecord) -> bool:
    """Whether its certificate is good for its own address for certain."""
    return bool(station.address) and not station.sslcert
