PYTHON ?= python3
BIN = .venv/bin

run: .venv/installed
	@$(BIN)/python app.py

test: .venv/installed
	@$(BIN)/pytest

test-quick: .venv/installed
	@$(BIN)/pytest tests/api

drills: .venv/installed
	@$(BIN)/pytest tests/drills -n $(if $(filter short,$(DRILLS)),2,0) -v

bench: .venv/installed
	@$(BIN)/python -m bench.run $(BENCH)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r requirements.txt

.venv/installed: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

.PHONY: run test test-quick drills bench lint audit
