# The commands a newcomer needs. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

# The first of these that runs and is new enough; `make PYTHON=/somewhere/python3.12 run` chooses another.
PYTHON ?= $(shell for each in python3.11 python3 python3.12 python3.13; do \
	"$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$each"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input
TEST_PACKAGES := dovecot-imapd dovecot-lmtpd postfix postgresql chromium isync swaks openssl
UV_COMPILE = $(BIN)/uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

.PHONY: help run install test lint format bench docs evaluate lock clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: install ## Start the whole service with sample mails; nothing leaves the machine (Ctrl-C ends it)
	@exec $(BIN)/mailrouter run --demo

install: $(VENV)/run.stamp ## Install the program into .venv

test: $(VENV)/test.stamp ## Install what the tests need, then lint, check types and run every test
	@deploy/debian-packages $(TEST_PACKAGES)
	@$(MAKE) --no-print-directory lint
	@echo "Running the tests..."
	@$(BIN)/python -m pytest

lint: $(VENV)/test.stamp ## Check style, format and types
	@echo "Checking style, format and types..."
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "Some files are not formatted: run 'make format'." >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary

format: $(VENV)/test.stamp ## Format the code and mend what a linter can
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

bench: $(VENV)/test.stamp ## Measure doors and reader beside the best (docs/performance.md)
	@deploy/debian-packages $(TEST_PACKAGES) fasttext
	@$(BIN)/python -m bench

docs: $(VENV)/run.stamp ## Write docs/settings.md from the settings
	@$(BIN)/python -m mailrouter.settings_doc > docs/settings.md

evaluate: $(VENV)/test.stamp ## Measure the suggestions on mails never trained on (docs/model.md)
	@$(BIN)/python -m mailrouter.measuring

lock: $(VENV)/test.stamp ## Pin the dependencies anew (hashes, no index address)
	$(UV_COMPILE) pyproject.toml requirements/build.in -o requirements/run.lock
	$(UV_COMPILE) pyproject.toml requirements/build.in requirements/test.in -c requirements/run.lock -o requirements/test.lock

clean: ## Remove the environment and caches; mails and cases under var/ stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed: apt-get install python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || deploy/debian-packages python3-venv
	@echo "Making a Python environment in $(VENV)..."
	@"$(PYTHON)" -m venv $(VENV)

$(VENV)/run.stamp: requirements/run.lock pyproject.toml | $(BIN)/python
	@echo "Installing Python packages (a minute the first time)..."
	@$(PIP) --require-hashes -r requirements/run.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# The packages of run.lock are all in test.lock, in the same versions.
$(VENV)/test.stamp: requirements/test.lock requirements/run.lock pyproject.toml | $(BIN)/python
	@echo "Installing Python packages, those of the tests too (a minute or two the first time)..."
	@$(PIP) --require-hashes -r requirements/test.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $(VENV)/run.stamp $@
