"""The storage child: the one process of control's that touches the storage path. A hung mount hangs it alone.

JSON lines: `{"id", "op", "args"}` in, `{"id", "result"}` or `{"id", "error": {"code", "detail"}}` out. It ends when
its stdin does. Quick operations are answered between two steps of a long one; while a long one runs, `{"alive": true}`
is said each second.
"""

import json
import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from station.model.identity import InvalidName
from station.repo.errors import RepoError
from station.runtime.lines import line, set_process
from station.storage.errors import StorageError, from_os_error
from station.storage.operations import Operations, Settings

# A manifest from a peer; 2,000,000 files would not come this way.
REQUEST_BYTES_MAX = 64 * 1024 * 1024
READ_BYTES = 256 * 1024
LONG_MAX = 64  # long operations queued; control starts a few
ALIVE_EVERY_S = 1.0

_END = object()


@dataclass(slots=True)
class _Long:
    """A long operation under way; the last value it yields is its result."""

    number: int
    steps: Iterator[Any]
    last: Any = None


class _Loop:
    """Plain and synchronous: there is nothing to wait for but stdin and the disk."""

    def __init__(self, operations: Operations, stdin: int, stdout: int) -> None:
        self._operations = operations
        self._stdin = stdin
        self._stdout = stdout
        self._buffer = bytearray()
        self._long: deque[_Long] = deque()
        self._said_alive = 0.0

    def run(self) -> None:
        while self._read():
            if self._long:
                self._step()

    def _read(self) -> bool:
        """Take what requests there are; wait for one only when nothing else is to do. False: the end."""
        timeout = 0.0 if self._long else None
        if not select.select([self._stdin], [], [], timeout)[0]:
            return True
        piece = os.read(self._stdin, READ_BYTES)
        if not piece:
            return False
        self._buffer += piece
        while (end := self._buffer.find(b"\n")) >= 0:
            request = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._begin(request)
        if len(self._buffer) > REQUEST_BYTES_MAX:
            raise ValueError("a request without end")
        return True

    def _begin(self, request: bytes) -> None:
        wire = json.loads(request)  # from control, our own: anything else is a bug, and ends us
        number = int(wire["id"])
        if "cancel" in wire:
            self._long = deque(entry for entry in self._long if entry.number != number)
            return
        with _Answering(self, number):
            found = self._operations.find(wire["op"])(**wire.get("args", {}))
            if not isinstance(found, Iterator):
                self.say({"id": number, "result": found})
            elif len(self._long) >= LONG_MAX:
                raise StorageError("slow", f"{LONG_MAX} operations are waiting")
            else:
                self._long.append(_Long(number, found))

    def _step(self) -> None:
        """One step of the first long operation."""
        long = self._long[0]
        is_over = True
        with _Answering(self, long.number):
            value = next(long.steps, _END)
            is_over = value is _END
            if is_over:
                self.say({"id": long.number, "result": long.last})
            long.last = value
        if is_over:
            self._long.popleft()
        elif time.monotonic() - self._said_alive > ALIVE_EVERY_S:
            self._said_alive = time.monotonic()
            self.say({"alive": True})

    def say(self, message: dict[str, Any]) -> None:
        view = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        while view:
            view = view[os.write(self._stdout, view) :]


class _Answering:
    """Turns what an operation raises into its answer."""

    def __init__(self, loop: _Loop, number: int) -> None:
        self._loop = loop
        self._number = number

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None:
            return False
        if isinstance(error, StorageError):
            told = error
        elif isinstance(error, (InvalidName, TypeError)):
            told = StorageError("bad-request", str(error))
        elif isinstance(error, RepoError):
            told = StorageError("damaged", str(error))
        elif isinstance(error, OSError):
            told = from_os_error(error)
        elif isinstance(error, ValueError):
            told = StorageError("bad-request", str(error))
        else:
            return False
        answer = {"code": told.code, "detail": told.detail}
        self._loop.say({"id": self._number, "error": answer})
        return True


def main() -> None:
    """Run until stdin ends."""
    set_process("storage")
    settings = Settings(**json.loads(os.environ["STATION_SETTINGS"]))
    # Ctrl-C is for the supervisor, which ends us in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _Loop(Operations(settings), sys.stdin.fileno(), sys.stdout.fileno()).run()
    except (BrokenPipeError, ConnectionResetError):  # a socket pair says the one or the other
        line("debug", "storage.control_gone")


if __name__ == "__main__":
    main()
