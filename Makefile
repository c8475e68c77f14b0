# make demo         run the whole chain on simulated images, in minutes on two CPU cores
# make test         lint, unit tests, and one small run of the whole workflow
# make test-slurm   start a real SLURM on this machine (root, Debian's slurm-wlm and munge) and run the workflow on it
# make graph        draw the graph of rules (needs graphviz)
# They set up what they need first: Python 3.11 or newer and nothing else is required. Any other Python: make demo PYTHON=python3.12

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# The name carries the lock file's checksum: another set of pins installs anew.
READY  := $(VENV)/ready-$(shell cksum < requirements.lock | cut -d' ' -f1)
DEMO   := results/demo
UNITS  := not workflow and not slurm and not online
JOBS   ?= 2

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup demo test test-workflow test-stages test-rest test-slurm lint graph clean-demo
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile | head -5

setup: $(READY)

demo: $(READY)
	@echo "demo: running the chain on simulated images into $(DEMO)/ (again: continues, or does nothing when complete)"
	@snakemake --profile workflow/profiles/demo
	@python -m specdm summarise $(DEMO)/tables/downstream.csv --synthesis $(DEMO)/tables/synthesis.csv --alignment $(DEMO)/tables/alignment.csv
	@echo "tables    $(DEMO)/tables/"
	@echo "pictures  $(DEMO)/figures/"
	@echo "report    $(DEMO)/report.html"

test: $(READY) lint
	@echo "test: one small run of the whole workflow and unit tests, $(JOBS) parts at a time"
	@$(MAKE) --no-print-directory -j$(JOBS) test-workflow test-stages test-rest

test-workflow: $(READY)
	@python -m pytest -m workflow tests/test_workflow.py tests/test_workflow_reruns.py tests/test_workflow_acquire.py

test-stages: $(READY)
	@python -m pytest -m "$(UNITS)" tests/stages tests/nn

test-rest: $(READY)
	@python -m pytest -m "$(UNITS)" tests --ignore tests/stages --ignore tests/nn

test-slurm: $(READY)
	@echo "test-slurm: the workflow on a SLURM that is started for it, and through what clusters do to jobs"
	@python -m pytest -m slurm -rs tests/cluster

graph: $(READY)
	@snakemake --rulegraph dot 2> /dev/null | tred | dot -Tsvg > docs/pictures/rules.svg

lint: $(READY)
	@echo "lint: ruff, snakefmt"
	@ruff check .
	@ruff format --check .
	@snakefmt --check --compact-diff Snakefile rules

clean-demo:
	rm -rf $(DEMO)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "SpecDM needs Python 3.11 or newer, $(PYTHON) is older: give another one with PYTHON=..."; exit 1; }
	@echo "setup: installing the pinned packages into $(VENV) (about 6 GB; minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@rm -f $(VENV)/ready-* && touch $@
