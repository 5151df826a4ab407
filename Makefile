# Two commands do everything on a fresh machine: `make demo` and `make test`. Each sets up .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check format clean

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("edgecompress needs Python 3.11 or newer: make PYTHON=python3.11 …" if sys.version_info < (3, 11) else 0)'
	@echo "Setting up $(VENV): torch and transformers are large, this takes some minutes the first time."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	@touch $(READY)

demo: $(READY) ## Make a Slovak and Swahili student of multilingual-e5-small and measure it (about 15 minutes on two cores)
	$(BIN)/edgecompress demo -o demo-out

test: $(READY) ## Run the tests
	$(BIN)/python -m pytest

check: $(READY) ## Lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Rewrite files as `check` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove what demo and tests made
	rm -rf demo-out .pytest_cache .mypy_cache .ruff_cache .hypothesis
