# Two commands do everything on a fresh machine: `make demo` and `make test`. Each sets up .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# optimum holds transformers below 4.58, so it has an environment of its own.
OPTIMUM_VENV ?= .venv-optimum
OPTIMUM_READY := $(OPTIMUM_VENV)/.ready

.PHONY: demo test test-arm test-optimum check format clean

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("edgecompress needs Python 3.11 or newer: make PYTHON=python3.11 …" if sys.version_info < (3, 11) else 0)'
	@echo "Setting up $(VENV): torch and transformers are large, this takes some minutes the first time."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	@touch $(READY)

demo: $(READY) ## Make a Slovak and Swahili student of multilingual-e5-small and measure it (15 to 30 minutes on two cores)
	$(BIN)/edgecompress demo -o demo-out

test: $(READY) ## Run the tests
	$(BIN)/python -m pytest

test-arm: $(READY) ## The demo's students on emulated ARM beside this machine (after `make demo`; Debian's qemu-user and debootstrap; an hour)
	$(BIN)/python benchmarks/arm.py demo-out/artifacts -o .arm

$(OPTIMUM_READY): pyproject.toml constraints-optimum.txt edgecompress/commands/optimum_cli.py
	@echo "Setting up $(OPTIMUM_VENV): a second torch and transformers, this takes some minutes the first time."
	$(PYTHON) -m venv $(OPTIMUM_VENV)
	$(OPTIMUM_VENV)/bin/python -m pip install --quiet --constraint constraints-optimum.txt --editable '.[compress,offline,report,serve,dev,optimum]'
	@touch $(OPTIMUM_READY)

test-optimum: $(OPTIMUM_READY) ## Run the tests with optimum and transformers 4.57
	$(OPTIMUM_VENV)/bin/python -m pytest

check: $(READY) ## Lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Rewrite files as `check` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove what demo and tests made
	rm -rf demo-out .pytest_cache .mypy_cache .ruff_cache .hypothesis
