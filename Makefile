PYTHON ?= python3
BIN = .venv/bin
TOTALS = import json, sys; t = json.load(sys.stdin)["totals"]; \
  print("%.1f %% of lines" % t["percent_statements_covered"], end=", "); \
  print("%.1f %% of branches" % t["percent_branches_covered"])
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

help: ## List the targets
	@echo "Usage: make TARGET, or make TARGET PYTHON=python3.13 to choose the interpreter"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/run-installed ## Serve on http://localhost:3000, with a PostgreSQL of its own
	@$(BIN)/python app.py

test: .venv/installed ## Run the tests
	@$(BIN)/pytest

test-quick: .venv/installed ## Run the tests that start no service
	@$(BIN)/pytest tests/api

coverage: ## Run the tests, and print which lines and branches they reach
	@PYTEST_ADDOPTS='--cov --cov-report=' $(MAKE) --no-print-directory test coverage-report

coverage-report: .venv/installed ## Print the results of the last coverage run again
	@$(BIN)/coverage report --skip-covered --show-missing
	@$(BIN)/coverage json --quiet -o - | $(BIN)/python -c '$(TOTALS)'

drills: .venv/installed ## Break things under load (DRILLS=short takes four minutes)
	@$(BIN)/pytest tests/drills -n $(if $(filter short,$(DRILLS)),2,0) -v

bench: .venv/installed ## Measure what a request costs (BENCH="--help" lists the options)
	@$(BIN)/python -m bench.run $(BENCH)

lint: .venv/installed ## Run ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: .venv/installed ## Look for known vulnerabilities in the packages that the service uses
	$(PIP) pip-audit==2.10.1
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r requirements.txt

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
	  echo 'taskflow: $(PYTHON) is not Python 3.11 or newer; PYTHON=… make takes another' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
	  echo 'taskflow: $(PYTHON) lacks venv; on Debian: apt-get install python3-venv' >&2; exit 1; }
	@$(PYTHON) -m venv .venv

# The interpreter is a link to a file that is older than these, so only its presence counts.
.venv/run-installed: requirements.txt requirements-run.txt | .venv/bin/python
	@echo 'Installing the packages that the service needs into .venv (about 30 s the first time) …'
	@$(PIP) -r requirements-run.txt
	@touch $@

.venv/installed: requirements.txt requirements-run.txt requirements-dev.txt | .venv/bin/python
	@echo 'Installing the packages that the tests need into .venv (about a minute the first time) …'
	@$(PIP) -r requirements-dev.txt
	@touch .venv/run-installed $@

.NOTPARALLEL:
.PHONY: help run test test-quick coverage coverage-report drills bench lint audit
