"""What stations say to each other. A request is a Syn or an Ack; the answers are SynAck, Seen and Refusal.

A ── Syn: digest, statuses ──────────────▶ B
A ◀─ SynAck: digest, deltas for A ──────── B
A ── Ack: digest, deltas for B ──────────▶ B     (also sent alone after a write)
A ◀─ Seen: digest ──────────────────────── B
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from station.gossip.delta import Delta
from station.gossip.entry import Count, Mark, Name, Stamp
from station.gossip.group import Difference, GroupFacts
from station.gossip.status import StatusDelta, StatusMark

PROTOCOL = 1
ORIGINS_MAX = 20_000  # a new origin appears only when a station lost its state
STATIONS_MAX = 1_000


class MessageType(StrEnum):
    """The kinds of messages."""

    SYN = "syn"
    SYN_ACK = "syn-ack"
    ACK = "ack"
    SEEN = "seen"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class Sender:
    """Who speaks: `run` is drawn at each start of the process, `started` orders the runs of one station.

    `wall`: the sender's clock when it spoke, seconds since 1970.
    """

    protocol: int
    group: GroupFacts
    station: Name
    epoch: Name
    run: Name
    started: Stamp
    wall: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What the sender has: per origin seen and collected, the statuses it knows, and a fingerprint of its records.

    No fingerprint while it reads everything again: its digest then is not what it holds.
    """

    seen: Annotated[tuple[Mark, ...], Field(max_length=ORIGINS_MAX)]
    collected: Annotated[tuple[Mark, ...], Field(max_length=ORIGINS_MAX)]
    fingerprint: Count | None
    statuses: Annotated[tuple[StatusMark, ...], Field(max_length=STATIONS_MAX)]


@dataclass(frozen=True, slots=True)
class Twin:
    """Another run of the station that is spoken to, heard `age_ms` ago."""

    run: Name
    started: Stamp
    age_ms: Count


@dataclass(frozen=True, slots=True)
class Message:
    """One message; which parts it has depends on its type.

    `asked_at`: in a Syn the asker's boot clock, repeated in the SynAck. `has_more`: the deltas were cut.
    `twins`: in answers. `difference`: in a Refusal, as its sender sees it.
    """

    type: MessageType
    sender: Sender
    summary: Summary | None = None
    asked_at: float = 0.0
    deltas: Annotated[tuple[Delta, ...], Field(max_length=ORIGINS_MAX)] = ()
    has_more: bool = False
    statuses: Annotated[tuple[StatusDelta, ...], Field(max_length=STATIONS_MAX)] = ()
    twins: Annotated[tuple[Twin, ...], Field(max_length=16)] = ()
    difference: Difference | None = None
