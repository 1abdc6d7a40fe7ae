"""`python -m tests.bench.proxy`: the proxy worker against squid. See bench_proxy."""

import sys

from tests.bench.bench_proxy import main

if __name__ == "__main__":
    sys.exit(main())
