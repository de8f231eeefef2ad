# Two commands do everything on a machine that has Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Compiled modules are kept even where the environment says otherwise: importing torch from source takes half a minute.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install demo test lint types unit bench nano lock clean

# The lock file is the whole set of packages, so nothing is resolved and nothing conflicts at install time.
$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	touch $@

install: $(VENV)/.installed

demo: install
	$(BIN)/loupe demo $(if $(VIDEO),"$(VIDEO)") $(if $(Q),"$(Q)")

test: lint types unit

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install
	$(BIN)/mypy

# Tests that start processes of their own, or measure how they share a machine, go one after the other.
unit: install
	$(BIN)/pytest -m "not slow" -n logical
	$(BIN)/pytest -m slow

bench: install
	$(BIN)/loupe bench all

# Hours on two cores; goes on where it was stopped. BEGUN=FOLDER starts with a run that --pack wrote there.
nano: install
	$(BIN)/python -m training.nano --resume $(if $(BEGUN),--begun $(BEGUN)) $(if $(CONFIG),--config $(CONFIG)) \
		$(if $(MINUTES),--minutes $(MINUTES))

lock: install
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--no-emit-index-url --no-header --no-annotate --quiet -o requirements.lock

clean:
	rm -rf $(VENV) out
