# make demo   try it: everything in one process, nothing outside needed     make test   all checks and all tests
# make check  lint, types, layers, declared packages                        make soak, make bench   measured by hand
# Variables: PYTHON=python3.12  REQUIRE_ALL=1 (a missing outside program fails)  DEMO_EXIT=1  TESTS="tests/unit -k fold"

PYTHON ?= python3
WORKERS ?= 2
TESTS ?= tests
REQUIRE_ALL ?=
DEMO_EXIT ?=
export REQUIRE_ALL DEMO_EXIT

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.PHONY: help demo test check soak bench clean

help:
	@sed -n 's/^# //p' Makefile

# The demo needs no test tools, and only `make bench` the peers. A stamp is made again only when its sources have changed.
.venv/stamp-run: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install -c constraints.txt -e .
	touch $@

.venv/stamp-all: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install -c constraints.txt -e '.[test,dev]'
	touch $@ .venv/stamp-run

.venv/stamp-bench: .venv/stamp-all
	$(PIP) install -c constraints.txt -e '.[bench]'
	touch $@

demo: .venv/stamp-run
	$(BIN)/noticesvc demo

check: .venv/stamp-all
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .

# Files in order: those that start processes come first, so that the quick ones fill both workers to the end.
test: check
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

soak: .venv/stamp-all
	$(BIN)/python -m bench.soak
	$(BIN)/python -m bench.receipts
	$(BIN)/python -m bench.broadcast

bench: .venv/stamp-bench
	$(BIN)/python -m bench.run

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find noticesvc providers tests bench docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
