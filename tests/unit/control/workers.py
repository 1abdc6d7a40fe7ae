"""A worker at the other end of a connection that exists only in memory."""

import asyncio
from typing import Any

from station.control.feed import Worker
from station.runtime.frames import FrameReader


class Ear(asyncio.WriteTransport):
    """Takes what control writes. `unread`: bytes that the worker is said to have left lying."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.unread = 0
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.is_aborted = True

    def close(self) -> None:
        self.abort()

    def is_closing(self) -> bool:
        return True  # there is nothing to close

    def messages(self) -> list[dict[str, Any]]:
        """What was said so far."""
        return FrameReader().feed(self.data)


def connection() -> tuple[Ear, asyncio.StreamReader, asyncio.StreamWriter]:
    """Both directions: what control writes goes to the ear, what the test feeds is read by control."""
    loop = asyncio.get_running_loop()
    ear, reader = Ear(), asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    return ear, reader, asyncio.StreamWriter(ear, protocol, reader, loop)


def a_worker() -> tuple[Worker, Ear]:
    """A connected worker."""
    ear, _, writer = connection()
    return Worker(writer), ear
