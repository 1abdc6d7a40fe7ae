"""What a ledger keeps, as bytes and back: entries and the high water, checked like messages."""

from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from station.gossip.codec import Malformed
from station.gossip.entry import Entry, HighWater

_T = TypeVar("_T")
_ENTRY = TypeAdapter(Entry)
_HIGH_WATER = TypeAdapter(HighWater)


def encode_entry(entry: Entry) -> bytes:
    """The entry as bytes. Raises ValueError when its value is no JSON."""
    return _ENTRY.dump_json(entry)


def decode_entry(data: bytes) -> Entry:
    """The entry in the bytes. Raises Malformed."""
    return _decoded(_ENTRY, data)


def encode_high_water(high_water: HighWater) -> bytes:
    """The high water as bytes."""
    return _HIGH_WATER.dump_json(high_water)


def decode_high_water(data: bytes) -> HighWater:
    """The high water in the bytes. Raises Malformed."""
    return _decoded(_HIGH_WATER, data)


def _decoded(shape: TypeAdapter[_T], data: bytes) -> _T:
    try:
        return shape.validate_json(data, strict=True)
    except ValidationError as error:
        raise Malformed(f"a row of another shape: {error.error_count()} problems") from error
