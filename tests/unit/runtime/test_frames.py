"""Frames survive any cut of the stream, and nonsense is refused before it is stored."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.runtime.frames import FRAME_BYTES_MAX, FrameError, FrameReader, encode_frame

MESSAGES = st.lists(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=20), max_size=4),
    max_size=5,
)


@given(MESSAGES, st.integers(min_value=1, max_value=50))
def test_messages_come_out_as_they_went_in_whatever_the_pieces(
    messages: list[dict[str, object]], piece: int
) -> None:
    stream = b"".join(encode_frame(message) for message in messages)
    reader, found = FrameReader(), []
    for start in range(0, len(stream), piece):
        found += reader.feed(stream[start : start + piece])
    assert found == messages


def test_half_a_frame_is_no_message_yet() -> None:
    reader, frame = FrameReader(), encode_frame({"beat": 1.5})
    assert reader.feed(frame[:-1]) == []
    assert reader.feed(frame[-1:]) == [{"beat": 1.5}]


def test_a_length_beyond_the_bound_is_refused_before_its_bytes_arrive() -> None:
    with pytest.raises(FrameError, match="frame of"):
        FrameReader().feed(struct.pack("!I", FRAME_BYTES_MAX + 1))


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(FrameError):
        FrameReader().feed(struct.pack("!I", 2) + b"{]")
