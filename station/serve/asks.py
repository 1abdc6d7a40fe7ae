"""Check-ins of instances, asked of control over the feed: ten thousand machines do little else.

A relay costs control a connection, a header and a parser for each. What is here as a whole travels as one message and
comes back as one; anything else, and everything while the feed is away, takes the relay.
"""

import re
from collections.abc import Callable
from typing import Any

from station.http.head import Request
from station.serve.reply import Client

BODY_BYTES_MAX = 8192  # an instance's facts have some 400
_CHECK_IN = re.compile(rb"/instances/([^/?#%]{1,128})/checkin")

Told = Callable[[dict[str, Any] | None], None]


def check_in(request: Request, client: Client, body: bytes | bytearray) -> dict[str, Any] | None:
    """The message for control; None when this is no check-in over https, or not all of it is in `body`."""
    if request.method != "POST" or client.listener != "https":
        return None
    path = _CHECK_IN.fullmatch(request.target)
    length = request.headers.get(b"content-length", b"")
    if path is None or not length or int(length) > BODY_BYTES_MAX or int(length) > len(body):
        return None
    headers = {
        name: request.headers.get(name.encode(), b"").decode("latin-1")
        for name in ("authorization", "content-type", "accept")
    }
    return headers | {
        "instance": path[1].decode("latin-1"),
        "client": client.address,
        "body": bytes(body[: int(length)]).decode("latin-1"),
    }


class Asks:
    """Who waits for which answer. Each is told once: what control said, or None when nobody will say it."""

    def __init__(self) -> None:
        self._waiting: dict[int, Told] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, told: Told) -> int:
        """A new question; its number."""
        self._last += 1
        self._waiting[self._last] = told
        return self._last

    def take(self, answer: dict[str, Any]) -> None:
        """An answer of control. Raises KeyError, TypeError for what is none; one that nobody waits for is dropped."""
        told = self._waiting.pop(int(answer["id"]), None)
        if told is not None:
            told(answer)

    def drop(self) -> None:
        """Control is gone, and with it all that it was asked."""
        waiting, self._waiting = self._waiting, {}
        for told in waiting.values():
            told(None)
