# Everything that a developer runs. `make` alone lists the targets.
# Needs make and Python 3.11 or later with its venv module; the rest comes from requirements.lock.

PORT ?= 8000
UV ?= uv
VENV := .venv
python := $(VENV)/bin/python

# The newest Python that can do it; `make PYTHON=... install` takes another.
CANDIDATES := python3.14 python3.13 python3.12 python3.11 python3
SUITABLE := import ctypes, sqlite3, ssl, sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(CANDIDATES); do \
	$$p -c 'import ensurepip, venv; $(SUITABLE)' 2>/dev/null && { echo $$p; break; }; done)

.PHONY: help install run test lint soak bench lock

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

install: $(VENV)/requirements.lock ## Create .venv from requirements.lock, tests and tools included

# The copy in .venv tells which lock was installed. Nothing of the project itself is: it runs from
# the checkout, so an edit needs no reinstallation. All that is locked comes as a wheel but sniffpy
# (needed by redbot, pure Python), which an older pip builds quietly with --use-pep517 only.
$(VENV)/requirements.lock: requirements.lock
	@if cmp -s $< $@; then touch $@; exit; fi; \
	if [ -z "$(PYTHON)" ]; then \
		echo 'No Python 3.11 or later with its venv module found: install python3 and python3-venv.' >&2; \
		exit 1; \
	fi; \
	echo 'Creating $(VENV) from requirements.lock with $(PYTHON) ...'; \
	$(PYTHON) -m venv --clear $(VENV) && \
	$(python) -m pip install --disable-pip-version-check --quiet --require-hashes --use-pep517 \
		--requirement $< && \
	cp $< $@

# `exec` and --parent let signals and the death of make reach the service.
run: install ## Serve on PORT (8000), with an embedded database and object store
	@exec $(python) -m devstack --port $(PORT) --parent $$PPID

test: install lint ## Run lint, types and all tests but the soak tests
	@$(python) -m pytest

lint: install ## Check style and types
	@$(python) -m ruff check
	@$(python) -m ruff format --check
	@$(python) -m mypy

soak: install ## Run the tests that take minutes of load
	@$(python) -m pytest -m soak

bench: install ## Measure throughput, latency and memory
	@$(python) -m benchmarks

# For Python 3.11 and later on every platform. Keeps what is locked where it can: delete
# requirements.lock first to take the newest of everything.
lock: ## Resolve requirements.lock anew from pyproject.toml (needs uv)
	$(UV) pip compile pyproject.toml --group dev --universal --python-version 3.11 \
		--generate-hashes --custom-compile-command 'make lock' --quiet \
		--output-file requirements.lock
