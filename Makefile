# Start with `make run` and `make test`. `make help` lists all targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# The Python of the virtual environment: the version of the Lambda runtime if it is installed.
PYTHON ?= $(shell for p in python3.13 python3.14 python3.12 python3.11 python3; do \
  command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null \
  && { command -v $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
RUN := PYTHONPATH=layers/shared $(BIN)/python -m
# `exec` leaves no shell in between, so on Ctrl-C the program prints its own last line and make adds none.
SERVE := exec env $(RUN)
UV := $(CURDIR)/$(BIN)/uv
PORT ?= 3000
ARCH ?= arm64
# Only the browser client and the dashboard need Node. The API runs and is tested without it.
NODE := $(shell node -e 'process.exit(+(parseInt(process.versions.node) < 20))' 2>/dev/null && \
  command -v npm >/dev/null 2>&1 && echo web/node_modules/.ready)
NO_NODE := npm or Node 20 is missing
# The page that the web function serves, and its sources.
STATIC := functions/web/static/index.html
WEB_SOURCES := $(shell find web/client/src web/dashboard -type f) web/build.mjs functions/web/openapi.json

export UV
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never
export UV_LINK_MODE := copy
export SAM_CLI_TELEMETRY := 0
export AWS_DEFAULT_REGION ?= us-east-1
# Every program of a run starts faster from compiled modules; an environment may forbid to write them.
export PYTHONDONTWRITEBYTECODE :=

CHECKS := check-code check-agreement check-template check-policies check-web

.PHONY: help run demo dashboard screenshot openapi test soak mutants load bench bench-ingest bench-metrics bench-cold bench-http seed check $(CHECKS) build build-web import doctor deploy-local sam-local invoke events costs migrate retention projects project keys key revoke schema lock format clean

help:
	@echo "Usage: make TARGET VARIABLE=value …"
	@echo
	@echo "Run it on this machine"
	@echo "  run            Serve the API and the dashboard on http://127.0.0.1:3000. PORT= DATABASE_URL= FRESH=1 LOGS=1"
	@echo "  demo           Serve it with five weeks of demo data and live events.    PORT= FRESH=1 LOGS=1"
	@echo "  doctor         Print the diagnostics of a running server.                URL= KEY="
	@echo "  import         Send an access log through the API.                       FILE=access.log URL= KEY="
	@echo "  seed           Create a project with made-up events.                     EVENTS=1000000 DAYS=730 NAME= DATABASE_URL="
	@echo
	@echo "Manage a database"
	@echo "  migrate        Migrate and verify a database.                            DATABASE_URL="
	@echo "  projects       List all projects.                                        DATABASE_URL="
	@echo "  project        Create a project, or change its settings.                 NAME= SET=retentionDays=90"
	@echo "  keys           List the keys of a project.                               NAME="
	@echo "  key            Create a write, read or admin key.                        NAME= KIND= NOTE="
	@echo "  revoke         Revoke a key at once.                                     KEY="
	@echo "  retention      Count the events older than the data retention.           APPLY=1 DATABASE_URL="
	@echo
	@echo "Test and measure"
	@echo "  test           Run all tests.                                            ARGS='-k name' POSTGRES=/usr/lib/postgresql/15/bin"
	@echo "  check          Check code style, types, imports, template and policies."
	@echo "  format         Format the code."
	@echo "  soak           Send events for a long time while faults occur.           ROUNDS=20 SECONDS=30 SEED="
	@echo "  mutants        Change the code and see whether a test fails.             FILES= MOST=50 MINUTES=10 SEED="
	@echo "  load           Send at rising rates until latency rises steeply.         URL= KEY= ARGS='--events 50'"
	@echo "  bench          Run all benchmarks."
	@echo "  bench-ingest   Compare ingest with COPY and the replaced service.        ARGS="
	@echo "  bench-metrics  Compare metrics with plain SQL.                           ARGS="
	@echo "  bench-cold     Measure the cold start of each route.                     ARGS="
	@echo "  bench-http     Measure the throughput of the local server.               ARGS="
	@echo
	@echo "Build and deploy"
	@echo "  build          Run sam build.                                            ARCH=arm64 or x86_64"
	@echo "  build-web      Build the browser client and the dashboard."
	@echo "  deploy-local   Deploy to MiniStack on this machine.                      INGEST_MODE=buffered"
	@echo "  sam-local      Run the functions in containers.                          PORT= ENGINE=docker or podman"
	@echo "  invoke         Invoke a function in a container with an event.           EVENT=events/ingest-batch.json ENGINE="
	@echo "  costs          Print the cost of a deployment per month."
	@echo
	@echo "Regenerate files"
	@echo "  schema         Write schema.json, which verification compares with."
	@echo "  openapi        Write functions/web/openapi.json."
	@echo "  events         Write events/*.json."
	@echo "  screenshot     Write docs/dashboard.png."
	@echo "  lock           Write uv.lock and the requirements files."
	@echo "  clean          Delete the virtual environments and builds, but no data."

run: $(VENV)/.local dashboard
	@$(SERVE) local.cli.run --port $(PORT) $(if $(FRESH),--fresh) $(if $(LOGS),--logs) $(if $(DATABASE_URL),--database-url "$(DATABASE_URL)")

demo: $(VENV)/.local dashboard
	@$(SERVE) local.demo.run --port $(PORT) $(if $(FRESH),--fresh) $(if $(LOGS),--logs)

# The API also runs without the dashboard. Its page then says what is missing.
dashboard:
	@$(if $(NODE),$(MAKE) --silent $(STATIC) || echo "The dashboard could not be built. The API runs without it.",echo "The dashboard is not built: $(NO_NODE).")

screenshot: $(VENV)/.dev $(STATIC)
	@$(RUN) local.demo.screenshot

openapi: $(VENV)/.local
	@$(RUN) local.openapi

import: $(VENV)/.local
	@$(RUN) local.importer.import_log $(if $(FILE),"$(FILE)",$(error Name the access log with FILE=)) \
	  $(if $(URL),--url "$(URL)") $(if $(KEY),--key "$(KEY)")

doctor: $(VENV)/.local
	@$(RUN) local.cli.doctor $(if $(URL),--url "$(URL)") $(if $(KEY),--key "$(KEY)")

migrate: $(VENV)/.local
	@$(RUN) local.cli.migrate $(if $(DATABASE_URL),--database-url "$(DATABASE_URL)")

DATABASE_OPTION = $(if $(DATABASE_URL),--database-url "$(DATABASE_URL)")
PROJECT_NAME = "$(if $(NAME),$(NAME),$(error Name the project with NAME=))"

projects: $(VENV)/.local
	@$(RUN) local.cli.projects $(DATABASE_OPTION) list

project: $(VENV)/.local
	@$(RUN) local.cli.projects $(DATABASE_OPTION) project $(PROJECT_NAME) $(SET)

keys: $(VENV)/.local
	@$(RUN) local.cli.projects $(DATABASE_OPTION) keys $(PROJECT_NAME)

key: $(VENV)/.local
	@$(RUN) local.cli.projects $(DATABASE_OPTION) key $(PROJECT_NAME) $(if $(KIND),$(KIND),$(error Choose KIND=write, KIND=read or KIND=admin)) \
	  $(if $(NOTE),--note "$(NOTE)")

revoke: $(VENV)/.local
	@$(RUN) local.cli.projects $(DATABASE_OPTION) revoke $(if $(KEY),"$(KEY)",$(error Name the key, its prefix or its id with KEY=))

retention: $(VENV)/.local
	@$(RUN) local.cli.data_retention $(if $(APPLY),--apply) $(if $(DATABASE_URL),--database-url "$(DATABASE_URL)")

schema: $(VENV)/.local
	@$(RUN) local.cli.schema

test: $(VENV)/.dev .venv-ministack/.ready $(if $(NODE),$(STATIC))
	@POSTGRES="$(POSTGRES)" PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

# Two checks at a time: most of them use one core.
check: $(VENV)/.dev .venv-checkov/.ready $(NODE)
	@$(MAKE) --no-print-directory -j2 $(CHECKS)

check-code:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@PYTHONPATH=layers/shared $(BIN)/lint-imports --no-logo

check-agreement:
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -q tests/unit/test_functions.py tests/unit/test_agreement.py \
	  tests/unit/test_cold_start.py tests/e2e/test_layer_size.py

check-template:
	$(BIN)/sam validate --lint

check-policies:
	@mkdir -p .aws-sam
	@$(RUN) local.sam.cloudformation >.aws-sam/cloudformation.yaml
	.venv-checkov/bin/checkov --config-file .checkov.yaml --file .aws-sam/cloudformation.yaml

check-web:
ifdef NODE
	npm run --silent --prefix web check
else
	@echo "The browser client is not checked: $(NO_NODE)."
endif

format: $(VENV)/.dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

soak: $(VENV)/.dev
	@$(RUN) tests.faults.soak $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

mutants: $(VENV)/.dev
	@$(RUN) tests.mutants.run $(FILES) $(if $(MOST),--most $(MOST)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

load: $(VENV)/.bench
	@$(RUN) benchmarks.load $(if $(URL),--url "$(URL)") $(if $(KEY),--key "$(KEY)") $(ARGS)

bench: bench-ingest bench-metrics bench-cold bench-http

bench-ingest: $(VENV)/.bench
	@$(RUN) benchmarks.ingest $(ARGS)

bench-metrics: $(VENV)/.bench
	@$(RUN) benchmarks.metrics $(ARGS)

bench-cold: $(VENV)/.dev
	@$(RUN) benchmarks.cold $(ARGS)

bench-http: $(VENV)/.bench
	@$(RUN) benchmarks.http $(ARGS)

seed: $(VENV)/.bench
	@$(RUN) benchmarks.seed $(if $(EVENTS),--events $(EVENTS)) $(if $(DAYS),--days $(DAYS)) $(if $(NAME),--name "$(NAME)") \
	  $(if $(DATABASE_URL),--database-url "$(DATABASE_URL)")

sam-local: $(VENV)/.dev
	@$(RUN) local.sam.sam_local $(if $(ENGINE),--engine $(ENGINE)) --port $(PORT)

invoke: $(VENV)/.dev
	@$(RUN) local.sam.invoke $(if $(EVENT),"$(EVENT)",$(error Name a file of events/ with EVENT=)) $(if $(ENGINE),--engine $(ENGINE))

costs: $(VENV)/.local
	@$(RUN) local.cli.costs

events: $(VENV)/.dev
	@$(RUN) local.sam.shipped_events

deploy-local: $(VENV)/.dev .venv-ministack/.ready
	@$(RUN) local.sam.deploy_local $(if $(INGEST_MODE),--ingest-mode $(INGEST_MODE))

build: $(VENV)/.dev $(if $(NODE),build-web)
	$(if $(NODE),,@echo "The browser client and the dashboard are not built: $(NO_NODE).")
	ARCH=$(ARCH) PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/sam build --parameter-overrides Architecture=$(ARCH)

build-web: $(NODE)
	$(if $(NODE),,$(error The browser client and the dashboard cannot be built: $(NO_NODE)))
	@npm run --silent --prefix web build

lock: $(VENV)/.uv
	$(UV) lock
	$(UV) export --frozen --quiet --no-emit-project --no-default-groups --no-header -o layers/shared/requirements.txt
	for name in ministack checkov; do $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --output-file local/requirements/$$name.txt local/requirements/$$name.in; done

clean:
	rm -rf $(VENV) .venv-ministack .venv-checkov .aws-sam web/node_modules web/client/dist web/react/dist functions/web/static

$(STATIC): web/node_modules/.ready $(WEB_SOURCES)
	@echo "Building the dashboard."
	@cd web && node build.mjs >/dev/null

web/node_modules/.ready: web/package-lock.json
	@echo "Installing the packages that build the browser client."
	@npm ci --silent --prefix web
	@touch $@

# pip installs uv by its hash. uv installs the rest by the hashes in uv.lock.
$(VENV)/.uv: local/requirements/bootstrap.txt
	@test -n "$(PYTHON)" || { echo "Muster needs Python 3.11 to 3.14 on PATH. Install it, or name it: make PYTHON=…" >&2; exit 1; }
	@echo "Creating a virtual environment with $(PYTHON)."
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot create a virtual environment. On Debian install python3-venv." >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r local/requirements/bootstrap.txt
	@touch $@

$(VENV)/.local: $(VENV)/.uv uv.lock
	@echo "Installing the packages to run Muster."
	@$(UV) sync --quiet --frozen --inexact --group local --python $(BIN)/python
	@touch $@

# MiniStack emulates AWS in tests, and checkov checks policies. Both pin botocore, so each has its own environment.
.venv-%/.ready: local/requirements/%.txt $(VENV)/.uv
	@echo "Installing $*."
	@$(UV) venv --quiet --clear --python $(BIN)/python .venv-$*
	@$(UV) pip install --quiet --require-hashes --python .venv-$*/bin/python -r local/requirements/$*.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.uv uv.lock
	@echo "Installing the packages for benchmarks."
	@$(UV) sync --quiet --frozen --inexact --group bench --python $(BIN)/python
	@touch $@ $(VENV)/.local

$(VENV)/.dev: $(VENV)/.uv uv.lock
	@echo "Installing the packages for tests."
	@$(UV) sync --quiet --frozen --inexact --group dev --python $(BIN)/python
	@touch $@ $(VENV)/.bench $(VENV)/.local
