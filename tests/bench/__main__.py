"""`make bench`: every bench below, one after the other. Names as arguments run only these.

A bench is a module with a `main` that prints our figures beside a peer's, measured in turns in its one run.
"""

import subprocess
import sys
import time

BENCHES = ("files", "balancer", "proxy", "quiet", "sync")


def main(names: list[str]) -> int:
    """Run the benches; 1 when one failed or found a figure below its least, 2 for a name that is none."""
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        sys.stderr.write(f"no bench {', '.join(unknown)}; there are: {', '.join(BENCHES)}\n")
        return 2
    failed, began = 0, time.monotonic()
    for name in names or BENCHES:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"tests.bench.{name}"]
        failed |= subprocess.run(command, check=False).returncode
    print(f"== {time.monotonic() - began:.0f} s in all")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
