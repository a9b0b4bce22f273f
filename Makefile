# Commands for developers. `make` without a target lists them.
# Requires Python 3.11 or later with its venv module; the locks contain everything else.

PORT ?= 8000
UV ?= uv
VENV := .venv
python := $(VENV)/bin/python

# The newest suitable Python; `make PYTHON=... install` selects another.
CANDIDATES := python3.14 python3.13 python3.12 python3.11 python3
SUITABLE := import ctypes, sqlite3, ssl, sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(CANDIDATES); do \
	$$p -c 'import ensurepip, venv; $(SUITABLE)' 2>/dev/null && { echo $$p; break; }; done)

.PHONY: help install checkov run quick coverage test lint soak matrix bench bench-peers lock dist sbom audit image

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 13

install: $(VENV)/requirements-dev.lock ## Create .venv with everything in requirements-dev.lock

# A copy of a lock in .venv shows that it was installed. requirements-dev.lock contains all of
# requirements-run.lock in the same versions, so it extends what `make run` installed. The project
# itself is not installed: it runs from the checkout, so edits need no reinstallation.
$(VENV)/requirements-run.lock: requirements-run.lock
	@if cmp -s $< $@ || cmp -s requirements-dev.lock $(VENV)/requirements-dev.lock; then \
		cp $< $@; exit; \
	fi; \
	$(CREATE) && $(INSTALL) --no-compile --requirement $< && cp $< $@

# Every package has a wheel except sniffpy (for redbot, pure Python), which older versions of pip build
# without warnings only with --use-pep517.
$(VENV)/requirements-dev.lock: requirements-dev.lock
	@if cmp -s $< $@; then touch $@; exit; fi; \
	cmp -s requirements-run.lock $(VENV)/requirements-run.lock || { $(CREATE); } && \
	$(INSTALL) --use-pep517 --requirement $< && cp $< $@

checkov: $(VENV)/checkov/requirements-checkov.lock ## Install checkov, for the tests, in an environment of its own

# It needs older versions of boto3 and other packages.
$(VENV)/checkov/requirements-checkov.lock: private python = $(VENV)/checkov/bin/python
$(VENV)/checkov/requirements-checkov.lock: requirements-checkov.lock | install
	@if cmp -s $< $@; then touch $@; exit; fi; \
	$(VENV)/bin/python -m venv --clear $(@D) && $(INSTALL) --requirement $< && cp $< $@

CREATE = if [ -z "$(PYTHON)" ]; then \
		echo 'No Python 3.11 or later with its venv module found: install python3 and python3-venv.' >&2; \
		exit 1; \
	fi; \
	echo 'Creating $(VENV) with $(PYTHON) ...'; $(PYTHON) -m venv --clear $(VENV)
INSTALL = echo "Installing the $$(grep -c == $<) packages of $< ..."; \
	$(python) -m pip install --disable-pip-version-check --quiet --require-hashes

# With `exec` signals reach the service; with --parent it stops when make dies.
run: $(VENV)/requirements-run.lock ## Serve on PORT (8000) with an embedded database and object store
	@exec $(python) -m devstack --port $(PORT) --parent $$PPID

quick: install lint ## Run the linters, the type checker and the tests that need no server
	@$(python) -m pytest tests/unit tests/project/test_unit_tests.py tests/project/test_architecture.py \
		tests/project/test_readme.py::test_reference

coverage: install ## Measure which branches of the product the unit tests take
	@$(python) -m pytest tests/unit --cov --cov-report=term

test: install checkov lint ## Run the linters, the type checker and all tests except the soaks
	@$(python) -m pytest

lint: install ## Check style and types
	@$(python) -m ruff check
	@$(python) -m ruff format --check
	@$(python) -m mypy

soak: install ## Run the tests that need minutes of load
	@$(python) -m pytest -m soak

matrix: install ## Run the contracts on every database and store; write docs/compatibility.md
	@$(python) -m tests.tools.compatibility

bench: install ## Measure throughput, latency and memory
	@$(python) -m benchmarks

PEERS := .peers

bench-peers: install $(PEERS)/thumbor/requirements.lock $(PEERS)/ipx/package-lock.json ## Measure beside other services
	@$(python) -m benchmarks --peers

$(PEERS)/thumbor/requirements.lock: benchmarks/thumbor/requirements.lock | $(VENV)/requirements-dev.lock
	@echo 'Installing thumbor ...'; $(python) -m venv --clear $(@D) && \
	$(@D)/bin/python -m pip install --disable-pip-version-check --quiet --require-hashes --requirement $< && \
	cp $< $@

# No package needs its install script: sharp comes with its library as a package.
$(PEERS)/ipx/package-lock.json: benchmarks/ipx/package-lock.json
	@if ! { command -v node && command -v npm; } >/dev/null; then \
		echo 'ipx needs Node.js 20 or later and npm: install both (in Debian, nodejs and npm).' >&2; \
		exit 1; \
	fi; \
	echo 'Installing ipx ...'; mkdir -p $(@D) && cp benchmarks/ipx/package*.json $(@D) && \
	npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --silent || { rm -f $@; exit 1; }

# The locks are for Python 3.11 and later on every platform. requirements-dev.lock is resolved first;
# the others have the same versions. Locked versions stay where possible: to get the newest ones,
# delete the locks first.
RESOLVE = --universal --python-version 3.11 --generate-hashes --custom-compile-command 'make lock' --quiet
COMPILE = $(UV) pip compile pyproject.toml $(RESOLVE)

lock: ## Resolve the locks from pyproject.toml (requires uv)
	$(COMPILE) --group dev --extra traces --output-file requirements-dev.lock
	$(COMPILE) --constraint requirements-dev.lock --output-file requirements.lock
	$(COMPILE) --group run --constraint requirements-dev.lock --output-file requirements-run.lock
	$(COMPILE) --extra traces --constraint requirements-dev.lock --output-file requirements-traces.lock
	$(COMPILE:pyproject.toml=) --group checkov --output-file requirements-checkov.lock
	cd benchmarks/thumbor && $(UV) pip compile requirements.in $(RESOLVE) --output-file requirements.lock

DIST ?= dist
VERSION := $(shell sed -n 's/^version = "\([^"]*\)".*/\1/p' pyproject.toml)
NAME := image-api-$(VERSION)
NOT_DEPLOYED := devstack tests benchmarks Makefile Dockerfile .ci .github .gitignore \
	.pre-commit-config.yaml requirements-dev.lock requirements-run.lock requirements-checkov.lock
# Git refuses a checkout that belongs to another user.
GIT := git -c 'safe.directory=$(CURDIR)'

# Packs the tracked files as they are in the checkout. All files have the time of the commit: equal
# files give equal archives, and Python never takes the bytecode of another commit for current.
dist: ## Build the archive for deployment in DIST (dist)
	@mkdir -p '$(DIST)'
	@$(GIT) ls-files -z -- . $(NOT_DEPLOYED:%=':!%') >'$(DIST)/files' && \
	time=$$($(GIT) log -1 --format=%ct) && \
	tar --create --file='$(DIST)/$(NAME).tar.gz' --use-compress-program='gzip -9n' \
		--null --files-from='$(DIST)/files' --transform='s,^,$(NAME)/,' --format=ustar \
		--mtime="@$$time" --mode=u=rwX,go=rX --owner=0 --group=0 --numeric-owner && \
	rm '$(DIST)/files' && \
	echo '$(DIST)/$(NAME).tar.gz'

# Uses the time of the commit, so that equal locks give equal lists.
sbom: install ## List the packages of the archive as CycloneDX in DIST (dist)
	@mkdir -p '$(DIST)'
	@SOURCE_DATE_EPOCH=$$($(GIT) log -1 --format=%ct) $(VENV)/bin/cyclonedx-py requirements \
		--pyproject pyproject.toml --output-reproducible \
		--output-file '$(DIST)/$(NAME).cdx.json' requirements.lock && \
	echo '$(DIST)/$(NAME).cdx.json'

# Queries the vulnerability database of the Python Packaging Authority and installs nothing.
audit: install ## Check the deployed packages for known vulnerabilities
	@for lock in requirements.lock requirements-traces.lock; do \
		$(VENV)/bin/pip-audit --strict --disable-pip --requirement $$lock || exit; \
	done

CONTAINER ?= docker

# The build context is DIST, so nothing else of the checkout, such as secrets, is sent. Podman and
# Buildah leave HEALTHCHECK out of images in their default format.
image: dist ## Build the container image image-api from the archive (CONTAINER: docker, podman or buildah)
	@BUILDAH_FORMAT=docker $(CONTAINER) build --file Dockerfile --build-arg VERSION=$(VERSION) \
		--tag image-api:$(VERSION) --tag image-api '$(DIST)'
