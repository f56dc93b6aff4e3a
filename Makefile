# make app: set everything up and open the app.  make test: set up and pass the tests.
# Without make (Windows, Spaces) see the README.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

app: $(VENV)/.app
	$(BIN)/python app.py

test: $(VENV)/.dev
	@command -v chromium chromium-browser google-chrome >/dev/null || $(BIN)/python -m playwright install --only-shell chromium
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

.PHONY: app test
