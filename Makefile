# Hookwright's everyday commands. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Where the demo stores: sqlite or postgres.
STORE ?= sqlite
# More arguments for the test runner: make test ARGS=s01, ARGS="-E 'package(hookwright-domain)'"
ARGS ?=
# More arguments for the benchmark suite: make bench BENCH="--scenario idle --store sqlite"
BENCH ?=

.PHONY: help
help: ## List these commands
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build everything for development
	cargo build --workspace --locked

.PHONY: release
release: ## Build the release binary: target/release/hookwright
	cargo build --release --locked --bin hookwright

.PHONY: demo
demo: ## See a webhook delivered from end to end (STORE=sqlite or postgres)
ifeq ($(STORE),sqlite)
	@cargo run --quiet -- demo
else ifeq ($(STORE),postgres)
	@scripts/find-postgres --install >/dev/null
	@cargo build --quiet
	@scripts/with-postgres cargo run --quiet -- demo --store postgres
else
	$(error STORE is sqlite or postgres, not '$(STORE)')
endif

.PHONY: test
test: test-setup ## Run all tests, against real SQLite and PostgreSQL (ARGS=... for some of them)
	@if cargo nextest --version >/dev/null 2>&1; then \
		scripts/with-postgres cargo nextest run --workspace --locked $(ARGS); \
	else \
		echo 'cargo-nextest is not installed: using cargo test'; \
		scripts/with-postgres cargo test --workspace --locked --all-targets $(ARGS); \
	fi

.PHONY: test-setup
test-setup: ## Install what the tests need: PostgreSQL, Python packages
	@scripts/find-postgres --install >/dev/null
	@scripts/setup-python

.PHONY: lint
lint: lint-format lint-code lint-docs lint-dependencies lint-proto ## Run all checks that are no tests

.PHONY: lint-format
lint-format: ## Check the formatting
	cargo fmt --all --check

.PHONY: lint-code
lint-code: ## Clippy, warnings are errors
	cargo clippy --workspace --all-targets --locked -- -D warnings

.PHONY: lint-docs
lint-docs: ## Build the documentation, warnings are errors
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items --locked --quiet

.PHONY: lint-dependencies
lint-dependencies: ## Licences, bans, sources, vulnerabilities, unused dependencies
	scripts/lint-dependencies

.PHONY: lint-proto
lint-proto: ## Lint the API's definition with buf
	scripts/lint-proto

.PHONY: bench-build
bench-build:
	cargo build --release --locked -p hookwright -p hookwright-bench --bin hookwright --bin hookwright-bench
	@scripts/find-postgres --install >/dev/null

.PHONY: bench
bench: bench-build ## Measure against the performance bar, about 40 minutes (BENCH="--scenario NAME --store sqlite --runs 5")
	target/release/hookwright-bench run --profile full $(BENCH)

.PHONY: bench-quick
bench-quick: bench-build ## The same with small numbers, under 3 minutes
	target/release/hookwright-bench run --profile quick $(BENCH)

.PHONY: bench-charts
bench-charts: ## Draw docs/charts from the last report
	target/release/hookwright-bench charts

.PHONY: bench-guard
bench-guard: bench-build ## Fail when a delivery costs 15 % more CPU than recorded, as a ratio to the raw sender
	target/release/hookwright-bench guard

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

.PHONY: clean-test
clean-test: ## Remove what test-setup and lint installed under target/
	rm -rf target/python target/tools
