# Everything runs in .venv, which `make venv` makes on a machine with only Python, pip and make.
PYTHON ?= python3
BIN := .venv/bin
# Three processes on two processors: many tests wait for a server or an interval.
TESTS := -m pytest -n 3 --dist worksteal --durations 10 --durations-min 0.5
PYTEST := $(BIN)/python $(TESTS)

.PHONY: venv demo docs pictures fast test test-all test-oldest test-newest test-small check bench clean

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

# The site of docs/, in docs/_build/index.html, as a whole each time, since much of it is made from the code. A warning is an
# error, and so is a link that leads nowhere.
docs: venv
	$(BIN)/sphinx-build -q -E -W --keep-going -n -c docs . docs/_build

# What docs/pictures has, anew from real runs: some minutes. Needs Debian's chromium; otelcol and prometheus as `make bench` does.
pictures: venv
	$(BIN)/python -m pictures

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Three sizes of one suite: while writing, before a commit, before a change lands.
fast: venv
	$(PYTEST) -q -m 'not slow' tests/unit

test: check
	$(PYTEST) -m 'not slow'

test-all: check
	$(PYTEST)

# tests/packaging and tests/docs are about this tree and need the tools of the group dev: other environments leave them out.
OTHERS := $(TESTS) -m 'not slow' --ignore tests/packaging --ignore tests/docs

# The oldest release of everything that is declared.
.venv-oldest/.installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install -q 'pip>=25.1'
	.venv-oldest/bin/python -m pip install -q -c constraints-oldest.txt torch==2.13.0
	.venv-oldest/bin/python -m pip install -q -c constraints-oldest.txt -e '.[all]' --group test
	touch $@

test-oldest: .venv-oldest/.installed
	.venv-oldest/bin/python $(OTHERS)

# The newest release of everything, as the registry has it today; torch stays, since a plain one is gigabytes.
test-newest:
	rm -rf .venv-newest
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install -q -U pip
	.venv-newest/bin/python -m pip install -q torch==2.13.0
	.venv-newest/bin/python -m pip install -q -U --upgrade-strategy eager -e '.[all]' --group test 'torch==2.13.0'
	@echo 'Newer than in constraints.txt:'
	@.venv-newest/bin/python -m pip freeze --exclude-editable | sed "s,+cpu$$,," | grep -vixFf constraints.txt || true
	.venv-newest/bin/python $(OTHERS)

# What needs neither torch nor a tracker, on another Python: `make test-small PYTHON=python3.13`.
VERSION = $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
SMALL = .venv-small-$(VERSION)
CONSTRAINTS = $(firstword $(wildcard constraints-$(VERSION).txt) constraints.txt)
test-small:
	$(PYTHON) -m venv $(SMALL)
	$(SMALL)/bin/python -m pip install -q 'pip>=25.1'
	$(SMALL)/bin/python -m pip install -q -c $(CONSTRAINTS) -e '.[gpu,system]' --group small
	$(SMALL)/bin/python $(TESTS) -m 'not slow and not whole' tests/unit tests/identity tests/gpu tests/otlp

# Wants two processors that do nothing else, on slow ones for more than an hour; needs otelcol, on PATH or in the directory that TRACELET_TOOLS names.
# Beside TraceML only where TRACEML_PYTHON names an interpreter that has it: `pip install traceml-ai lightning`, elsewhere.
bench: venv
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.parts
	$(BIN)/python -m benchmarks.start
	$(BIN)/python -m benchmarks.throughput
	$(BIN)/python -m benchmarks.wandb_parts
	$(BIN)/python -m benchmarks.phases
	$(BIN)/python -m benchmarks.checkpoints
	$(if $(TRACEML_PYTHON),$(BIN)/python -m benchmarks.verdicts --traceml-python $(TRACEML_PYTHON))
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.ranks
	$(BIN)/python -m benchmarks.nodes
	$(BIN)/python -m benchmarks.outage
	$(BIN)/python -m benchmarks.gpu_collection
	$(BIN)/python -m benchmarks.zero_code_start
	$(BIN)/python -m benchmarks.report

clean:
	rm -rf .venv .venv-* demo-output build dist docs/_build
