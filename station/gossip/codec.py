"""Messages as bytes and back: JSON, checked against the message types before anything else looks at it.

Bounds: bytes here, depth (200) and digits of a number (4,300) in pydantic's parser, counts and lengths in the types.
"""

from pydantic import TypeAdapter, ValidationError

from station.gossip.entry import COUNT_MAX
from station.gossip.messages import PROTOCOL, Message, MessageType
from station.gossip.views import check_json

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
_MESSAGE = TypeAdapter(Message)


class Malformed(ValueError):
    """The bytes are no message. Nothing was changed; the text says what is wrong with them."""


def encode(message: Message) -> bytes:
    """The message as bytes, at most MESSAGE_BYTES_MAX of them: the budgets of its parts see to that."""
    data = _MESSAGE.dump_json(message, exclude_defaults=True)
    assert len(data) <= MESSAGE_BYTES_MAX, f"a message of {len(data)} bytes"
    return data


def decode(data: bytes) -> Message:
    """The message in the bytes. Raises Malformed."""
    if len(data) > MESSAGE_BYTES_MAX:
        raise Malformed(f"{len(data)} bytes, the limit is {MESSAGE_BYTES_MAX}")
    try:
        message = _MESSAGE.validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"{where}: {first['msg']}"[:500]) from error
    if message.sender.protocol != PROTOCOL:
        raise Malformed(f"protocol {message.sender.protocol}, we speak {PROTOCOL}")
    if message.type is not MessageType.REFUSAL and message.summary is None:
        raise Malformed(f"a {message.type.value} without a summary")
    if not 0 <= message.sender.wall <= COUNT_MAX:
        raise Malformed("a clock that is no time")
    if any(not delta.is_sound() for delta in message.deltas):
        raise Malformed("a delta whose entries are not in its range and order")
    _check_values(message, data)
    return message


def _check_values(message: Message, data: bytes) -> None:
    """The parser takes NaN inside values, and it would be null in our next message: two stations, two values."""
    if b"NaN" not in data and b"Infinity" not in data:
        return
    try:
        for delta in message.deltas:
            for entry in delta.entries:
                check_json(entry.value)
        for status in message.statuses:
            check_json(status.fields)
    except ValueError as error:
        raise Malformed(str(error)) from error
