"""One log line to stderr per change of state: fields, not prose; key=value for people, JSON for a collector.

STATION_LOG=json|text, STATION_LOG_LEVEL=debug|info. Forty lines of our own, because a logging library costs each of
our small processes 6 MiB.
"""

import contextlib
import json
import os
import sys
from datetime import UTC, datetime

_AS_JSON = os.environ.get("STATION_LOG", "text") == "json"
_DEBUG = os.environ.get("STATION_LOG_LEVEL", "info") == "debug"
_process = "station"


def set_process(name: str) -> None:
    """The name on each line: `files-0`, `supervisor`."""
    global _process
    _process = name


def line(level: str, event: str, **fields: object) -> None:
    """One line: level `debug|info|warning|error`, an event like `worker.started`, fields. Never raises."""
    if level == "debug" and not _DEBUG:
        return
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = {"timestamp": stamp, "level": level, "process": _process, "event": event}
    if _AS_JSON:
        text = json.dumps(head | fields, default=str)
    else:
        text = " ".join(f"{key}={str(value)!r}" for key, value in (head | fields).items())
    with contextlib.suppress(OSError, ValueError):  # a log nobody reads must not stop the service
        sys.stderr.write(text + "\n")
