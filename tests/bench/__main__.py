"""`make bench`: every bench below, one after the other. Names as arguments run only these.

A bench is a module with a `main` that prints our figures beside a peer's, measured in turns in its one run. Both sides
have the same congestion control of TCP, `--congestion`.
"""

import argparse
import subprocess
import sys
import time

from tests.bench.measuring import RUNS, SECONDS
from tests.bench.network import congestion_of, inside

BENCHES = ("files", "balancer", "proxy", "quiet", "sync")


def main(arguments: list[str] | None = None) -> int:
    """Run the benches; 1 when one failed or found a figure below its least."""
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}")
    parser.add_argument(
        "--congestion", default="", metavar="NAME", help="as reno; default: this machine's"
    )
    parser.add_argument(
        "--row",
        action="append",
        default=[],
        metavar="PART",
        help="only rows with this in their name",
    )
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.names if name not in BENCHES]:
        parser.error(f"no bench {', '.join(unknown)}; there are: {', '.join(BENCHES)}")
    print(f"congestion control of both sides: {congestion_of(chosen.congestion)}", flush=True)
    rest = [*chosen.row, "--runs", str(chosen.runs), "--seconds", str(chosen.seconds)]
    failed, began = 0, time.monotonic()
    for name in chosen.names or BENCHES:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"tests.bench.{name}", *(rest if name != "sync" else [])]
        command = inside(chosen.congestion, command)
        failed |= subprocess.run(command, check=False).returncode
    print(f"== {time.monotonic() - began:.0f} s in all")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
