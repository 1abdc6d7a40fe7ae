"""Constant load of short requests, as many clients make it, and an exact account of what failed."""

import ssl
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.integration.sockets import Connection, connect


class Load:
    """Threads that ask for `urls` in turn until the end. Half of them keep their connections, half make one for each.

    A kept connection that ends before the first byte of an answer is no failure: every client asks again on a new
    one (RFC 9112, 9.3.1), and so do these. Anything else is.
    """

    def __init__(
        self,
        urls: list[str],
        *,
        ca: str | None = None,
        threads: int = 4,
        pause_s: float = 0.01,
        want: int = 200,
    ) -> None:
        self._urls, self._pause_s, self._want = urls, pause_s, want
        self._context = ssl.create_default_context(cafile=ca)
        self._context.check_hostname = False
        if ca is None:
            self._context.verify_mode = ssl.CERT_NONE
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self.failures: list[str] = []
        self.waits: list[float] = []
        self.statuses: Counter[int] = Counter()
        self._threads = [
            threading.Thread(target=self._ask_for_ever, args=(index % 2 == 0,))
            for index in range(threads)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    @property
    def count(self) -> int:
        """Requests that were answered as wanted."""
        return len(self.waits)

    def percentile(self, share: float) -> float:
        """How long `share` of the requests took at most, seconds."""
        waits = sorted(self.waits)
        return waits[min(len(waits) - 1, int(len(waits) * share))]

    def _ask_for_ever(self, keeps: bool) -> None:
        kept: dict[str, Connection] = {}
        turn = 0
        while not self._is_over.is_set():
            url = self._urls[turn % len(self._urls)]
            turn += 1
            began = time.monotonic()
            try:
                status = self._ask(url, kept, keeps)
            except (OSError, EOFError) as error:
                self._fail(f"{url}: {error!r} after {time.monotonic() - began:.2f} s")
            else:
                took = time.monotonic() - began
                with self._lock:
                    self.statuses[status] += 1
                    if status == self._want:
                        self.waits.append(took)
                    else:
                        self.failures.append(f"{url}: {status}")
            self._is_over.wait(self._pause_s)
        for connection in kept.values():
            connection.close()

    def _ask(self, url: str, kept: dict[str, Connection], keeps: bool) -> int:
        parts = urlsplit(url)
        old = kept.pop(parts.netloc, None)
        for connection in (old, None):
            is_old = connection is not None
            connection = connection or self._connect(url)
            try:
                answer = connection.get(parts.path, keep=keeps)
            except (OSError, EOFError):
                is_untouched = connection.received == 0
                connection.close()
                if not (is_old and is_untouched):
                    raise
                continue
            except BaseException:
                connection.close()
                raise
            if keeps and not answer.is_last:
                kept[parts.netloc] = connection
            else:
                connection.close()
            return answer.status
        raise AssertionError("the second connection is a new one")

    def _connect(self, url: str) -> Connection:
        parts = urlsplit(url)
        context = self._context if parts.scheme == "https" else None
        return connect(parts.hostname or "", parts.port or 0, context)

    def _fail(self, text: str) -> None:
        with self._lock:
            self.failures.append(text)


def log_lines(path: Path, event: str) -> int:
    """How many lines of a log are of `event`."""
    return sum(f"event='{event}'" in line for line in path.read_text().splitlines())
