"""What all stations of a group must have in common before they exchange anything."""

from dataclasses import dataclass
from typing import Self

from station.gossip.entry import Name
from station.model.records import GroupRecord, Host, Line, Port


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """Group id, compartment, hostname of the balancer, the three client ports."""

    id: Line
    compartment: Line
    hostname: Host
    proxy: Port
    http: Port
    https: Port

    @classmethod
    def of(cls, record: GroupRecord) -> Self:
        """The facts in the group record."""
        ports = record.ports
        return cls(
            record.id, record.compartment, record.hostname, ports.proxy, ports.http, ports.https
        )

    def difference(self, other: "GroupFacts") -> "Difference | None":
        """The first field in which `other` differs, with both values; None when all agree."""
        for field in ("id", "compartment", "hostname", "proxy", "http", "https"):
            ours, theirs = str(getattr(self, field)), str(getattr(other, field))
            if ours != theirs:
                return Difference(field, ours, theirs)
        return None


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of the group in which two stations differ, and both values, as the one who says it sees them."""

    field: Name
    ours: Line
    theirs: Line

    def seen_from_there(self) -> "Difference":
        """The same as the other station would say it."""
        return Difference(self.field, self.theirs, self.ours)
