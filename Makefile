# `make run` and `make test` are all the set-up there is; both need Python 3.11 or later and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 6

.PHONY: run test soak check docs previous requirements clean

run: $(VENV)/.installed
	@$(BIN)/oms up $(if $(SECONDS),--seconds $(SECONDS))

test: check
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not soak"

# What proves endurance: outages of a minute, a minute of everything at once, drains to their last second.
soak: $(VENV)/.installed
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m soak

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# docs/configuration.md and .env.example are generated from settings.py.
docs: $(VENV)/.installed
	$(BIN)/python -m oms_workers.operation.documents

# The previous release's tests of what its processes do, with its code, on this tree's schema (docs/migrations.md).
# RELEASE is a tag or revision, by default the newest tag; TESTS are some of its tests, like tests/fulfilment.
previous: $(VENV)/.installed
	$(BIN)/python tests/previous/run.py $(if $(RELEASE),--release $(RELEASE)) --workers $(WORKERS) $(TESTS)

# A buildpack installs requirements.txt; both files are generated and name no index.
requirements: $(VENV)/.installed
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --upgrade pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --constraint requirements.txt --all-extras pyproject.toml -o requirements-dev.txt

$(VENV)/.installed: requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "oms-workers needs Python 3.11 or later; $$($(PYTHON) -V) was found. Try: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

clean:
	rm -rf $(VENV) .oms build *.egg-info .mypy_cache .ruff_cache .hypothesis
