# Needs make and Python 3.11 or newer, nothing else. `make` alone lists the targets.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := $(shell find kvsync -name '*.py' 2>/dev/null)
PYTEST_ARGS ?=

# Tests write many small databases: they go to memory where a file system there has 4 GB left and runs programs.
IN_MEMORY := $(shell free=$$(df -k --output=avail /dev/shm 2>/dev/null | tail -n 1); [ "$${free:-0}" -gt 4000000 ] && \
	tried=$$(mktemp -p /dev/shm) && cp /bin/true "$$tried" && chmod +x "$$tried" && "$$tried" && echo TMPDIR=/dev/shm; rm -f "$$tried")

# Otherwise each process that runs tests would compile all of them again.
export PYTHONDONTWRITEBYTECODE :=

# The first interpreter that is new enough and can make virtual environments; PYTHON=… on the command line wins.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-system tools lint format coverage bench docs site screenshots sbom lock clean

help:  ## what you can do here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.compiled  ## set up .venv with kvsync in it (.venv/bin/kvsync)

demo: install  ## watch kvsync keep a store equal to examples/quickstart (DEMO=once: one pass, then exit)
	@$(BIN)/python scripts/demo.py $(DEMO)

test: style  ## everything that needs no fresh machine: ruff, mypy --strict, bandit, tests
	@$(MAKE) --no-print-directory -j 2 analysis tests

# mypy keeps one processor busy, so that others can begin with the tests.
.PHONY: style analysis tests
style: $(VENV)/.dev $(VENV)/.compiled
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

analysis: $(VENV)/.dev $(VENV)/.compiled
	$(BIN)/mypy
	$(BIN)/bandit --quiet -c pyproject.toml -r kvsync

tests: $(VENV)/.dev $(VENV)/.compiled
	$(IN_MEMORY) $(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

test-system: $(VENV)/.dev $(VENV)/.compiled tools  ## install kvsync in a fresh environment, boot it, build its image, try more examples (all of it: as root, on Debian)
	$(IN_MEMORY) $(BIN)/python -m pytest -m system $(ALONE) $(PYTEST_ARGS)
	$(BIN)/python -m pytest -m system -n auto --dist loadfile $(MACHINES) $(PYTEST_ARGS)
	$(IN_MEMORY) $(BIN)/python -m pytest -m system -n auto $(OTHERS) $(PYTEST_ARGS)
	$(IN_MEMORY) $(BIN)/python -m pytest -n auto -m 'hypothesis and not system' --hypothesis-profile full $(PROPERTIES) $(PYTEST_ARGS)

# These run replicas against leases of seconds, or keep all processors busy themselves: one after the other.
ALONE := $(addprefix tests/,episodes leader)
# These boot machines, install kvsync or live through weeks: the tests of one file one after the other.
MACHINES := $(addprefix tests/,deploy simulation status/test_page_browser.py test_packaging.py test_system.py)
# The files that such tests are in: to collect all others would take a minute each time (tests/conftest.py checks the patterns).
OTHERS := $(filter-out $(addsuffix %,$(ALONE) $(MACHINES)),$(shell grep -rlE 'mark\.system|one_and_more' tests --include='test_*.py'))
PROPERTIES := $(shell grep -rlE '^(from|import) hypothesis' tests --include='test_*.py')

tools:  ## install what some tests need besides Python packages: a browser, promtool, what boots systems (as root, on Debian)
	@scripts/system_tools.sh

lint: style analysis  ## ruff, mypy --strict and bandit

format: $(VENV)/.dev  ## let ruff lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(VENV)/.dev $(VENV)/.compiled  ## line and branch coverage of the core by its own tests (fails below the gate in pyproject.toml)
	$(BIN)/python -m pytest -n auto --cov --cov-report=term $(CORE_TESTS) $(PYTEST_ARGS)

CORE_TESTS := $(addprefix tests/,app apply config desired planning reconcile state yaml)

bench: $(VENV)/.dev $(VENV)/.compiled  ## print the measured costs, and write them to docs/performance.md (BENCH=plan: one part)
	$(BIN)/python -m tests.benchmarks $(if $(BENCH),$(BENCH),--write docs/performance.md)

docs: $(VENV)/.dev  ## write the generated tables in README.md and docs/ again
	$(BIN)/python scripts/generate_docs.py

# Not --quiet: it drops the warnings that --strict counts.
site: $(VENV)/.site  ## build the documentation as a site (site/index.html); a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

screenshots: $(VENV)/.dev $(VENV)/.compiled  ## make the pictures in docs/images again (needs Chromium)
	$(BIN)/python scripts/screenshots.py

sbom: $(VENV)/sbom/.installed  ## list the exact dependencies in CycloneDX (dist/kvsync-VERSION.cdx.json)
	@mkdir -p dist
	PYTHONWARNINGS=ignore $(VENV)/sbom/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible \
		-o dist/kvsync-$(VERSION).cdx.json requirements.txt
	$(BIN)/python scripts/sbom_version.py dist/kvsync-$(VERSION).cdx.json $(VERSION)

VERSION = $(shell sed -n 's/^__version__[^"]*"\(.*\)"$$/\1/p' kvsync/__init__.py)

lock:  ## choose the newest allowed dependencies and pin them again (needs uv)
	uv pip compile $(LOCK) requirements-installer.in -o requirements-installer.txt
	uv pip compile $(LOCK) --extra emulate --extra postgresql pyproject.toml -o requirements.txt
	uv pip compile $(LOCK) requirements-build.in -o requirements-build.txt
	uv pip compile $(LOCK) -c requirements.txt -c requirements-build.txt --extra emulate --extra postgresql --extra tracing pyproject.toml requirements-dev.in -o requirements-dev.txt
	uv pip compile $(LOCK) --no-deps requirements-kubectl.in -o requirements-kubectl.txt
	uv pip compile $(LOCK) --no-deps tests/emulators/sdks/build.in -o tests/emulators/sdks/build.txt
	uv pip compile $(LOCK) --no-deps tests/emulators/sdks/previous.in -o tests/emulators/sdks/previous.txt
	uv pip compile $(LOCK) --no-deps tests/emulators/sdks/vendor-tests.in -o tests/emulators/sdks/vendor-tests.txt
	uv pip compile $(LOCK) -c requirements.txt -c requirements-dev.txt requirements-docs.in -o requirements-docs.txt
	uv pip compile $(LOCK) -c requirements.txt -c requirements-dev.txt -c requirements-docs.txt requirements-sbom.in -o requirements-sbom.txt

LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

clean:  ## remove everything made here, also what the demo left behind
	rm -rf $(VENV) examples/*/.kvsync examples/*/.demo.yaml dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
	find kvsync tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is touched last, so a step that failed is done again.

$(VENV)/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "kvsync needs Python 3.11 or newer with its venv module (on Debian: apt-get install python3-venv)." \
		"Found none; name one with: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "setting up $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)

# pip first: the one that Python bundles may be too old to read the pins below.
$(VENV)/.installer: $(VENV)/pyvenv.cfg requirements-installer.txt
	@$(PIP) install --require-hashes -r requirements-installer.txt
	@touch $@

$(VENV)/.installed: $(VENV)/.installer requirements.txt requirements-build.txt pyproject.toml
	@echo "installing kvsync and its dependencies"
	@$(PIP) install --require-hashes -r requirements.txt -r requirements-build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# Compiled ahead, because PYTHONDONTWRITEBYTECODE may be set where kvsync is used, and every start would compile again.
$(VENV)/.compiled: $(VENV)/.installed $(SOURCES)
	@$(BIN)/python -m compileall -q kvsync
	@touch $@

$(VENV)/.dev: $(VENV)/.installed requirements-dev.txt
	@echo "installing the tools that check and test"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

# Not with the tools above, because only `make site` needs it.
$(VENV)/.site: $(VENV)/.installer requirements-docs.txt
	@echo "installing MkDocs"
	@$(PIP) install --require-hashes -r requirements-docs.txt
	@touch $@

# An environment of its own: its packages have nothing to do with what kvsync runs or is tested with.
$(VENV)/sbom/.installed: $(VENV)/.installer requirements-sbom.txt
	@echo "installing CycloneDX"
	@$(PYTHON) -m venv --clear $(VENV)/sbom
	@$(BIN)/python -m pip --python $(VENV)/sbom/bin/python --disable-pip-version-check --quiet install --require-hashes -r requirements-sbom.txt
	@touch $@
