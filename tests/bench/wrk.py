"""The client of rows that count requests: wrk, one thread, on the client's core."""

import re
import subprocess
from dataclasses import dataclass

from tests.bench.measuring import CLIENT_CORE

_BYTES = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True, slots=True)
class Result:
    """What wrk saw: how many requests and bytes in how many seconds, and the 99th percentile."""

    requests: int
    bytes: float
    seconds: float
    p99_ms: float


def wrk(
    url: str, connections: int, seconds: float, *headers: str, core: str = CLIENT_CORE
) -> Result:
    """One run. Errors of sockets fail it, but for those of a server that was told to close."""
    command = [
        "taskset",
        "-c",
        core,
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        "--latency",
        "--timeout",
        "30s",
    ]
    for header in headers:
        command += ["-H", header]
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    text = done.stdout
    is_closing = any(header.startswith("Connection: close") for header in headers)
    for problem in ("Socket errors: .*", "Non-2xx or 3xx responses: .*"):
        found = re.search(problem, text)
        assert is_closing or found is None, found
    counted = re.search(r"(\d+) requests in ([\d.]+)(\w+), ([\d.]+)(\w+) read", text)
    late = re.search(r"99%\s+([\d.]+)(\w+)", text)
    assert counted and late, text
    return Result(
        int(counted[1]),
        float(counted[4]) * _BYTES[counted[5]],
        float(counted[2]) * _MS[counted[3]] / 1e3,
        float(late[1]) * _MS[late[2]],
    )
