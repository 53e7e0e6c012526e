SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Only what sets up the environments asks for it; everything else uses the environments' own Python.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; exit; }; done; echo none)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Each has requirements/airflow-<version>.in and .txt, an environment .venv-airflow-<version> and a target.
OTHER_AIRFLOWS := 3.2 3.4
OTHER_READY := $(OTHER_AIRFLOWS:%=.venv-airflow-%/.ready)
OTHER_TESTS := $(OTHER_AIRFLOWS:%=test-airflow-%)
HOSTS_VENV := .venv-many-hosts
MUTATION_VENV := .venv-mutation
FAR_VENV := .venv-far-side

FAST_TESTS = tests/unit tests/contract tests/airflow tests/typing
# What no version of Airflow can change, and on the newest, what only the versions of our requirements can.
SAME_ON_3.2 := tests/typing tests/unit/catalog tests/unit/codegen tests/unit/privacy tests/unit/sandbox \
	tests/unit/warehouses/test_rows.py tests/unit/warehouses/test_table.py tests/contract/test_catalog.py \
	tests/contract/test_catalog_rules.py tests/contract/test_generated.py tests/contract/test_privacy.py \
	tests/contract/test_third_party.py tests/airflow/test_docs_code.py tests/airflow/test_warehouse_simulation.py
SAME_ON_3.4 := $(SAME_ON_3.2) tests/unit/client tests/unit/conformance tests/unit/incremental tests/unit/warehouses
ARGS ?=

# Without bytecode each start of Airflow costs seconds more.
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## Create .venv with everything; instant when nothing changed

define create_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || { \
		echo "Python 3.11 or newer is needed, and '$(PYTHON)' is not one. Install it, or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' >/dev/null 2>&1 || { \
		echo "$(PYTHON) cannot create virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(1)
endef

# What a locked file names is installed if it has the hash that stands there.
define install
	$(TRUSTING) $(BIN)/uv pip install --quiet --python $(1)/bin/python --require-hashes --requirements $(2)
	$(BIN)/uv pip install --quiet --python $(1)/bin/python --offline --no-deps --no-build-isolation --editable .
endef

# uv itself, with its hashes, out of the locked requirements.
LOCKED_UV = awk '/^uv==/ { found = 1 } found { print } found && !/\\$$/ { exit }' requirements/dev.txt
TRUSTING = scripts/with_certificates.sh $(BIN)/python

$(READY): pyproject.toml requirements/dev.txt
	$(call create_venv,$(VENV))
	$(LOCKED_UV) >$(VENV)/uv.txt
	$(TRUSTING) $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(VENV)/uv.txt
	$(call install,$(VENV),requirements/dev.txt)
	@touch $@

$(OTHER_READY): .venv-airflow-%/.ready: pyproject.toml requirements/airflow-%.txt | $(READY)
	$(call create_venv,$(@D))
	$(call install,$(@D),requirements/airflow-$*.txt)
	@touch $@

$(HOSTS_VENV)/.ready: pyproject.toml requirements/many-hosts.txt | $(READY)
	$(call create_venv,$(HOSTS_VENV))
	$(call install,$(HOSTS_VENV),requirements/many-hosts.txt)
	@touch $@

$(FAR_VENV)/.ready: pyproject.toml requirements/far-side.txt | $(READY)
	$(call create_venv,$(FAR_VENV))
	$(call install,$(FAR_VENV),requirements/far-side.txt)
	@touch $@

$(MUTATION_VENV)/.ready: pyproject.toml requirements/mutation.txt | $(READY)
	$(call create_venv,$(MUTATION_VENV))
	$(call install,$(MUTATION_VENV),requirements/mutation.txt)
	@touch $@

.PHONY: format
format: $(READY) ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: lint
lint: $(READY) ## Check style, formatting and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache

.PHONY: types
types: $(READY) ## Check types strictly
	$(BIN)/mypy airflow_provider_drchrono scripts

.PHONY: test
test: lint types ## Lint, types and every test but the integration tests
	$(BIN)/pytest -n 2 $(FAST_TESTS) $(ARGS)

.PHONY: test-integration
test-integration: $(READY) ## Tests with PostgreSQL and real Airflow processes
	$(BIN)/pytest tests/integration $(ARGS)

.PHONY: test-many-hosts
test-many-hosts: $(HOSTS_VENV)/.ready ## Celery on two hosts, with Redis and object storage
	$(HOSTS_VENV)/bin/pytest -o cache_dir=.pytest_cache/many-hosts tests/integration/test_many_hosts.py \
		tests/integration/test_export_s3.py $(ARGS)

.PHONY: test-far-side
test-far-side: $(FAR_VENV)/.ready ## What needs the providers of Google, Salesforce and OpenLineage
	$(FAR_VENV)/bin/pytest -n 2 -o cache_dir=.pytest_cache/far-side tests/airflow/test_payments_to_sheets_example.py \
		tests/airflow/test_patients_to_salesforce_example.py $(ARGS)
	# A process decides once, when Airflow loads its plugins, whether anybody is told of lineage.
	$(FAR_VENV)/bin/pytest -o cache_dir=.pytest_cache/far-side tests/airflow/test_lineage.py $(ARGS)

test-airflow-3.2: ## The tests on Airflow 3.2 with our lowest requirements, but for those that know neither
test-airflow-3.4: ## The tests that know Airflow on 3.4, also while it has pre-releases only

.PHONY: $(OTHER_TESTS)
$(OTHER_TESTS): test-airflow-%: .venv-airflow-%/.ready
	.venv-airflow-$*/bin/pytest -n 2 -o cache_dir=.pytest_cache/airflow-$* $(FAST_TESTS) \
		$(SAME_ON_$*:%=--ignore=%) $(ARGS)

.PHONY: generate
generate: $(READY) ## Write operators and reference pages from the catalogue
	$(BIN)/python -m airflow_provider_drchrono.codegen
	$(BIN)/python scripts/plan_page.py

.PHONY: bench
bench: $(READY) ## Measure beside a named reference; ARGS=client runs one
	$(BIN)/python tests/benchmarks/run.py $(ARGS)

.PHONY: mutation
mutation: $(MUTATION_VENV)/.ready ## Ask whether tests notice faults; ARGS="client.retry --sample 40"
	nice $(MUTATION_VENV)/bin/python tests/mutation/run.py $(ARGS)

.PHONY: demo
demo: $(READY) ## Sync a synthetic practice into a warehouse twice; DEMO_PATIENTS sizes it
	$(BIN)/python scripts/demo.py $(ARGS)

.PHONY: ui
ui: $(READY) ## Open Airflow with the example DAGs, the connection and the sandbox
	$(BIN)/python scripts/ui.py $(ARGS)

.PHONY: pictures
pictures: $(READY) ## Take the pictures of the docs from a running Airflow; wants chromium and chromedriver
	DRCHRONO_SCREENSHOTS=1 $(BIN)/pytest -q tests/integration/test_authorize_page.py -k test_a_connection_is_authorized_with_two_clicks
	$(BIN)/python scripts/ui_pictures.py

.PHONY: sandbox
sandbox: $(READY) ## Serve the stand-in for the API on this machine
	$(BIN)/python -m airflow_provider_drchrono.sandbox $(ARGS)

.PHONY: docs
docs: $(READY) ## Build the documentation into site/, warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@$(BIN)/python scripts/check_search.py
	@! grep -rlE '<(script|link|img)[^>]+(src|href)="?https?://' --include='*.html' site || { \
		echo "These pages load something from another host; serve it from docs/ instead." >&2; exit 1; }

.PHONY: docs-serve
docs-serve: $(READY) ## Serve the documentation while you write it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

.PHONY: package
package: $(READY) ## Build wheel and sdist into dist/ and check what they contain
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist . >/dev/null
	$(BIN)/python scripts/check_dist.py dist

.PHONY: check-wheel
check-wheel: package ## Install the wheel beside a bare Airflow and ask for its providers
	scripts/check_wheel.sh

.venv-audit/.ready: requirements/audit.txt | $(READY)
	$(call create_venv,$(@D))
	$(TRUSTING) $(BIN)/uv pip install --quiet --python $(@D)/bin/python --require-hashes --requirements $<
	@touch $@

.PHONY: audit
audit: .venv-audit/.ready ## Known vulnerabilities, SBOM and licenses of what is installed with us, into audit/
	$(<D)/bin/python scripts/audit.py $(ARGS)

.PHONY: check
check: ## Everything that the gate checks
	.ci/run --without-services

define resolve
	$(TRUSTING) $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --generate-hashes $(2) \
		pyproject.toml requirements/$(1).in -o requirements/$(1).txt
endef

.PHONY: lock
lock: $(READY) ## Resolve the locked requirements again
	$(call resolve,dev)
	$(call resolve,airflow-3.2,--resolution lowest-direct --exclude-newer 2026-06-01 --exclude-newer-package apache-airflow-providers-duckdb=2026-11-01)
	$(call resolve,airflow-3.4,--prerelease if-necessary-or-explicit)
	$(call resolve,many-hosts)
	$(call resolve,far-side)
	$(call resolve,mutation)
	$(TRUSTING) $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		requirements/audit.in -o requirements/audit.txt

.PHONY: clean
clean: ## Remove environments, builds and caches
	rm -rf $(VENV) $(OTHER_AIRFLOWS:%=.venv-airflow-%) $(HOSTS_VENV) $(FAR_VENV) $(MUTATION_VENV) .venv-audit audit dist site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
