# The two commands: `make demo` and `make test`. Everything else is for those who work on ticketctl.
.DEFAULT_GOAL := help
SHELL := /bin/bash
# Tests find the emulators' virtual environments here; the demo makes its own, as a user's first run does.
test bench prove kill-sweep: export TICKETCTL_MOTO_VENV ?= $(CURDIR)/target/moto
test: export TICKETCTL_LOCALSTACK_VENV ?= $(CURDIR)/target/localstack
test: export TICKETCTL_CHECKS_VENV ?= $(CURDIR)/target/checks

.PHONY: help demo test bench prove kill-sweep lint build

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: build ## make the whole platform on the local cloud, with the site running on it
	@scripts/demo

test: ## all tests; installs what they need
	@scripts/setup test
	@scripts/test

bench: ## plan and apply against the emulator: calls, time, memory
	@scripts/setup test
	cargo build --workspace --quiet
	@scripts/bench

prove: ## all sweeps in full, hours: kills, signals, locks, faults; one report in target/prove
	@scripts/setup test
	@scripts/prove

kill-sweep: ## the kills and signals alone: at each change of an apply, a change and a destroy
	@scripts/setup test
	@scripts/prove kill

lint: ## format, lints, dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@scripts/check-dependencies

build:
	@scripts/setup demo
	cargo build --workspace
