# Every command works from any path, spaces included, and needs no activated environment.

# Interpreter that .venv is built with: 3.11, 3.12 or 3.13.
PYTHON ?= python3
# Where the environment lives; another path, built by another checkout, may be lent.
VENV ?= .venv
# Test processes.
WORKERS ?= 2
# Ports of `make up`.
PREFECT_PORT ?= 4200
MLFLOW_PORT ?= 5000

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help env run test check format up serve peers bench certificate

VENV_PATH := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))
PY := "$(VENV_PATH)/bin/python"
BUILT_WITH := $(if $(filter-out file default,$(origin PYTHON)),--exactly,)

export PATH := $(VENV_PATH)/bin:$(PATH)
export PREFECT_PORT MLFLOW_PORT
export PYTHONNOUSERSITE := 1
# Nothing leaves the machine.
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false

help:
	@echo "make run     build the environment, run the recipes that params.yaml lists, show the results"
	@echo "make serve   RECIPE=credit: answer raw rows with scores and decisions; Ctrl-C stops it"
	@echo "make up      start Prefect, MLflow and a worker; Ctrl-C stops them"
	@echo "make test    all tests"
	@echo "make check   format, lint, types, import rules, doctests"
	@echo "make format  write the format that check asks for"
	@echo "make bench   all benchmarks"
	@echo "make certificate  plant known faults in training, write which are noticed"

env:
	@for python in "$(PYTHON)" "$(VENV_PATH)/bin/python"; do \
	  if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
	  then exec "$$python" tasks/machine/environment.py "$(VENV)" $(BUILT_WITH); fi; done; \
	echo "error: $(PYTHON) is not Python 3.11, 3.12 or 3.13: name one, make PYTHON=/path/to/python3.12" >&2; exit 1

run: env
	@$(PY) -m dvc repro
	@$(PY) -m tasks.show

test: env
	@$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests

check: env
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -c "from importlinter.cli import lint_imports_command as run; run()"
	@$(PY) -m pytest -q --doctest-modules rnn tasks flows

format: env
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

up: env
	@exec $(PY) -m tasks.machine.up

RECIPE ?= credit
SERVE ?=
serve: env
	@exec $(PY) -m tasks.serve "$(RECIPE)" $(SERVE)

# The rivals that cannot share our environment.
PEERS := "$(CURDIR)/.venv.peers"
peers: env
	@test -f $(PEERS)/whole || { \
	  rm -rf $(PEERS) && $(PY) -m venv $(PEERS) && \
	  $(PEERS)/bin/python -m pip install -q -r benchmarks/peers/requirements.txt && \
	  touch $(PEERS)/whole; }

bench: env peers
	@$(PY) -m benchmarks

# Before each release.
certificate: env
	@$(PY) -m tasks.certificate
