# Everything is installed and written below this folder: .venv for development, .demo for the demo and pip's cache.
# Another Python is chosen with `make PYTHON=python3.12 …`, other ports with `make demo PLAYGROUND_PORT=8801`.

PYTHON ?= python3
VENV := .venv
BUILDBOT := .demo/buildbot-env
JOBS ?= 4

export PIP_CACHE_DIR := $(CURDIR)/.demo/pip-cache
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export UV_CACHE_DIR := $(CURDIR)/.demo/uv-cache
export PLAYGROUND_PORT ?= 8800
export BOT_PORT ?= 3000
export BUILDBOT_PORT ?= 8010
export GREETER_PORT ?= 8020
export PROMETHEUS_PORT ?= 9090

PIP_INSTALL := -m pip install -qq --require-hashes --requirement
COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

.DEFAULT_GOAL := help
.PHONY: help setup demo test check crash benchmarks buildbot lock clean tools

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.dev ## Install everything for development into .venv

demo: $(VENV)/.run $(BUILDBOT)/.installed ## Run the bot, a real Buildbot and a chat playground in the browser
	@exec $(VENV)/bin/python -m playground.demo

test: setup buildbot ## Run all tests and checks
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/pytest -n $(JOBS)

check: setup ## Run the quick checks and the quick tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/pytest -n $(JOBS) -m "not buildbot and not browser and not slow"

crash: setup ## Kill the bot at every named point and 200 times at random (SEED=… goes on, CRASH="--help" tells more)
	$(VENV)/bin/python -m tests.crash.campaign --seed "$(SEED)" $(CRASH)

benchmarks: setup ## Measure, and print each figure beside its yardstick
	$(VENV)/bin/python -m benchmarks

buildbot: $(BUILDBOT)/.installed ## Install Buildbot for the demo and the tests, into .demo

lock: setup ## Write the lock files anew
	$(VENV)/bin/python -m pip install --quiet uv
	$(COMPILE) pyproject.toml --extra charts --extra postgres --output-file requirements.lock
	$(COMPILE) pyproject.toml --extra charts --extra postgres --group dev --output-file requirements-dev.lock
	$(COMPILE) playground/buildbot.in --output-file playground/buildbot.lock

clean: ## Remove all that was installed and made
	rm -rf $(VENV) .demo .crash .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

tools:
	@command -v git >/dev/null || { echo "git is missing. On Debian and Ubuntu: apt install git"; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing. On Debian and Ubuntu: apt install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1). Another one: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "Python's venv is missing. On Debian and Ubuntu: apt install $$($(PYTHON) -c \
		'import sys; print("python3-venv or python%d.%d-venv" % sys.version_info[:2])')"; exit 1; }

# An environment is made when it is missing; what is in it follows the lock files' stamps.
$(VENV)/bin/python: | tools
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing Shipmate's dependencies"
	@$(VENV)/bin/python $(PIP_INSTALL) requirements.lock
	@$(VENV)/bin/python -m pip install -qq --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing Shipmate's dependencies, and the tools to develop it"
	@$(VENV)/bin/python $(PIP_INSTALL) requirements-dev.lock
	@$(VENV)/bin/python -m pip install -qq --no-deps --editable .
	@touch $@ $(VENV)/.run

$(BUILDBOT)/.installed: playground/buildbot.lock | tools
	@echo "Installing Buildbot"
	@$(PYTHON) -m venv --clear $(BUILDBOT)
	@$(BUILDBOT)/bin/python $(PIP_INSTALL) playground/buildbot.lock
	@touch $@
