# Everything from nothing but Python 3.11 or newer and make.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet

IMAGE_PYTHON := $(shell sed -n 's/^ARG BASE=python:\([0-9.]*\).*/\1/p' Dockerfile)

export OPENBLAS_NUM_THREADS := 1
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help serve test lint bench bench-long prove prove-short mutants dist test-dist test-image lock clean

help: ## show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

serve: $(VENV)/runtime ## set everything up and serve on http://127.0.0.1:8000
	$(BIN)/offsetnet serve

test: $(VENV)/dev lint ## set everything up and run every check
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses 3 --dist loadfile --quiet
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include='model/*' --fail-under=100
	$(BIN)/coverage report --include='app/*' --fail-under=95

lint: $(VENV)/dev ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/dev ## measure, and write the tables of docs/performance.md
	$(BIN)/python -m benchmarks.report

bench-long: $(VENV)/dev ## the same for what takes long or much room: endurance, other servers and clients, PyTorch
	$(BIN)/python -m benchmarks.report --long

prove: $(VENV)/dev ## run every proof of docs/reliability.md and write that page
	$(BIN)/python -m tests.faults.prove

prove-short: $(VENV)/dev ## run every proof in a short form
	$(BIN)/python -m tests.faults.prove --short

mutants: $(VENV)/mutation ## run the tests on every mutant of the code and write docs/mutants.md
	$(BIN)/python -m tests.mutation.report

dist: $(VENV)/release ## build the wheel, the sdist, and the list of the Python packages in the image (CycloneDX)
	rm -rf dist $(VENV)/image
	$(BIN)/hatchling build -d dist
	$(BIN)/python -m venv --without-pip $(VENV)/image
	$(BIN)/uv pip install --quiet --target $(VENV)/image/lib/python*/site-packages \
	  --python-version $(IMAGE_PYTHON) --require-hashes -r requirements/postgres.txt
	$(BIN)/python -W ignore -m cyclonedx_py environment $(VENV)/image --pyproject pyproject.toml \
	  --output-reproducible --output-file dist/offsetnet.cdx.json

test-dist: dist ## install what is built into empty environments, and serve
	PATH="$(abspath $(BIN)):$$PATH" tests/packaging/run $(IMAGE_PYTHON)

test-image: $(VENV)/dev ## build the image and run it as a platform would (podman, nginx, root)
	PATH="$(abspath $(BIN)):$$PATH" tests/container/run

lock: $(VENV)/dev ## resolve the dependencies anew
	$(PIP) install 'uv>=0.13'
	$(COMPILE) pyproject.toml --output-file requirements/runtime.txt
	$(COMPILE) pyproject.toml --extra postgres --output-file requirements/postgres.txt
	$(COMPILE) pyproject.toml --extra dev --output-file requirements/dev.txt
	$(COMPILE) requirements/build.in --output-file requirements/build.txt
	$(COMPILE) requirements/mutation.in --constraint requirements/dev.txt --output-file requirements/mutation.txt
	$(COMPILE) requirements/release.in --constraint requirements/dev.txt --output-file requirements/release.txt

COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes \
	--python-version 3.11 --no-header

clean: ## remove what was set up, and nothing that was trained
	rm -rf $(VENV) .venv-peers dist mutants .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime: requirements/runtime.txt requirements/build.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements/dev.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@ $(VENV)/runtime

$(VENV)/mutation: requirements/mutation.txt $(VENV)/dev
	$(PIP) install --require-hashes -r requirements/mutation.txt
	touch $@

$(VENV)/release: requirements/release.txt $(VENV)/dev
	$(PIP) install --require-hashes -r requirements/release.txt
	touch $@
