# The commands a newcomer needs. `make help` lists them.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV_COMPILE = $(BIN)/uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

lock: ## Pin the dependencies anew (hashes, no index address)
	$(UV_COMPILE) pyproject.toml requirements/build.in -o requirements/run.lock
	$(UV_COMPILE) pyproject.toml requirements/build.in requirements/test.in -o requirements/test.lock
