"""`make bench`: every bench_*.py beside this file, one after the other. Names as arguments run only these.

A bench is a module with a `main` that prints our figure beside a peer's, both measured in its one run.
"""

import subprocess
import sys
from pathlib import Path


def main(names: list[str]) -> int:
    """Run the benches; 1 when one failed, 2 for a name that is none."""
    known = {
        path.stem.removeprefix("bench_"): path.stem
        for path in sorted(Path(__file__).parent.glob("bench_*.py"))
    }
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.stderr.write(f"no bench {', '.join(unknown)}; there are: {', '.join(known)}\n")
        return 2
    failed = 0
    for name in names or known:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"tests.bench.{known[name]}"]
        failed |= subprocess.run(command, check=False).returncode
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
