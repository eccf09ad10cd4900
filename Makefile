# make demo: draw pictures, embed them, lay them out, serve them.   make test: the whole suite.
PYTHON ?= python3
PORT ?= 8001
DATASETTE_1 = 1.0a41
TORCH_CPU = https://download.pytorch.org/whl/cpu
BIN = .venv/bin
PARALLEL = --numprocesses auto --dist loadfile
PIP = $(BIN)/python -m pip --quiet

.PHONY: demo test test-scale lint chromium readme

demo: .venv/ready
	$(BIN)/python demo/draw.py demo/pictures
	$(BIN)/datasette imgsim embed demo/demo.db demo/pictures
	$(BIN)/datasette imgsim map demo/demo.db
	$(BIN)/datasette imgsim duplicates demo/demo.db
	@echo
	@echo "The gallery: http://127.0.0.1:$(PORT)/demo/images/-/imgsim   (Ctrl-C ends)"
	@echo "The map:     http://127.0.0.1:$(PORT)/demo/images/-/imgsim/map"
	@echo
	$(BIN)/datasette demo/demo.db --port $(PORT) \
		--setting default_page_size 50 --metadata demo/metadata.json

test: .venv/dev .datasette-1/ready chromium
	$(BIN)/python -m pytest $(PARALLEL)
	PYTHONPATH=.datasette-1 $(BIN)/python -m pytest $(PARALLEL) -m datasette

# What needs Ray and Milvus, which are started on this machine.
test-scale: .venv/scale
	$(BIN)/python -m pytest tests/scale

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

readme: .venv/dev
	$(BIN)/cog -r README.md docs/*.md

# The build of torch for the processor alone is some GB smaller than the one on PyPI, but has an
# index of its own. Where that cannot be had, the one on PyPI does as well. Both packages must come
# from the same index, or they do not fit: so pip's own settings are left out here.
.venv/torch:
	$(PYTHON) -m venv .venv
	$(PIP) install --upgrade pip
	@if { PIP_CONFIG_FILE=/dev/null $(PIP) --isolated install --timeout 5 --retries 0 \
			--index-url $(TORCH_CPU) torch torchvision \
		&& $(BIN)/python -c "import torchvision"; } 2>/dev/null; \
	then echo "Installed the torch for the processor alone, from $(TORCH_CPU)"; \
	else echo "$(TORCH_CPU) cannot be had: installing the torch of PyPI, which can take some GB"; \
		$(PIP) uninstall --yes torch torchvision 2>/dev/null; \
	fi
	@touch $@

# What a user has.
.venv/ready: .venv/torch setup.py
	$(PIP) install --editable '.[embed,shards]'
	@touch $@

# With what tests and lint need.
.venv/dev: .venv/ready pyproject.toml
	$(PIP) install --group dev 'datasette<1.0'
	@touch $@

.venv/scale: .venv/dev
	$(PIP) install --editable '.[embed,ray,milvus]'
	@touch $@

# The newest Datasette of the 1.0 series, put before the other one by PYTHONPATH.
.datasette-1/ready: .venv/dev
	rm -rf .datasette-1
	$(PIP) install --target .datasette-1 datasette==$(DATASETTE_1)
	@touch $@

# For the tests of the pages: CHROMIUM, else the system's own, else Debian's, else Playwright's.
chromium: .venv/dev
	@test -n "$(CHROMIUM)" || command -v chromium || command -v chromium-browser \
		|| command -v google-chrome \
		|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
			&& echo "No Chromium here: apt-get installs it now for the whole system." \
				"To avoid that: make test CHROMIUM=/path/to/one" \
			&& apt-get -qq update && apt-get -qq install -y chromium >/dev/null; } \
		|| $(BIN)/playwright install chromium \
		|| echo "No Chromium can be had: the tests that need it are skipped (with CI set, they fail)"
