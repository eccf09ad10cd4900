# make demo: draw pictures, embed them, lay them out, serve them.   make test: the whole suite.
PYTHON ?= python3
PORT ?= 8001
DATASETTE_1 = 1.0a41
BIN = .venv/bin

.PHONY: demo test lint chromium readme

demo: .venv/ready
	$(BIN)/python demo/draw.py demo/pictures
	$(BIN)/datasette imgsim embed demo/demo.db demo/pictures
	$(BIN)/datasette imgsim map demo/demo.db
	@echo
	@echo "The gallery: http://127.0.0.1:$(PORT)/demo/images/-/imgsim   (Ctrl-C ends)"
	@echo "The map:     http://127.0.0.1:$(PORT)/demo/images/-/imgsim/map"
	@echo
	$(BIN)/datasette demo/demo.db --port $(PORT) \
		--setting default_page_size 50 --metadata demo/metadata.json

test: .venv/ready .datasette-1/ready chromium
	$(BIN)/python -m pytest
	PYTHONPATH=.datasette-1 $(BIN)/python -m pytest -m datasette

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

readme: .venv/ready
	$(BIN)/cog -r README.md docs/*.md

.venv/ready: setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[test]' 'datasette<1.0'
	touch $@

# The newest Datasette of the 1.0 series, put before the other one by PYTHONPATH.
.datasette-1/ready: .venv/ready
	rm -rf .datasette-1
	$(BIN)/python -m pip install --quiet --target .datasette-1 datasette==$(DATASETTE_1)
	touch $@

# For the tests of the pages: the system's own Chromium, else Debian's, else Playwright's.
chromium: .venv/ready
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null \
		|| command -v google-chrome >/dev/null \
		|| { [ "$$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq install -y chromium >/dev/null; } \
		|| $(BIN)/playwright install chromium \
		|| echo "Chromium cannot be had here: the tests that need it are skipped"
