"""The firewalld service of a station: its ports under one name. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

SERVICE = "station"
SERVICE_PATH = f"/etc/firewalld/services/{SERVICE}.xml"


@dataclass(frozen=True, slots=True)
class FirewallFacts:
    """What there is: `is_installed`, `is_running`, and whether the zone has our service already."""

    is_installed: bool = False
    is_running: bool = False
    has_service: bool = False


def render_service(ports: Iterable[int]) -> str:
    """The service's XML. A port that left it is closed at the next reload."""
    lines = "".join(
        f'  <port protocol="tcp" port="{port}"/>\n' for port in sorted(dict.fromkeys(ports))
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        "<service>\n"
        "  <short>Management station</short>\n"
        "  <description>Mirror, forward proxy, and the conversation between stations.</description>\n"
        f"{lines}"
        "</service>\n"
    )


def firewall_commands(
    facts: FirewallFacts, *, is_changed: bool, zone: str = ""
) -> list[tuple[str, ...]]:
    """What makes the firewall let our ports in; nothing when it does. `is_changed`: the XML was written anew.

    `zone`: where the clients are; empty: the default zone.
    """
    if not facts.is_installed or (facts.has_service and not is_changed):
        return []
    where = (f"--zone={zone}",) if zone else ()
    if not facts.is_running:
        if facts.has_service:
            return []
        return [("firewall-offline-cmd", *where, f"--add-service={SERVICE}")]
    # The running firewall must have read a new service before it can be told to use it.
    reload = ("firewall-cmd", "--reload")
    if facts.has_service:
        return [reload]
    return [reload, ("firewall-cmd", "--permanent", *where, f"--add-service={SERVICE}"), reload]


def firewall_query(*, zone: str = "", is_running: bool) -> tuple[str, ...]:
    """The question whether the zone has our service."""
    where = (f"--zone={zone}",) if zone else ()
    program = ("firewall-cmd", "--permanent") if is_running else ("firewall-offline-cmd",)
    return (*program, *where, f"--query-service={SERVICE}")
