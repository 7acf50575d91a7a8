# What a newcomer types: `make run` and `make test`. `make help` lists the rest.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# The interpreter that the virtual environment is made of: the Lambda runtime's version if there is one.
PYTHON ?= $(shell for p in python3.13 python3.14 python3.12 python3.11 python3; do \
  command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null \
  && { command -v $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
RUN := PYTHONPATH=layers/shared $(BIN)/python -m
# Without a shell in between, Ctrl-C ends the program with its own last line, and make adds none.
SERVE := exec env $(RUN)
UV := $(CURDIR)/$(BIN)/uv
PORT ?= 3000
ARCH ?= arm64
# The browser client is built with Node; running and testing the API needs none.
NODE := $(shell node -e 'process.exit(+(parseInt(process.versions.node) < 20))' 2>/dev/null && \
  command -v npm >/dev/null 2>&1 && echo web/node_modules/.ready)
NO_NODE := this machine has no npm, or a Node before 20 (install Node 20 or later)
# What the web function serves; made of what follows it.
STATIC := functions/web/static/index.html
WEB_SOURCES := $(shell find web/client/src web/dashboard -type f) web/build.mjs functions/web/openapi.json

export UV
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never
export UV_LINK_MODE := copy
export SAM_CLI_TELEMETRY := 0
export AWS_DEFAULT_REGION ?= us-east-1

.PHONY: help run demo dashboard screenshot openapi test soak mutants load bench bench-ingest bench-metrics bench-cold bench-http seed check build build-web import doctor deploy-local sam-local invoke events costs migrate retention projects project keys key revoke schema lock format clean

help:
	@echo "make run       serve the API on http://127.0.0.1:3000   (PORT=3001, DATABASE_URL=postgresql://…, FRESH=1, LOGS=1)"
	@echo "make demo      the same with five weeks of demo data and live events (PORT=3001, FRESH=1, LOGS=1)"
	@echo "make test      run every test                           (ARGS='-k name', POSTGRES=/usr/lib/postgresql/15/bin)"
	@echo "make soak      post while everything breaks, for long   (ROUNDS=20, SECONDS=30, SEED=…)"
	@echo "make mutants   change the code and see whether a test fails (FILES=…, MOST=50, MINUTES=10, SEED=…, ARGS=--json)"
	@echo "make load      post at rising rates until latency bends (URL=… KEY=…, ARGS='--events 50')"
	@echo "make bench     what it costs, against what else there is; each part alone: bench-ingest, -metrics, -cold, -http"
	@echo "make seed      a made-up past in the database           (EVENTS=1000000, NAME=…, DATABASE_URL=…)"
	@echo "make check     lint, types, import order, template, layer, policies"
	@echo "make import    FILE=access.log[.gz] through the API     (URL=… KEY=…)"
	@echo "make doctor    what works and what does not            (URL=… KEY=…)"
	@echo "make migrate   migrate and verify a database            (DATABASE_URL=…)"
	@echo "make project   NAME='My pilot': a project, or its settings (SET='timeZone=Europe/Berlin retentionDays=90', DATABASE_URL=…)"
	@echo "make projects  all of them;  make keys NAME=… a project's keys"
	@echo "make key       NAME=… KIND=write, read or admin: one more (NOTE=…);  make revoke KEY=… ends one, at once"
	@echo "make retention what is older than its project keeps it  (APPLY=1 takes it away, DATABASE_URL=…)"
	@echo "make build     sam build                                (ARCH=arm64 or x86_64)"
	@echo "make build-web     the browser client and the dashboard, which the function web serves"
	@echo "make sam-local     sam local start-api in containers         (PORT=…, ENGINE=docker or podman)"
	@echo "make invoke        one of events/*.json by sam local invoke (EVENT=events/ingest-batch.json, ENGINE=…)"
	@echo "make deploy-local  sam deploy to MiniStack on this machine  (INGEST_MODE=buffered)"
	@echo "make schema    write down what the migrations create, for verification"
	@echo "make costs     what a deployment costs in a month"
	@echo "make events    renew events/*.json"
	@echo "make openapi   renew functions/web/openapi.json, the API's description"
	@echo "make screenshot renew docs/dashboard.png"
	@echo "make lock      renew uv.lock and the layer's requirements.txt"
	@echo "make format    let ruff write the code's layout"
	@echo "make clean     remove the virtual environment and what was built (not .muster)"

run: $(VENV)/.local dashboard
	@$(SERVE) local.cli.run --port $(PORT) $(if $(FRESH),--fresh) $(if $(LOGS),--logs) $(if $(DATABASE_URL),--database-url "$(DATABASE_URL)")

demo: $(VENV)/.local dashboard
	@$(SERVE) local.demo.run --port $(PORT) $(if $(FRESH),--fresh) $(if $(LOGS),--logs)

# The API runs without its dashboard too, whose page then says what is missing.
dashboard:
	@$(if $(NODE),$(MAKE) --silent $(STATIC) || echo "The dashboard could not be built; the API is served without.",echo "The dashboard is not built: $(NO_NODE).")

screenshot: $(VENV)/.dev $(STATIC)
	@$(RUN) local.demo.screenshot

openapi: $(VENV)/.local
	@$(RUN) local.openapi

import: $(VENV)/.local
	@$(RUN) local.importer.import_log $(if $(FILE),"$(FILE)",$(error FILE= names the access log)) \
	  $(if $(URL),--url "$(URL)") $(if $(KEY),--key "$(KEY)")

doctor: $(VENV)/.local
	@$(RUN) local.cli.doctor $(if $(URL),--url "$(URL)") $(if $(KEY),--key "$(KEY)")

migrate: $(VENV)/.local
	@$(RUN) local.cli.migrate $(if $(DATABASE_URL),--database-url "$(DATABASE_URL)")

OF_DATABASE = $(if $(DATABASE_URL),--database-url "$(DATABASE_URL)")
OF_PROJECT = "$(if $(NAME),$(NAME),$(error NAME= names the project))"

projects: $(VENV)/.local
	@$(RUN) local.cli.projects $(OF_DATABASE) list

project: $(VENV)/.local
	@$(RUN) local.cli.projects $(OF_DATABASE) project $(OF_PROJECT) $(SET)

keys: $(VENV)/.local
	@$(RUN) local.cli.projects $(OF_DATABASE) keys $(OF_PROJECT)

key: $(VENV)/.local
	@$(RUN) local.cli.projects $(OF_DATABASE) key $(OF_PROJECT) $(if $(KIND),$(KIND),$(error KIND= is write, read or admin)) \
	  $(if $(NOTE),--note "$(NOTE)")

revoke: $(VENV)/.local
	@$(RUN) local.cli.projects $(OF_DATABASE) revoke $(if $(KEY),"$(KEY)",$(error KEY= is a key, its prefix or its id))

retention: $(VENV)/.local
	@$(RUN) local.cli.data_retention $(if $(APPLY),--apply) $(if $(DATABASE_URL),--database-url "$(DATABASE_URL)")

schema: $(VENV)/.local
	@$(RUN) local.cli.schema

test: $(VENV)/.dev .venv-ministack/.ready $(if $(NODE),$(STATIC))
	@POSTGRES="$(POSTGRES)" PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

check: $(VENV)/.dev .venv-checkov/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@PYTHONPATH=layers/shared $(BIN)/lint-imports --no-logo
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -q tests/unit/test_functions.py tests/unit/test_agreement.py \
	  tests/unit/test_cold_start.py tests/e2e/test_layer_size.py
	$(BIN)/sam validate --lint
	@mkdir -p .aws-sam
	@$(RUN) local.sam.cloudformation >.aws-sam/cloudformation.yaml
	.venv-checkov/bin/checkov --config-file .checkov.yaml --file .aws-sam/cloudformation.yaml
ifdef NODE
	@$(MAKE) --no-print-directory $(NODE)
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
	@$(RUN) benchmarks.seed $(if $(EVENTS),--events $(EVENTS)) $(if $(NAME),--name "$(NAME)") \
	  $(if $(DATABASE_URL),--database-url "$(DATABASE_URL)")

sam-local: $(VENV)/.dev
	@$(RUN) local.sam.sam_local $(if $(ENGINE),--engine $(ENGINE)) --port $(PORT)

invoke: $(VENV)/.dev
	@$(RUN) local.sam.invoke $(if $(EVENT),"$(EVENT)",$(error EVENT= names a file of events/)) $(if $(ENGINE),--engine $(ENGINE))

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
	@echo "Installing what the browser client is built with."
	@npm ci --silent --prefix web
	@touch $@

# uv installs all else, from uv.lock and its hashes; it comes by pip, by hash too.
$(VENV)/.uv: local/requirements/bootstrap.txt
	@test -n "$(PYTHON)" || { echo "Muster needs Python 3.11 to 3.14 on PATH; install one, or name it: make PYTHON=…" >&2; exit 1; }
	@echo "Making a virtual environment of $(PYTHON)."
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment; on Debian install python3-venv." >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r local/requirements/bootstrap.txt
	@touch $@

$(VENV)/.local: $(VENV)/.uv uv.lock
	@echo "Installing what is needed to run."
	@$(UV) sync --quiet --frozen --inexact --group local --python $(BIN)/python
	@touch $@

# MiniStack stands for AWS in tests, checkov looks at policies; each pins botocore, and so has an environment of its own.
.venv-%/.ready: local/requirements/%.txt $(VENV)/.uv
	@echo "Installing $*."
	@$(UV) venv --quiet --clear --python $(BIN)/python .venv-$*
	@$(UV) pip install --quiet --require-hashes --python .venv-$*/bin/python -r local/requirements/$*.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.uv uv.lock
	@echo "Installing what is needed to measure."
	@$(UV) sync --quiet --frozen --inexact --group bench --python $(BIN)/python
	@touch $@ $(VENV)/.local

$(VENV)/.dev: $(VENV)/.uv uv.lock
	@echo "Installing what is needed to test."
	@$(UV) sync --quiet --frozen --inexact --group dev --python $(BIN)/python
	@touch $@ $(VENV)/.bench $(VENV)/.local
