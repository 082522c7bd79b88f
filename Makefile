# `make run` sets up all it needs and runs a container; `make test` sets up all it needs and
# runs every check and test. Each tier also runs alone: make test-unit, make test-integration, ...

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
TIERS   = e2e vm faults conformance integration security unit
JOBS   ?= 2
export WHERRY_CACHE ?= $(CURDIR)/.cache

.PHONY: help setup lock test-packages check lint types arrows dead run test bench clean $(TIERS:%=test-%)

help:
	@echo "make run        set up, start an engine, run a container (as root)"
	@echo "make test       set up, run every check and test (as root)"
	@echo "make check      ruff, mypy, import-linter and vulture"
	@echo "make test-TIER  one of: $(TIERS)"
	@echo "make bench      measure side by side with dockerd (as root)"

# The virtual environment; made again when the dependencies change.
setup: $(VENV)/.stamp
$(VENV)/.stamp: pyproject.toml constraints.txt
	@contrib/ensure-venv $(PYTHON) $(VENV)
	@$(BIN)/pip install -q --upgrade 'pip>=24'
	$(BIN)/pip install -q -c constraints.txt -e '.[hub,dev]'
	@touch $@

# The newest versions that pyproject.toml allows become those that everybody gets.
lock: setup
	$(BIN)/pip install -q --upgrade --upgrade-strategy eager -e '.[hub,dev]'
	@echo '# The versions that continuous integration uses; made by `make lock`.' >constraints.txt
	$(BIN)/pip freeze --exclude-editable | grep -viE '^(pip|setuptools)=' >>constraints.txt

test-packages:
	@contrib/system-packages test

check: lint types arrows dead
lint: setup
	$(BIN)/ruff check ./
	$(BIN)/ruff format --check ./
types: setup
	$(BIN)/mypy
arrows: setup
	$(BIN)/lint-imports --no-cache
dead: setup
	$(BIN)/vulture

run:
	@contrib/run-demo $(PYTHON) $(VENV)

# The tiers, the longest first, JOBS of them side by side: each has engines of its own.
test: setup test-packages check
	@$(MAKE) --no-print-directory --keep-going --output-sync=target -j $(JOBS) \
		$(TIERS:%=test-%)

test-unit: setup
	$(BIN)/pytest tests/unit
$(filter-out test-unit,$(TIERS:%=test-%)): test-%: setup test-packages
	$(BIN)/pytest tests/$*

bench: setup test-packages
	$(BIN)/python -m bench

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
