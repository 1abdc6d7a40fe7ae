"""`python -m tests.bench.balancer`: lbproxy against haproxy. See bench_balancer."""

import sys

from tests.bench.bench_balancer import main

if __name__ == "__main__":
    sys.exit(main())
