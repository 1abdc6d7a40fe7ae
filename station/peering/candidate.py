"""What a station says about itself when it creates or joins a group, and what must be equal on all of them."""

import socket
from dataclasses import dataclass
from typing import Any, Self

from station.config.schema import Config
from station.model.records import GroupRecord, Ports, ServedPorts, StationRecord

GROUP_KEY = "group"


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that must be equal on all stations of a group and is not."""

    field: str
    candidate: str
    group: str

    def __str__(self) -> str:
        return f"{self.field}: the candidate has {self.candidate!r}, the group has {self.group!r}"

    def to_wire(self) -> dict[str, str]:
        """For the answer to the candidate."""
        return {"field": self.field, "candidate": self.candidate, "group": self.group}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A station's facts: the group's part and its own."""

    compartment: str
    hostname: str
    ports: Ports
    station: StationRecord

    @classmethod
    def of(cls, config: Config, serial: str, address: str) -> Self:
        """From the configuration; `serial`: of the certificate it will show its peers; `address`: see own_address.

        Raises ValueError (pydantic) for what no record may hold.
        """
        return cls(
            config.compartment,
            config.hostname,
            Ports(proxy=config.proxy.port, http=config.mirror.port, https=config.mirror.sslport),
            StationRecord(
                name=config.name,
                address=address,
                peer_port=config.peer.port,
                serves=_served(config),
                description=config.description,
                storage_path=config.mirror.directory,
                proxy_enabled=config.proxy.enabled,
                proxy_hosts=config.proxy.hosts,
                proxy_forward=config.proxy.forward.rpartition("@")[2],  # no credentials in gossip
                proxy_destinations=config.proxy.destinations,
                balancers=config.balancers,
                is_auto_config_enabled=config.is_auto_config_enabled,
                sslcert=config.mirror.sslcert,
                sslkey=config.mirror.sslkey,
                is_sslverify_enabled=config.mirror.is_sslverify_enabled,
                serial=serial,
            ),
        )

    @classmethod
    def parse(cls, message: object) -> Self:
        """From a join request. Raises ValueError, naming the field."""
        match message:
            case {"group": dict() as group, "station": dict() as station}:
                shared = GroupRecord.model_validate({**group, "id": "candidate"})
                record = StationRecord.model_validate(station)
                return cls(shared.compartment, shared.hostname, shared.ports, record)
        raise ValueError("expected the objects `group` and `station`")

    def to_wire(self) -> dict[str, Any]:
        """The inverse of parse."""
        shared = self.group_record("candidate").model_dump(mode="json", exclude={"id"})
        return {"group": shared, "station": self.station.model_dump(mode="json")}

    def group_record(self, group: str) -> GroupRecord:
        """The record of a group that begins with this station."""
        return GroupRecord(
            id=group, compartment=self.compartment, hostname=self.hostname, ports=self.ports
        )

    def differences(self, group: GroupRecord) -> tuple[Difference, ...]:
        """What keeps this station out of the group; host names are compared without case."""
        pairs: list[tuple[str, str | int, str | int]] = [
            ("compartment", self.compartment, group.compartment),
            ("hostname", self.hostname.lower(), group.hostname.lower()),
            ("proxy.port", self.ports.proxy, group.ports.proxy),
            ("mirror.port", self.ports.http, group.ports.http),
            ("mirror.sslport", self.ports.https, group.ports.https),
        ]
        return tuple(
            Difference(field, str(ours), str(theirs))
            for field, ours, theirs in pairs
            if ours != theirs
        )


def own_address(config: Config) -> str:
    """How peers and clients reach this host: the configured address, or the host's own name as it is now."""
    return config.address or socket.getfqdn()


def _served(config: Config) -> ServedPorts:
    proxy, mirror = config.proxy, config.mirror
    return ServedPorts(
        proxy=(proxy.port, *proxy.more_ports) if proxy.enabled else (),
        http=(mirror.port, *mirror.more_ports),
        https=(mirror.sslport, *mirror.more_sslports),
    )
