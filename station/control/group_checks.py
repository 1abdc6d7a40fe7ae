"""What the stations of one group should have in common, and where they differ. Pure."""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping

from station.model.records import GroupRecord, StationRecord


def group_warnings(group: GroupRecord, stations: Mapping[str, StationRecord]) -> list[str]:
    """A sentence for each difference that cuts clients off, or makes the next repair harder."""
    return [*_balancer_outside(group, stations.values()), *_storage_paths(stations.values())]


def _balancer_outside(group: GroupRecord, stations: Iterable[StationRecord]) -> list[str]:
    """Without PROXY a station sees the balancer as the client; only for a hostname that is an address."""
    try:
        balancer = ipaddress.ip_address(group.hostname)
    except ValueError:
        return []
    found = []
    for station in stations:
        is_alone = station.address == group.hostname
        if is_alone or not station.proxy_enabled or station.balancers:
            continue
        if not any(balancer in ipaddress.ip_network(hosts) for hosts in station.proxy_hosts):
            found.append(
                f"station {station.name}: proxy.hosts does not contain the balancer {balancer}, and it speaks no "
                "PROXY to it: the proxy refuses everybody behind the balancer"
            )
    return found


def _storage_paths(stations: Iterable[StationRecord]) -> list[str]:
    users: dict[str, list[str]] = defaultdict(list)
    for station in stations:
        users[station.storage_path].append(station.name)
    if len(users) < 2:
        return []
    said = "; ".join(
        f"{path} on {', '.join(sorted(names))}" for path, names in sorted(users.items())
    )
    return [f"mirror.directory differs, the same path everywhere is advised: {said}"]
