# The two commands that a fresh machine needs, and what continuous integration runs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test extras lint docs install clean

demo: $(VENV)/.installed
	$(BIN)/flambeau demo

# two workers with a thread each: two threads each would take a fourth more of two processors, to wait for one another
test: $(VENV)/.tools
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2 --dist loadscope

# each page and demo in an environment with the extras that it names, and no others
extras: $(VENV)/.tools
	$(BIN)/python -m pytest -n 2 tests/extras -m extras

# the site, English and 简体中文, into site/; a link that leads nowhere ends it
docs: $(VENV)/.tools
	$(BIN)/python docs/build.py site $(PLAIN)

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
	$(PIP) -e '.[all,test,lint,docs]'
	touch $@

clean:
	rm -rf $(VENV) .venv-extras .pytest_cache .mypy_cache .ruff_cache build site *.egg-info
