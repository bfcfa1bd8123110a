# The two commands that a fresh machine needs, and what continuous integration runs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint install clean

demo: $(VENV)/.installed
	$(BIN)/flambeau demo

test: $(VENV)/.tools
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2 --dist loadscope

lint: $(VENV)/.tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[all]'
	touch $@

$(VENV)/.tools: $(VENV)/.installed
	$(PIP) -e '.[all,test,lint]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build *.egg-info
