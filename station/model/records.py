"""The records of the registry. One register each, keyed by (kind, key); what must agree travels in one record.

Every value that arrives by API or by gossip is validated by these models; one that does not validate is kept
opaque and relayed (a newer station may understand it).
"""

import ipaddress
import re
from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from station.model.identity import InstanceId, ProfileName, Revision, SourceId, StationName

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


class Kind(StrEnum):
    """Kinds of records."""

    GROUP = "group"
    STATION = "station"
    SOURCE = "source"
    PROFILE = "profile"
    INSTANCE = "instance"
    REFERENCE = "reference"
    SETTINGS = "settings"
    PUBLICATION = "publication"


class SourceType(StrEnum):
    """Types of software sources."""

    VENDOR = "VENDOR"
    CUSTOM = "CUSTOM"
    VERSIONED = "VERSIONED"
    PRIVATE = "PRIVATE"
    THIRD_PARTY = "THIRD_PARTY"


class Arch(StrEnum):
    """CPU architectures."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"
    I686 = "i686"
    SRC = "src"
    NOARCH = "noarch"


def _upstream_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected http://HOST/… or https://HOST/…")
    if parts.username or parts.password:
        raise ValueError(
            "credentials in the URL would be seen by everyone; use the source's settings"
        )
    if parts.fragment or any(c.isspace() or ord(c) < 32 for c in text):
        raise ValueError("no fragment, blanks or control characters")
    return text.rstrip("/") + "/"


def _one_line(text: str) -> str:
    if _CONTROL_CHARACTER.search(text):
        raise ValueError("no control characters")
    return text


def _host(text: str) -> str:
    if text and not all(c.isalnum() or c in ".-:_" for c in text):
        raise ValueError("expected a host name or an address")
    return text


def _cidr(text: str) -> str:
    ipaddress.ip_network(text)  # raises ValueError, also for host bits
    return text


UpstreamUrl = Annotated[str, Field(max_length=2000), AfterValidator(_upstream_url)]
Line = Annotated[str, Field(max_length=1000), AfterValidator(_one_line)]
Host = Annotated[str, Field(max_length=253), AfterValidator(_host)]
Cidr = Annotated[str, AfterValidator(_cidr)]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
SourceKey = Annotated[str, AfterValidator(SourceId.parse)]
ProfileKey = Annotated[str, AfterValidator(ProfileName.parse)]
InstanceKey = Annotated[str, AfterValidator(InstanceId.parse)]
StationKey = Annotated[str, AfterValidator(StationName.parse)]
RevisionKey = Annotated[str, AfterValidator(Revision.parse)]


FORMER_HOSTNAMES_MAX = 4


class Record(BaseModel):
    """Base of all records: frozen, strict about unknown fields at the API, lenient on the wire (see gossip)."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Ports(Record):
    """The three client ports, equal on all stations of a group."""

    proxy: Port = 16080
    http: Port = 17080
    https: Port = 17443


class ServedPorts(Record):
    """Every port that a station listens on for clients, by what it is for."""

    proxy: tuple[Port, ...] = ()
    http: tuple[Port, ...] = ()
    https: tuple[Port, ...] = ()


class GroupRecord(Record):
    """What all stations of a group share. Key: `group`."""

    id: Line
    compartment: Line
    hostname: Host
    ports: Ports = Ports()
    # What clients called the group before: certificates stay good for these names, the newest last.
    former_hostnames: Annotated[tuple[Host, ...], Field(max_length=FORMER_HOSTNAMES_MAX)] = ()
    renamed_at: float = 0.0  # when it got this hostname; wall time, seconds
    # Days after which an instance that fell silent keeps nothing mirrored by its own references; 0: never.
    age_out_days: Annotated[int, Field(ge=0, le=3650, strict=True)] = 30
    # Hours between two looks at each upstream, by whichever station has the duty. It can be changed, not be ended.
    sync_every_h: Annotated[int, Field(ge=1, le=744, strict=True)] = 6


class StationRecord(Record):
    """One station of the group. Key: its name."""

    name: StationKey
    address: Host
    peer_port: Port = 17946
    serves: ServedPorts = ServedPorts()
    description: Line = ""
    storage_path: Line = ""
    proxy_enabled: bool = True
    proxy_hosts: tuple[Cidr, ...] = ()
    proxy_forward: Line = ""  # without credentials
    proxy_destinations: tuple[Line, ...] = ()
    balancers: tuple[Cidr, ...] = ()  # those that speak PROXY to it
    is_auto_config_enabled: bool = False
    sslcert: Line = ""  # paths on its host; empty: issued by the group's CA
    sslkey: Line = ""
    is_sslverify_enabled: bool = True
    serial: Line = ""  # of its peer certificate; a forgotten station's is refused everywhere


class SourceRecord(Record):
    """A software source. Key: its id."""

    id: SourceKey
    url: UpstreamUrl
    display_name: Line = ""
    type: SourceType = SourceType.VENDOR
    arch: Arch = Arch.X86_64
    os_family: Line = "ORACLE_LINUX_9"
    gpgkey: Annotated[str, Field(max_length=262_144)] = ""  # armoured text
    is_gpg_check_enabled: bool = True
    is_repo_gpg_check_enabled: bool = False
    is_sslverify_enabled: bool = True
    is_mirror_sync_allowed: bool = True
    is_pinned: bool = False
    tolerate_missing: Annotated[int, Field(ge=0)] = 0
    is_frozen: bool = False
    frozen_revision: RevisionKey | None = None  # None: the one that is live
    frozen_until: float | None = None  # wall time, seconds; None: until unfrozen


class ProfileRecord(Record):
    """A named set of sources that refers to a station. The sources are references. Key: its name."""

    name: ProfileKey
    station: StationKey
    type: Literal["SOFTWARESOURCE", "GROUP", "STATION"] = "SOFTWARESOURCE"
    description: Line = ""
    os_family: Line = "ORACLE_LINUX_9"
    arch: Arch = Arch.X86_64
    frozen: dict[SourceKey, RevisionKey] = {}


class InstanceRecord(Record):
    """A managed host. Key: its id."""

    id: InstanceKey
    station: StationKey
    display_name: Line = ""
    profile: ProfileKey | None = None
    os_family: Line = "ORACLE_LINUX_9"
    arch: Arch = Arch.X86_64
    facts: Annotated[dict[Line, Line], Field(max_length=20)] = {}  # what it said of itself
    secret_digest: Line = ""  # SHA-256 of its own secret; empty: it never registered by itself
    registered_at: float = 0.0  # wall time, seconds


class ReferenceRecord(Record):
    """A profile's or an instance's use of a source. Its own record, so that two sides adding two keep both."""

    holder_kind: Literal["profile", "instance"]
    holder: Line
    source: SourceKey

    @property
    def key(self) -> str:
        """`profile:NAME:SOURCE`: the key of this record."""
        return f"{self.holder_kind}:{self.holder}:{self.source}"


class PublicationRecord(Record):
    """What is live of a source, and from when. Key: the source. Merged by maximum, not by version."""

    number: Annotated[int, Field(ge=1, lt=10**19)]
    order: Annotated[int, Field(ge=0, lt=10**19)]
    revision: RevisionKey
    at: float = 0.0  # wall time of the station `by`, seconds; 0: at once
    by: StationKey


RECORDS: dict[Kind, type[Record]] = {
    Kind.GROUP: GroupRecord,
    Kind.STATION: StationRecord,
    Kind.SOURCE: SourceRecord,
    Kind.PROFILE: ProfileRecord,
    Kind.INSTANCE: InstanceRecord,
    Kind.REFERENCE: ReferenceRecord,
    Kind.PUBLICATION: PublicationRecord,
}
