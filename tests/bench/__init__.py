"""Side-by-side measurements, started on demand by `make bench`. No part of `make test`."""
