"""`python -m tests.bench.files`: the files worker against nginx. See bench_files."""

import sys

from tests.bench.bench_files import main

if __name__ == "__main__":
    sys.exit(main())
