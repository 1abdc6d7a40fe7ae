"""Bytes become messages, or nothing at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.gossip.codec import MESSAGE_BYTES_MAX, Malformed, decode, encode
from station.gossip.delta import Delta
from station.gossip.entry import Mark, Stamp, Value
from station.gossip.messages import PROTOCOL, Message, MessageType, Sender, Summary, Twin
from station.gossip.status import StatusDelta, StatusMark, VersionedField
from tests.unit.gossip.builders import GROUP, WALL, entry, origin

values = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**62), 2**62)
        | st.text(max_size=5)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def message(value: Value | None = None, **more: object) -> Message:
    mark = StatusMark("A", Stamp(1, 0), "run", 4)
    first = entry(value=value or {"n": 1})
    parts: dict[str, object] = {
        "summary": Summary((Mark(origin(), 3),), (), 7, (mark,)),
        "deltas": (
            Delta(
                origin(),
                0,
                3,
                (first, entry("l", sequence=3, deleted=True, replaces=first.version)),
            ),
        ),
        "statuses": (StatusDelta(mark, "e", 0, 12, {"ready": VersionedField(3, True)}),),
        "twins": (Twin("other", Stamp(0, 0), 5),),
        "has_more": True,
        "asked_at": 1.5,
    }
    sender = Sender(PROTOCOL, GROUP, "A", "e", "run", Stamp(1, 0), WALL)
    return Message(MessageType.SYN_ACK, sender, **{**parts, **more})  # type: ignore[arg-type]


@given(values)
def test_message_survives_the_wire(value: Value) -> None:
    sent = message(value)
    assert decode(encode(sent)) == sent


def altered(**changes: object) -> bytes:
    wire = json.loads(encode(message()))
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = wire
        for part in parents:
            place = place[int(part) if part.isdigit() else part]
        place[int(last) if last.isdigit() else last] = value
    return json.dumps(wire).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b" " * (MESSAGE_BYTES_MAX + 1),
        b'{"type":"syn","sender":' + b"9" * 5_000 + b"}",
        altered(type="shutdown"),
        altered(summary=None),
        altered(sender__protocol=2),
        altered(sender__wall="soon"),
        altered(sender__wall=-1),
        altered(sender__station="x" * 129),
        altered(deltas__0__upto=2**64 - 1),
        altered(deltas__0__upto=1),
        altered(deltas__0__base=-1),
        altered(deltas__0__origin=["B", "e"]),
        altered(deltas__0__entries__0__sequence="1"),
        altered(deltas__0__entries__0__stamp=[1]),
        altered(deltas__0__entries__0__value=[]),
        altered(deltas__0__entries__0__value={"n": float("nan")}),
        altered(deltas__0__entries__0__value={"n": float("inf")}),
        altered(deltas__0__entries__0__kind=""),
        altered(statuses__0__fields={str(n): [1, 1] for n in range(1_001)}),
        encode(message()).replace(b'"n":1', b'"n":"\\ud800"'),
    ],
    ids=lambda data: data[:24].decode("latin-1").strip() + f"…{len(data)}",
)
def test_anything_else_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode(data)


def test_unknown_fields_of_a_newer_release_are_no_error() -> None:
    assert decode(altered(colour="blue", sender__mood="good")) == message()


def test_record_with_fields_nobody_here_knows_passes_unchanged() -> None:
    strange = {"name": 5, "deep": {"er": [None, {"x": 1.5}]}, "": ""}
    (delta,) = decode(encode(message(strange))).deltas
    assert delta.entries[0].value == strange
