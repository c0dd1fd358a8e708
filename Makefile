# Every target does its own set-up. Needs Python 3.13, make and nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

STAGE ?= dev
SEEDS ?= 1000
FIRST ?= 0
EVENT ?=
NAME ?=
PARAMETERS ?=
# As variables of the shell, whatever they hold: spaces, quotes, JSON.
export STAGE EVENT NAME PARAMETERS

VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
SCANNER := $(VENV)/scan
export PYTHONPATH := $(CURDIR)/layers/relay:$(CURDIR)
export SAM_CLI_TELEMETRY := 0
# What is imported a hundred times is compiled once.
unexport PYTHONDONTWRITEBYTECODE

# tests/workers.py keeps together what shares a server.
# Measured on two cores: quicker than four or three, for some always wait for servers.
PARALLEL := -n 5

.PHONY: help
help: ## Show this list
	@bold=; plain=; if [ -t 1 ] && [ -z "$${NO_COLOR:-}" ]; then bold=$$'\033[1m'; plain=$$'\033[0m'; fi; \
	sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r target text; do \
		printf '  %smake %-16s%s %s\n' "$$bold" "$$target" "$$plain" "$${text//\$$\$$/\$$}"; done

.PHONY: demo
demo: $(READY) ## The relay on this machine: every way in, every fate
	@$(PYTHON) -m local.demo

.PHONY: test
test: coverage beside ## Every test

# The marks are given in tests/conftest.py.
.PHONY: coverage
coverage: $(READY) ## Those of the tests that cover the functions' lines
	$(PYTHON) -m pytest --cov -n 3 -m "not no_cover" tests/unit tests/contract

.PHONY: beside
beside: $(READY)
	$(PYTHON) -m pytest $(PARALLEL) -m no_cover

.PHONY: quick
quick: $(READY) ## Unit, contract, template: no emulator, nothing long
	$(PYTHON) -m pytest -n auto -m "not emulator and not long" --hypothesis-profile quick tests/unit tests/contract tests/template

.PHONY: check
check: $(READY) lint simulate-briefly simulate-figures simulate-breakages test ## All that CI runs

STAGES := local dev prod
.PHONY: lint
lint: $(READY) $(SCANNER)/.ready ## Everything of check that runs none of the code
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports
	$(PYTHON) -m tools.schema --check
	$(PYTHON) -m tools.matrix --check
	$(PYTHON) -m tools.drawing --check
	$(PYTHON) -m tools.template $(SCANNER)/templates
	@# What takes seconds, two at a time.
	printf '%s\n' '$(VENV)/bin/mypy' \
		$(STAGES:%='$(VENV)/bin/sam validate --lint --region us-east-1 --config-env %') \
		'$(VENV)/bin/cfn-lint --config-file tools/scan/cfn-lint.yaml --regions us-east-1 -- $(SCANNER)/templates/expanded.json' \
		'$(SCANNER)/bin/checkov --config-file tools/scan/checkov.yaml --file $(SCANNER)/templates/deployed.json' | \
		xargs -P 2 -I COMMAND $(SHELL) -c COMMAND

.PHONY: audit
audit: $(READY) $(SCANNER)/.ready ## Known vulnerabilities of what is pinned; asks PyPI
	for pins in requirements-dev.txt requirements-scan.txt layers/relay/requirements.txt; do \
		$(SCANNER)/bin/pip-audit --strict --require-hashes --disable-pip --progress-spinner off --requirement $$pins; done

.PHONY: up
up: $(READY) ## Start the stack on this machine and leave it running
	@$(PYTHON) -m local up

.PHONY: shell-env
shell-env: $(READY) ## Turn a shell to that stack: eval "$$(make -s shell-env)"
	@$(PYTHON) -m local shell-env

.PHONY: down
down: $(READY) ## End the stack that make up started
	@$(PYTHON) -m local down

.PHONY: mess
mess: up ## Trouble of every kind on the stack, to practise on
	@$(PYTHON) -m local.mess

.PHONY: invoke
invoke: $(READY) ## One file by its way in, and its fate: EVENT=…
	@$(if $(EVENT),,$(error name a file, such as EVENT=events/direct-order-shipped.json))
	@$(PYTHON) -m local.invoke "$$EVENT"

.PHONY: simulate
simulate: $(READY) ## The delivery code in virtual time: SEEDS=1000, or SEED=7
	$(PYTHON) -m tests.simulation $(if $(SEED),--seed $(SEED),--first $(FIRST) --seeds $(SEEDS)) $(if $(DRAWN),--drawn $(DRAWN))

.PHONY: simulate-figures
simulate-figures: $(READY) ## Named scenarios in virtual time: outage, rates
	$(PYTHON) -m tests.simulation --figures

.PHONY: simulate-breakages
simulate-breakages: $(READY) ## Break the relay on purpose: all of it noticed?
	$(PYTHON) -m tests.simulation --breakages

.PHONY: simulate-briefly
simulate-briefly: $(READY)
	$(PYTHON) -m tests.simulation --fresh --seconds 60

.PHONY: picture
picture: $(READY) ## Draw docs/page.png again: the page of make up
	@$(PYTHON) -m tools.picture

.PHONY: fuzz
fuzz: $(READY) ## Any input, any answer, drawn anew: SECONDS=600
	@$(PYTHON) -m tests.fuzz --seconds $(if $(SECONDS),$(SECONDS),600) $(if $(ONLY),--only "$(ONLY)")

.PHONY: soak
soak: $(READY) ## Much goes wrong; every event accounted for: COUNT=
	@$(PYTHON) -m tests.soak $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED))

.PHONY: provider
provider: $(READY) ## The five places of a new provider: NAME=pigeon
	@$(if $(NAME),,$(error name it, such as NAME=pigeon))
	@$(PYTHON) -m tools.provider "$$NAME"

.PHONY: bench
bench: $(READY) ## Speed, weight and cost against their goals: a table
	$(PYTHON) -m bench

.PHONY: bench-delivery
bench-delivery: $(READY) ## Delivery at the providers' limits, measured
	$(PYTHON) -m bench.delivery

.PHONY: bench-picture
bench-picture: $(READY) ## Draw docs/pace.svg again: delivered against the limit
	$(PYTHON) -m bench.picture

.PHONY: bench-limiters
bench-limiters: $(READY) ## Delivery against limiters that others wrote
	$(PYTHON) -m bench.limiters

.PHONY: deploy
deploy: $(READY) ## To AWS: STAGE=dev PARAMETERS="AlarmEmail=… …=…"
	@$(PYTHON) -m tools.deploy "$$STAGE" "$$PARAMETERS"

.PHONY: bench-cost
bench-cost: $(READY) ## Count what an event needs; tables of cost and scale
	$(PYTHON) -m bench.cost --count
	$(PYTHON) -m bench.scale --write

.PHONY: adopt
adopt: $(READY) ## Import what a deleted stack of STAGE left: STAGE=dev
	@$(PYTHON) -m tools.adopt $(STAGE)

.PHONY: format
format: $(READY) ## Format the code and mend what ruff can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	$(PYTHON) -m tools.schema
	$(PYTHON) -m tools.matrix

.PHONY: drawing
drawing: $(READY) ## Draw docs/way.svg again, from the code's imports
	$(PYTHON) -m tools.drawing

# Pins stay as they are unless UPGRADE=1. The layer's pins follow the development ones.
COMPILE := CUSTOM_COMPILE_COMMAND='make requirements' $(VENV)/bin/pip-compile --quiet --generate-hashes --allow-unsafe \
	--strip-extras --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links

.PHONY: requirements
requirements: $(READY) ## Pin the requirements again (UPGRADE=1: the newest)
	$(if $(UPGRADE),: > requirements-dev.txt; : > requirements-scan.txt)
	$(COMPILE) --output-file requirements-dev.txt requirements-dev.in
	$(COMPILE) --output-file requirements-scan.txt requirements-scan.in
	cd layers/relay && $(COMPILE:$(VENV)/%=$(CURDIR)/$(VENV)/%) --constraint ../../requirements-dev.txt \
		--output-file requirements.txt requirements.in

PINNED := -qq --disable-pip-version-check --no-input --no-deps

$(READY): requirements-dev.txt
	@found=""; \
	for one in python3.13 "$$(pyenv root 2>/dev/null)"/versions/3.13*/bin/python "$$(uv python find 3.13 2>/dev/null)" python3; do \
		if "$$one" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; then found=$$one; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo 'Python 3.13 is needed: as python3.13 on the PATH, or in pyenv or uv.' >&2; exit 1; fi; \
	echo "Setting up $(VENV) with $$("$$found" --version), once ..." >&2; \
	"$$found" -m venv $(VENV)
	@# What is never imported need not be compiled: that took as long as all the rest.
	@$(PYTHON) -m pip install $(PINNED) --require-hashes --no-compile -r $<
	@$(PYTHON) -m pip install $(PINNED) --no-build-isolation --no-index -e . 2>/dev/null
	@touch $@

# Apart, for it pins other versions of what the tools above use.
$(SCANNER)/.ready: requirements-scan.txt $(READY)
	@echo "Setting up $(SCANNER), once ..." >&2
	@$(PYTHON) -m venv $(SCANNER)
	@$(SCANNER)/bin/python -m pip install $(PINNED) --require-hashes --no-compile -r $<
	@touch $@
