# Everything that a developer runs. `make` alone lists the targets.
# Needs make and Python 3.11 or later with its venv module; the rest is in requirements-dev.lock.

PORT ?= 8000
UV ?= uv
VENV := .venv
python := $(VENV)/bin/python

# The newest Python that can do it; `make PYTHON=... install` takes another.
CANDIDATES := python3.14 python3.13 python3.12 python3.11 python3
SUITABLE := import ctypes, sqlite3, ssl, sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(CANDIDATES); do \
	$$p -c 'import ensurepip, venv; $(SUITABLE)' 2>/dev/null && { echo $$p; break; }; done)

.PHONY: help install run test lint soak matrix bench lock dist sbom audit image

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

install: $(VENV)/requirements-dev.lock ## Create .venv with all that is locked, tests and tools included

# The copy in .venv tells which lock was installed. Nothing of the project itself is: it runs from
# the checkout, so an edit needs no reinstallation. All that is locked comes as a wheel but sniffpy
# (needed by redbot, pure Python), which an older pip builds quietly with --use-pep517 only.
$(VENV)/requirements-dev.lock: requirements-dev.lock
	@if cmp -s $< $@; then touch $@; exit; fi; \
	if [ -z "$(PYTHON)" ]; then \
		echo 'No Python 3.11 or later with its venv module found: install python3 and python3-venv.' >&2; \
		exit 1; \
	fi; \
	echo 'Creating $(VENV) from $< with $(PYTHON) ...'; \
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

matrix: install ## Run the contracts on each database with each store; writes docs/compatibility.md
	@$(python) -m tests.tools.compatibility

bench: install ## Measure throughput, latency and memory
	@$(python) -m benchmarks

# For Python 3.11 and later on every platform: requirements-dev.lock for this checkout,
# requirements.lock with the same versions for what is deployed, requirements-traces.lock for what is
# deployed with traces. Keeps what is locked where it can: delete them first to take the newest.
COMPILE = $(UV) pip compile pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --custom-compile-command 'make lock' --quiet

lock: ## Resolve the locks anew from pyproject.toml (needs uv)
	$(COMPILE) --group dev --extra traces --output-file requirements-dev.lock
	$(COMPILE) --constraint requirements-dev.lock --output-file requirements.lock
	$(COMPILE) --extra traces --constraint requirements-dev.lock --output-file requirements-traces.lock

DIST ?= dist
VERSION := $(shell sed -n 's/^version = "\([^"]*\)".*/\1/p' pyproject.toml)
NAME := image-api-$(VERSION)
NOT_DEPLOYED := devstack tests benchmarks Makefile requirements-dev.lock .ci .github .gitignore \
	Dockerfile .dockerignore
# The checkout may belong to somebody else.
GIT := git -c 'safe.directory=$(CURDIR)'

# The files that git knows, as they are in the checkout. All times are that of the commit, so the
# same files give the same bytes, and no compiled file of another commit passes for up to date.
dist: ## Build the archive that is deployed, in DIST (dist)
	@mkdir -p '$(DIST)'
	@$(GIT) ls-files -z -- . $(NOT_DEPLOYED:%=':!%') >'$(DIST)/files' && \
	time=$$($(GIT) log -1 --format=%ct) && \
	tar --create --file='$(DIST)/$(NAME).tar.gz' --use-compress-program='gzip -9n' \
		--null --files-from='$(DIST)/files' --transform='s,^,$(NAME)/,' --format=ustar \
		--mtime="@$$time" --mode=u=rwX,go=rX --owner=0 --group=0 --numeric-owner && \
	rm '$(DIST)/files' && \
	echo '$(DIST)/$(NAME).tar.gz'

# By the time of the commit, so that the same lock gives the same list.
sbom: install ## List what the archive is installed with, as CycloneDX, in DIST (dist)
	@mkdir -p '$(DIST)'
	@SOURCE_DATE_EPOCH=$$($(GIT) log -1 --format=%ct) $(VENV)/bin/cyclonedx-py requirements \
		--pyproject pyproject.toml --output-reproducible \
		--output-file '$(DIST)/$(NAME).cdx.json' requirements.lock && \
	echo '$(DIST)/$(NAME).cdx.json'

# Asks the vulnerability database of the Python Packaging Authority; nothing is installed.
audit: install ## Compare what is deployed with the known vulnerabilities
	@for lock in requirements.lock requirements-traces.lock; do \
		$(VENV)/bin/pip-audit --strict --disable-pip --requirement $$lock || exit; \
	done

image: dist ## Build the container image image-api, of that archive (needs Docker)
	@docker build --build-arg VERSION=$(VERSION) --tag image-api:$(VERSION) --tag image-api .
