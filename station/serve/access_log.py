"""The access log of the mirror ports: one line per answer, buffered, off unless the configuration asks for it.

`combined` is the format of Apache and nginx; `json` has one object per line. What comes from a client is escaped: one
request is one line. A log that cannot be written never stops an answer: the lines are dropped and counted.
"""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime

from station.http.head import Request
from station.serve.limits import Counters
from station.serve.reply import Client

FLUSH_S = 1.0
FLUSH_LINES = 512  # at most so many wait for the second to end
FORMATS = ("combined", "json")


class AccessLog:
    """Appends to `path`, or to stderr when it is empty. Raises ValueError for a format that is none."""

    def __init__(self, form: str, path: str, counters: Counters) -> None:
        if form not in FORMATS:
            raise ValueError(f"access_log: {form!r} is none of {', '.join(FORMATS)}")
        self._render = _combined if form == "combined" else _as_json
        self._path, self._counters = path, counters
        self._lines: list[str] = []

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write once a second from now on."""
        self.flush()
        loop.call_later(FLUSH_S, self.attach, loop)

    def add(
        self, client: Client, request: Request, status: int, sent: int, now: float, took_s: float
    ) -> None:
        """An answer is over. `sent`: bytes of head and body, `now`: wall clock."""
        self._lines.append(self._render(client, request, status, sent, now, took_s))
        if len(self._lines) >= FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what waits. The file is opened each time: a rotated one is left alone."""
        if not self._lines:
            return
        data, count = "".join(self._lines).encode(), len(self._lines)
        self._lines.clear()
        try:
            if not self._path:
                sys.stderr.buffer.write(data)
                sys.stderr.buffer.flush()
                return
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.write(fd, data)
            finally:
                os.close(fd)
        except (OSError, ValueError):
            self._counters.add("access_log_dropped", count)


def _text(value: bytes) -> str:
    """Printable ASCII without quotes; the rest as \\xNN, as nginx has it."""
    return "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\x{byte:02X}"
        for byte in value
    )


def _combined(
    client: Client, request: Request, status: int, sent: int, now: float, took_s: float
) -> str:
    when = datetime.fromtimestamp(now, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    referer = _text(request.headers.get(b"referer", b"-"))
    agent = _text(request.headers.get(b"user-agent", b"-"))
    return (
        f'{client.address or "-"} - - [{when}] "{request.method} {_text(request.target)} '
        f'HTTP/1.{request.minor}" {status} {sent} "{referer}" "{agent}"\n'
    )


def _as_json(
    client: Client, request: Request, status: int, sent: int, now: float, took_s: float
) -> str:
    found = {
        "time": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
        "client": client.address,
        "listener": client.listener,
        "method": request.method,
        "target": request.target.decode("latin-1"),
        "status": status,
        "bytes": sent,
        "seconds": round(took_s, 4),
        "user_agent": request.headers.get(b"user-agent", b"").decode("latin-1"),
    }
    return json.dumps(found) + "\n"
