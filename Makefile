# One command each; `make` alone lists them. ARGS goes to the program behind a target: make test ARGS="-k saga".
#
# `setup` needs Python 3.11 to 3.14, and nothing else: PYTHON=... names one, otherwise the first that works is taken.
# It writes into .venv and the caches of uv and pip. Each package comes from requirements.lock, as a wheel whose hash is
# checked; `uv` is taken from PATH if it is there, and otherwise from requirements.lock too.

.DEFAULT_GOAL := help
.PHONY: help setup demo test next servers lint fmt chaos peers picture bench audit lock dist stale
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
AUDITED := requirements.lock
# The library and the services: two distributions, one lock.
PROJECTS := pyproject.toml services/pyproject.toml
# Tests wait more than they compute: one process more than there are cores, and each file in one of them, the slow ones of
# tests/e2e first. A test that had to be ended ends the run. ARGS="-n 0" runs all in one process.
DIVIDED := -n auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0
# The next release of aiokafka, beside the packages of .venv and found before its own.
NEXT := $(VENV)/next
# What runs with it: the library, and the part of the services that knows a client's inner state (closing.py).
AHEAD := tests/unit/tracing tests/integration/tracing tests/integration/messaging/test_silent_broker.py
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo $(BIN)/uv)
PYTHONS := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
# Each candidate is run: a shim on PATH may be unable to start, and Debian packs ensurepip apart from Python.
FITS := import ensurepip, sqlite3, ssl, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
# Not empty where .venv is to be made anew: it is not there, not finished, its Python is gone, or it came here with its
# folder from another path (a virtual environment holds its own).
STALE := $(shell [ "$$(cat $(READY) 2>/dev/null)" = "$(CURDIR)" ] && $(BIN)/python -c '' 2>/dev/null || echo stale)

export UV_PYTHON_DOWNLOADS := never
# Where this is set, every process of the tests compiles what has changed since `setup`, and pytest all of the tests.
unexport PYTHONDONTWRITEBYTECODE

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## the project's environment, .venv; a no-op when it is up to date
	@echo "$(VENV) is ready: $$($(BIN)/python --version)"

demo: $(READY) ## five order sagas, each one connected trace, on an embedded broker
	@$(BIN)/sagatrace demo $(ARGS)

test: $(READY) ## all tests
	@$(BIN)/python -m pytest $(DIVIDED) $(ARGS)

next: $(NEXT)/.ready ## the tests of `tracing` with the next release of aiokafka
	@PYTHONPATH=$(CURDIR)/$(NEXT) $(BIN)/python -c 'import aiokafka; print("aiokafka", aiokafka.__version__)'
	@PYTHONPATH=$(CURDIR)/$(NEXT) $(BIN)/python -m pytest $(DIVIDED) $(AHEAD) $(ARGS)

servers: $(READY) ## the real servers that tests run on, built or fetched into .sagatrace; ARGS="--require kafka,jaeger"
	@$(BIN)/python -m tests.servers $(ARGS)

lint: $(READY) ## format, style, public docstrings (ruff's D rules), types, direction of imports
	$(BIN)/ruff format --check
	$(BIN)/ruff check $(ARGS)
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(READY) ## format, and mend what ruff can mend
	$(BIN)/ruff check --fix-only $(ARGS)
	$(BIN)/ruff format

chaos: $(READY) ## random kills over all services on the real parts; KILLS=1000 SEED=1
	@$(BIN)/python -m tests.chaos $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

peers: $(READY) ## contrib's own tests, with its instrumentation and with ours; fetches them
	@$(BIN)/python -m tests.peers

picture: $(READY) ## the README's picture, from the demo's own trace.html; needs Chromium; ARGS=FOLDER of a demo
	@$(BIN)/python -m tests.browser.picture $(ARGS)

bench: $(READY) ## the measured claims
	@$(BIN)/python -m benchmarks $(ARGS)

audit: $(READY) ## known vulnerabilities of the locked packages; asks PyPI, or ARGS="--vulnerability-service osv"
	@$(BIN)/pip-audit --requirement $(AUDITED) --strict --no-deps --disable-pip --progress-spinner off $(ARGS) \
		2>$(VENV)/audit.log; status=$$?; tail -n 1 $(VENV)/audit.log >&2; \
	if [ $$status -ne 0 ] && ! grep -q '^Found [0-9]' $(VENV)/audit.log; then \
		echo "make audit: nothing was checked, the advisory data can't be had from here (the line above says why)" >&2; \
		exit 2; \
	fi; exit $$status

lock: | $(READY) ## requirements.lock from both pyproject.toml; ARGS=--upgrade takes newer versions
	$(BIN)/uv pip compile $(PROJECTS) --all-extras --group dev --output-file requirements.lock \
		--universal --python-version 3.11 --generate-hashes --only-binary :all: --no-emit-package sagatrace \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet $(ARGS)

dist: $(READY) ## both distributions, wheel and sdist, built without a download and looked at, in ./dist
	@rm -rf dist
	@for project in . services; do \
		$(BIN)/uv build --quiet --offline --no-build-isolation --python $(BIN)/python --out-dir dist $$project || exit; \
	done
	@$(BIN)/twine --no-color check --strict dist/*.whl dist/*.tar.gz
	@$(BIN)/check-wheel-contents --toplevel tracing dist/sagatrace-*.whl
	@# The services' migrations are alike, and begin with a number: Alembic loads them by their path.
	@$(BIN)/check-wheel-contents --toplevel services --ignore W002,W004 dist/sagatrace_services-*.whl

$(READY): requirements.lock $(PROJECTS) $(STALE)
	@[ -z "$(STALE)" ] || { $(NEW_VENV); }
	@rm -f $@
	@if [ $(UV) = $(BIN)/uv ] && [ ! -x $(BIN)/uv ]; then $(GET_UV); fi
	@echo "installing requirements.lock into $(VENV)"
	@$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes --only-binary :all: requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . --editable services
	@$(BIN)/python -m compileall -q tracing services
	@echo "$(CURDIR)" > $@

$(NEXT)/.ready: requirements-next.lock $(READY)
	@rm -rf $(NEXT)
	@echo "installing requirements-next.lock into $(NEXT)"
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --target $(NEXT) --no-deps \
		--require-hashes --only-binary :all: --requirement requirements-next.lock
	@touch $@

define NEW_VENV
for python in $(PYTHONS); do \
	if "$$python" -c '$(FITS)' >/dev/null 2>&1; then \
		"$$python" -m venv --clear --without-pip $(VENV); exit; \
	fi; \
done; \
echo "No Python from 3.11 to 3.14 with venv, ssl and sqlite3 runs under these names: $(PYTHONS)" >&2; \
echo "Install one (Debian, Ubuntu: apt install python3-venv), or name it: make setup PYTHON=/path/to/python3" >&2; \
exit 1
endef

define GET_UV
sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.txt && \
$(BIN)/python -m ensurepip >/dev/null && \
$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--require-hashes --only-binary :all: --requirement $(VENV)/uv.txt
endef
