# `make attack` and `make test` set up everything that they need on a machine with Python >= 3.11 and make.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist worksteal

.PHONY: attack test test-long lint check fuzz bench reproduce clean

attack: .venv/.user  ## craft poison for the embedded data set, show the damage as a table and a figure
	$(BIN)/poison attack --learn-lambda --out attack.h5 --force
	$(BIN)/poison evaluate attack.h5
	$(BIN)/poison report attack.h5 --out attack.png --force

test: .venv/.dev  ## the tests, in minutes: all but those of many seconds each
	$(PYTEST) -m "not slow and not long"

test-long: .venv/.dev  ## the tests that `make test` leaves out
	$(PYTEST) -m "long and not slow"

lint: .venv/.dev  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright

check: lint test test-long  ## format, lint, types and all tests but the reproductions

fuzz: .venv/.dev  ## ten thousand hostile inputs, within an hour; the table goes to benchmarks/RESULTS.md
	PYTHONPATH=tests $(BIN)/python -m fuzz --table benchmarks/RESULTS.md

bench: .venv/.bench  ## time and memory against plain PyTorch, and against CVXPY
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.with_cvxpy

reproduce: .venv/.dev  ## the long reproductions of the papers' claims
	$(BIN)/python -m pytest -m slow

clean:
	rm -rf .venv build dist .pytest_cache .ruff_cache .jax_cache

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "poison needs Python 3.11, 3.12 or 3.13: install one, or name it with 'make PYTHON=...'"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.user: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/.dev: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

.venv/.bench: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[bench]"
	@touch $@
