"""Frames between our own processes: four bytes of length, then JSON. Both ends are ours; bounds catch bugs."""

import json
import struct
from typing import Any

# A snapshot of 5,000 sources with ten revisions each is about 5 MiB.
FRAME_BYTES_MAX = 64 * 1024 * 1024
_LENGTH = struct.Struct("!I")


class FrameError(ValueError):
    """The other end sent what is no frame. The connection is of no further use."""


def encode_frame(message: dict[str, Any]) -> bytes:
    """One message as bytes. Raises FrameError when it is larger than FRAME_BYTES_MAX."""
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > FRAME_BYTES_MAX:
        raise FrameError(f"frame of {len(body)} bytes")
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Bytes in, messages out, whatever the pieces were."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages completed by `data`, in order. Raises FrameError."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > FRAME_BYTES_MAX:
                raise FrameError(f"frame of {length} bytes")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            try:
                messages.append(json.loads(self._buffer[_LENGTH.size : end]))
            except ValueError as error:
                raise FrameError(str(error)) from error
            del self._buffer[:end]
        return messages
