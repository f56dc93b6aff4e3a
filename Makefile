# make app: set everything up and open the app.  make check: lint and the quick tests.  make test: all tests.
# Without make (Windows, Spaces) see the README.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
IN_PARALLEL := -n 2 --no-loadscope-reorder  # tests/conftest.py says which tests stay together

app: $(VENV)/.app
	$(BIN)/python app.py

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest $(IN_PARALLEL) -m "not slow"

test: $(VENV)/.dev
	@{ command -v chromium-headless-shell || command -v chromium || command -v chromium-browser \
	    || command -v google-chrome || $(BIN)/python -m playwright install --only-shell chromium; } >/dev/null
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest $(IN_PARALLEL)

$(VENV)/.app: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@ $(VENV)/.app

.PHONY: app check test
