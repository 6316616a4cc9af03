# Everything runs in .venv, which `make venv` makes on a machine with only Python, pip and make.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: venv demo test test-all test-oldest check bench clean

venv: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q 'pip>=25.1'
	$(BIN)/python -m pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[all]' --group dev
	touch $@

# `make demo BACKEND=mlflow,wandb,clearml` records into all three.
BACKEND ?= mlflow
demo: venv
	mkdir -p demo-output
	cd demo-output && PATH="$(CURDIR)/$(BIN):$$PATH" python ../examples/digits.py --backend $(BACKEND)

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(PYTEST) -m 'not slow'

test-all: check
	$(PYTEST)

.venv-oldest/.installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install -q 'pip>=25.1'
	.venv-oldest/bin/python -m pip install -q -c constraints-oldest.txt torch==2.13.0
	.venv-oldest/bin/python -m pip install -q -c constraints-oldest.txt -e '.[mlflow,distro]' --group test
	touch $@

test-oldest: .venv-oldest/.installed
	.venv-oldest/bin/python -m pytest -n 2 --dist worksteal -m 'not slow'

# Wants two processors that do nothing else, on slow ones for more than an hour; needs otelcol, on PATH or in the directory that TRACELET_TOOLS names.
bench: venv
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.parts
	$(BIN)/python -m benchmarks.start
	$(BIN)/python -m benchmarks.throughput
	$(BIN)/python -m benchmarks.wandb_parts
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.gpu_collection
	$(BIN)/python -m benchmarks.zero_code_start
	$(BIN)/python -m benchmarks.report

clean:
	rm -rf .venv .venv-oldest demo-output build dist
