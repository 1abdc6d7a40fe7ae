"""What bad clients do: slowhttptest's four modes, and malformed requests as fast as wrk makes them.

Each for a server at a URL, with an account of what it cost the honest ones meanwhile.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

# slowhttptest's names of them, and what makes each bite: bytes that drip, a body that was never asked for, a Range
# of a thousand parts, an answer that is read 32 bytes at a time through the smallest window.
MODES = {
    "slow headers": ["-H", "-i", "1", "-x", "8"],
    "slow body": ["-B", "-i", "1", "-x", "8", "-s", "8192"],
    "ranges": ["-R", "-a", "5", "-b", "2000"],
    "slow read": ["-X", "-w", "1", "-y", "512", "-n", "5", "-z", "32", "-k", "3"],
}

MALFORMED = {  # of what wrk itself, which reads its own request, lets pass
    "two hosts": 'wrk.headers["Host"] = "a\\r\\nHost: b"',
    "folded header": 'wrk.headers["X"] = "a\\r\\n b"',
    "host with a user": 'wrk.headers["Host"] = "u@h"',
    "coding of no meaning": 'wrk.headers["Transfer-Encoding"] = "xchunked"',
}


@dataclass(frozen=True)
class Siege:
    """`seconds` until the last was ended, if `is_over`; the tool does not see a reset behind unread bytes."""

    seconds: int
    is_over: bool


def besiege(url: str, mode: str, *, connections: int, at_most_s: int) -> Siege:
    """One of MODES, until the server has ended all connections, or for so long."""
    done = subprocess.run(
        ["slowhttptest", *MODES[mode], "-u", url, "-c", str(connections), "-r", str(connections),
         "-l", str(at_most_s), "-p", "5"],
        capture_output=True, text=True, timeout=at_most_s + 30, check=False,
    )  # fmt: skip
    report = re.sub(r"\x1b\[[0-9;]*[a-zA-Z]", "", done.stdout + done.stderr)
    ended = re.search(r"Test ended on (\d+)", report)
    assert ended, report[-3000:]
    return Siege(int(ended[1]), "No open connections left" in report)


def flood(url: str, how: str, directory: Path, *, seconds: int, connections: int = 32) -> float:
    """One of MALFORMED for so long; refused requests per second."""
    script = directory / "flood.lua"
    script.write_text(MALFORMED[how] + "\n")
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url],
        capture_output=True, text=True, timeout=seconds + 30, check=True,
    )  # fmt: skip
    rate = re.search(r"Requests/sec: +([0-9.]+)", done.stdout)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    total = re.search(r"(\d+) requests in", done.stdout)
    assert rate and refused and total, done.stdout
    assert refused[1] == total[1], done.stdout
    return float(rate[1])
