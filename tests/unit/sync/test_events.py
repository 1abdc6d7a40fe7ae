"""One JSON line per event, progress at most four times a second."""

import io
import json
from typing import Any

from station.sync.events import Events
from station.sync.failure import DETAIL_CHARS_MAX, SyncFailed


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def said(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_progress_is_said_at_most_four_times_a_second() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Events(stream, clock).progress(1000, 100_000)
    for _ in range(1000):
        clock.now += 0.001
        progress.fetched(100)
        progress.present(100)
    assert 4 <= len(said(stream)) <= 5
    progress.say()
    last = said(stream)[-1]
    assert last == {
        "event": "progress",
        "bytes": 100_000,
        "bytes_total": 100_000,
        "packages": 1000,
        "packages_total": 1000,
        "fetched_bytes": 100_000,
    }


def test_a_failure_is_one_printable_line_of_bounded_length() -> None:
    stream = io.StringIO()
    failure = SyncFailed("repomd", "a\nb\x1b[31m" + "x" * 5000, retriable=True)
    Events(stream, Clock()).failed(failure)
    (event,) = said(stream)
    assert (event["code"], event["retriable"]) == ("repomd", True)
    assert event["detail"].startswith("a?b?[31m")
    assert len(event["detail"]) == DETAIL_CHARS_MAX
