# Two commands to begin with: `make lab` and `make test`. Each target sets up what it needs.
# PYTHON names the interpreter that .venv is made with; PYTEST_ARGS goes to pytest as it is.

PYTHON ?= python3
export PYTHON
# Stations start processes by the hundred; each would compile all of itself again.
unexport PYTHONDONTWRITEBYTECODE
RUN := .venv/bin/
KIND := not accept and not soak
# Unix sockets lie in the stations' directories, and their paths are limited to 107 bytes: a short place for those.
SCRATCH := $(shell mktemp -du /tmp/st-XXXX)

.PHONY: help install lab test together alone check bench accept soak rpm

help:
	@echo 'make lab      stations, a balancer and a demo repository on this machine, until Ctrl-C'
	@echo 'make test     every test a change needs (at most 10 minutes on two cores)'
	@echo 'make together of these, those that can run three at a time'
	@echo 'make alone    of these, those that measure time or memory, one after the other'
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

test: together alone

# Most tests wait for processes and clocks: three at a time make use of two cores. 5: none was asked for here.
together:
	@.ci/setup
	$(RUN)pytest -q -n 3 --dist loadfile --basetemp $(SCRATCH) -m '$(KIND) and not alone' $(PYTEST_ARGS) || [ $$? = 5 ]
	@rm -rf $(SCRATCH)

alone:
	@.ci/setup
	$(RUN)pytest -q -m '$(KIND) and alone' $(PYTEST_ARGS) || [ $$? = 5 ]

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
	@$(MAKE) --keep-going together alone KIND=accept PYTEST_ARGS="--no-loadscope-reorder $(PYTEST_ARGS)"

soak:
	@.ci/setup
	$(RUN)pytest -m soak --timeout 0 $(PYTEST_ARGS)

rpm:
	@.ci/setup
	@.ci/rpm
