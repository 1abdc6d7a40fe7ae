"""Rows of the ledger come back as they were, or not at all."""

import pytest

from station.gossip.codec import Malformed
from station.gossip.entry import HighWater, Mark, Stamp
from station.gossip.rows import decode_entry, decode_high_water, encode_entry, encode_high_water
from tests.unit.gossip.builders import entry, origin


def test_entry_comes_back_as_it_was() -> None:
    first = entry(value={"n": None, "t": [1.5, "ä"]})
    for one in (first, entry(deleted=True, replaces=first.version)):
        assert decode_entry(encode_entry(one)) == one


def test_high_water_comes_back_as_it_was() -> None:
    high_water = HighWater(Stamp(5, 6), "e", (Mark(origin(), 3),), (Mark(origin(), 2),))
    assert decode_high_water(encode_high_water(high_water)) == high_water


@pytest.mark.parametrize("data", [b"", b"{}", b'{"kind":"settings"}', b"\xff"])
def test_anything_else_is_malformed(data: bytes) -> None:
    for decode in (decode_entry, decode_high_water):
        with pytest.raises(Malformed):
            decode(data)
