# make app: set everything up and open the app.  make check: lint and the quick tests.  make test: all tests.
# Without make (Windows, Spaces) see the README.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

app: $(VENV)/.app
	$(BIN)/python app.py

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n 2 -m "not slow"

test: $(VENV)/.dev
	@command -v chromium-headless-shell chromium chromium-browser google-chrome >/dev/null || $(BIN)/python -m playwright install --only-shell chromium
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

$(VENV)/.app: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@ $(VENV)/.app

.PHONY: app check test
