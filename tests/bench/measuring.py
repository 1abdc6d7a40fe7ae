"""One row of a bench: two servers take turns, the medians of their runs stand beside each other, on one line.

A rate on a shared machine swings; the server's CPU time per request or per GB does so much less, so both are printed,
and how far the ratio moved from run to run.
"""

import argparse
import os
import re
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE, CLIENT_CORE = "0", "1"
RUNS, SECONDS = 5, 2.0  # the whole of `make bench` stays below ten minutes with these


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: requests or MB per second, the server's CPU per request (µs) or per GB (s), 99th percentile."""

    rate: float
    cpu: float
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. `least` and `aim` are ratios of ours to the peer's: of rates, or where so judged of CPU."""

    name: str
    least: float
    aim: float
    is_bulk: bool = False
    is_judged_by_cpu: bool = False


Run = Callable[[], Sample]


def compare(row: Row, peer_name: str, ours: Run, peer: Run, runs: int) -> bool:
    """Measure one row and print it; whether `least` was reached."""
    samples = [(ours(), peer()) for _ in range(runs)]
    (rate, cpu), (peer_rate, peer_cpu) = (
        [statistics.median(getattr(sample, name) for sample in column) for name in ("rate", "cpu")]
        for column in zip(*samples, strict=True)
    )
    ratio = cpu / peer_cpu if row.is_judged_by_cpu else rate / peer_rate
    is_reached = bool(ratio <= row.least if row.is_judged_by_cpu else ratio >= row.least)
    each = sorted(a.cpu / b.cpu if row.is_judged_by_cpu else a.rate / b.rate for a, b in samples)
    bound = "most" if row.is_judged_by_cpu else "least"
    other = (
        f"rate x{rate / peer_rate:.2f}" if row.is_judged_by_cpu else f"CPU x{cpu / peer_cpu:.2f}"
    )
    texts = (
        _text(name, row, a, b, [pair[index].p99_ms for pair in samples])
        for index, (name, a, b) in enumerate(
            (("ours", rate, cpu), (peer_name, peer_rate, peer_cpu))
        )
    )
    print(
        f"{row.name:32} x{ratio:.2f} ({bound} {row.least:.2f}, aim {row.aim:.2f}) {'ok' if is_reached else 'BELOW':5} "
        f"{other}, runs x{each[0]:.2f} to x{each[-1]:.2f} | " + " | ".join(texts),
        flush=True,
    )
    return is_reached


def _text(name: str, row: Row, rate: float, cpu: float, p99s: list[float | None]) -> str:
    if row.is_bulk:
        return f"{name} {rate:,.0f} MB/s {cpu:.3f} s/GB"
    known = [p99 for p99 in p99s if p99 is not None]
    late = f" p99 {statistics.median(known):.1f} ms" if known else ""
    return f"{name} {rate:,.0f}/s {cpu:.1f} µs{late}"


def cpu_s(*pids: int) -> float:
    """User and system time of these processes so far, seconds."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def pss_kib(pid: int) -> int:
    """Memory of a process, shared pages counted in proportion."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)
    assert found is not None
    return int(found[1])


def options(description: str | None, arguments: list[str] | None) -> argparse.Namespace:
    """What every bench can be told: `only` parts of names of rows, `runs`, `seconds` of each run."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("only", nargs="*", help="parts of names of rows; none: all")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    return parser.parse_args(arguments)


def is_chosen(name: str, only: Iterable[str]) -> bool:
    """Whether a row of this name was asked for."""
    parts = list(only)
    return not parts or any(part in name for part in parts)
