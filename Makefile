# Two commands to begin with: `make lab` and `make test`. Each target sets up what it needs.
# PYTHON names the interpreter that .venv is made with; PYTEST_ARGS goes to pytest as it is.

PYTHON ?= python3
export PYTHON
RUN := .venv/bin/
NORMAL := not accept and not soak

.PHONY: help install lab test check bench accept soak rpm

help:
	@echo 'make lab      stations, a balancer and a demo repository on this machine, until Ctrl-C'
	@echo 'make test     every test a change needs (at most 10 minutes on two cores)'
	@echo 'make check    format, lint, types, walls and habits'
	@echo 'make bench    our figures beside those of nginx, haproxy, squid and dnf reposync'
	@echo 'make accept   the full-length acceptance runs'
	@echo 'make soak     ten minutes of fuzzing for each parser, and runs that are longer still'
	@echo 'make rpm      the wheel and the RPM for Enterprise Linux 9, in dist/'
	@echo 'make install  .venv and, as root, the distribution packages'

install:
	@.ci/setup

lab:
	@.ci/setup venv
	$(RUN)station lab $(LAB_ARGS)

test:
	@.ci/setup
	$(RUN)pytest -q -m '$(NORMAL)' $(PYTEST_ARGS)

check:
	@.ci/setup venv
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	$(RUN)mypy
	$(RUN)pytest -q tests/tidy

bench:
	@.ci/setup
	$(RUN)python -m tests.bench $(BENCH_ARGS)

accept:
	@.ci/setup
	$(RUN)pytest -m accept --timeout 7200 $(PYTEST_ARGS)

soak:
	@.ci/setup
	$(RUN)pytest -m soak --timeout 0 $(PYTEST_ARGS)

rpm:
	@.ci/setup
	@.ci/rpm
