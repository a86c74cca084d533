# `make demo` shows the whole job on the embedded subject; `make test` runs the test suite.
# Both set everything up first; nothing needs to be installed but git, make and Python >= 3.11.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# A file's tests run in one of two processes, so that what they share is made once; in the order of names, so that
# no long file comes last.
TWO := -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test thorough check coverage lint docs bench scorecard trees gates torture clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "nbbench needs Python >= 3.11; name one with: make PYTHON=/path/to/python3"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: install the venv package"; exit 2; }
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,postgresql,cluster]'
	@touch $@

setup: $(STAMP) ## Make .venv and install nbbench into it

demo: $(STAMP) ## Run the whole job on the embedded subject (minutes; repeat to resume)
	@$(BIN)/nbbench demo

test: $(STAMP) ## Run linters, type checks and the whole test suite
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest $(TWO) --ignore=tests/e2e
	$(BIN)/python -m pytest $(TWO) tests/e2e -m 'not thorough' -rs --durations=25

thorough: $(STAMP) ## The end-to-end tests that `make test` leaves out
	$(BIN)/python -m pytest $(TWO) tests/e2e -m thorough

check: $(STAMP) ## The fast part of the tests
	$(BIN)/python -m pytest -q $(TWO) --ignore=tests/e2e

coverage: $(STAMP) ## Line and branch coverage of the fast tests
	$(BIN)/coverage run -m pytest -q --ignore=tests/e2e
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --sort=cover

lint: $(STAMP) ## ruff, mypy and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP) ## Write what the tool writes: docs/cli.md, docs/schemas, the tables of docs/findings.md
	$(BIN)/python -m tests.docs.reference > docs/cli.md
	$(BIN)/python -m tests.docs.schemas
	$(BIN)/python -m tests.docs.blocks docs/findings.md

bench: $(STAMP) ## Timed figures of nbbench itself (never part of the tests)
	$(BIN)/python tests/bench/run.py

# Otava pins an old numpy and asks for clients of clouds and chats; its statistics need none of them.
$(VENV)/.scorecard: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[scorecard]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps apache-otava
	@touch $@

scorecard: $(VENV)/.scorecard ## Change detection beside its peers: docs/scorecard.md (NBBENCH_ASV_DATA=folder)
	$(BIN)/python -m tests.bench.scorecard --out docs/scorecard.md

trees: $(STAMP) ## Other projects' results, viewed and counted: docs/trees.md (NBBENCH_ASV_DATA=folder)
	$(BIN)/python -m tests.bench.trees --out docs/trees.md

gates: $(STAMP) ## Whole gates of harmless changes and of losses (20 minutes; repeat to go on)
	$(BIN)/python -m tests.bench.gate_rows tests/bench/data/gate_runs.jsonl

$(VENV)/.torture: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[torture]'
	@touch $@

torture: $(VENV)/.torture ## Kills, full disks, odd files, clock jumps, two databases (20 minutes)
	$(BIN)/python -m tests.torture

clean: ## Remove everything that make made
	rm -rf $(VENV) .nbbench demo html .pytest_cache .mypy_cache .ruff_cache .hypothesis
