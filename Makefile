# `make run` and `make test` do everything a fresh machine needs; the second time they are quick.
SHELL := /bin/bash
PYTHON ?= python3
export PYTHON
BIN := .venv/bin
STAMPS := .make
# Console commands find the machine's Node.js first, then the one in the virtual environment.
CARGO := { [ ! -f .make/rust.env ] || . ./.make/rust.env; } && cargo
NPM := cd console && PATH="$$PATH:$(CURDIR)/$(BIN)" npm run --silent

RUST_SOURCES := $(shell find crates -name '*.rs' -o -name Cargo.toml 2>/dev/null) Cargo.toml Cargo.lock pyproject.toml
CONSOLE_SOURCES := $(shell find console -path console/node_modules -prune -o -type f -print 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help setup run test lint format bench chaos clean

help: ## Say what can be made.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMPS)/native $(STAMPS)/console $(STAMPS)/voice ## Install everything; leaves .venv/bin/greenroom.

run: setup ## Start the embedded server, the example agent and the page.
	@exec $(BIN)/greenroom dev

test: setup $(STAMPS)/peers $(STAMPS)/load lint ## Run the linters and every test.
	$(CARGO) test --release --locked --quiet
	$(NPM) test
	$(BIN)/pytest -n 2 --dist loadgroup

lint: setup ## Run what CI checks before the tests.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --all-targets --quiet -- -D warnings
	$(NPM) lint
	$(NPM) check

format: setup ## Format Python and Rust.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(CARGO) fmt --all

bench: setup $(STAMPS)/load ## Print the figures, each beside what is expected of it.
	$(BIN)/python -m bench

chaos: setup ## Run only the hostile-input tests, and the leak tests at full length.
	GREENROOM_CHAOS=long GREENROOM_CYCLES=5000 $(BIN)/pytest -m chaos

clean: ## Remove everything that was built.
	rm -rf $(STAMPS) .venv target console/node_modules src/greenroom/control/static src/greenroom/_media/*.so

$(STAMPS)/python: requirements-dev.txt constraints.txt scripts/setup.sh
	@scripts/setup.sh system python
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/native: $(STAMPS)/python $(RUST_SOURCES)
	@scripts/setup.sh native
	@touch $@

$(STAMPS)/load: $(STAMPS)/native
	@scripts/setup.sh load
	@touch $@

$(STAMPS)/console: $(STAMPS)/python $(CONSOLE_SOURCES)
	@scripts/setup.sh node console
	@touch $@

$(STAMPS)/voice: $(STAMPS)/python
	@scripts/setup.sh voice
	@touch $@

$(STAMPS)/peers: scripts/setup.sh
	@scripts/setup.sh peers
	@mkdir -p $(STAMPS) && touch $@
