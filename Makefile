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
	@echo 'building target/release/hookwright: about 10 minutes on 2 cores the first time'
	cargo build --release --locked --bin hookwright

# Cargo shows the progress.
SAY_DEMO = echo 'building for development: about 5 minutes on 2 cores the first time'

.PHONY: demo
demo: ## See a webhook delivered from end to end (STORE=sqlite or postgres)
ifeq ($(STORE),sqlite)
	@$(SAY_DEMO)
	@cargo run --locked -- demo
else ifeq ($(STORE),postgres)
	@scripts/find-postgres --install >/dev/null
	@$(SAY_DEMO)
	@cargo build --locked
	@scripts/with-postgres cargo run --locked -- demo --store postgres
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
test-setup: ## Install what the tests need: PostgreSQL, PgBouncer, Python packages, the example clients, a browser
	@scripts/find-postgres --install >/dev/null
	@scripts/setup-pgbouncer
	@scripts/setup-python
	@scripts/setup-clients
	@scripts/setup-browser

.PHONY: screenshots
screenshots: ## Write screenshots of the console's pages to docs/console
	@scripts/setup-browser
	cargo test --locked --test e2e -- --ignored console::pages::screenshots

.PHONY: reference
reference: ## Generate docs/reference from the comments in proto/, and the pages of the settings
	cargo run --quiet --locked -p hookwright-reference -- docs/reference
	cargo run --quiet --locked --bin hookwright -- config --sample >docs/hookwright.toml
	cargo run --quiet --locked --bin hookwright -- config --markdown >docs/settings.md

.PHONY: release-api
release-api: ## Record the present API as released: later changes must not break its clients
	scripts/lint-proto --release

.PHONY: lint
lint: lint-format lint-code lint-docs lint-dependencies lint-proto lint-language lint-imports ## Run all checks except the tests

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

.PHONY: lint-language
lint-language: ## Reject hard-to-read phrases, and commit subjects that break the rules
	scripts/lint-language

.PHONY: lint-imports
lint-imports: ## Reject modules that import each other
	scripts/lint-imports

.PHONY: bench-build
bench-build:
	cargo build --release --locked -p hookwright -p hookwright-bench --bin hookwright --bin hookwright-bench
	@scripts/find-postgres --install >/dev/null

.PHONY: bench
bench: bench-build ## Measure against the performance targets, about 90 minutes (BENCH="--scenario NAME --store sqlite --runs 5")
	target/release/hookwright-bench run --profile full $(BENCH)

.PHONY: bench-quick
bench-quick: bench-build ## The basic scenarios with small numbers, under 3 minutes
	target/release/hookwright-bench run --profile quick $(BENCH)

.PHONY: bench-charts
bench-charts: ## Draw docs/charts from the last report
	target/release/hookwright-bench charts

.PHONY: bench-guard
bench-guard: bench-build ## Fail when a delivery costs 15 % more CPU than recorded, as a ratio to the raw sender
	target/release/hookwright-bench guard

# Arguments of the fault harness.
SECONDS ?= 60
NODES ?= 3
SEED ?= 1
TORTURE ?=

.PHONY: torture-build
torture-build:
	cargo build --locked --bin hookwright
	cargo build --locked -p hookwright-torture
	@scripts/find-postgres --install >/dev/null

.PHONY: torture
torture: torture-build ## Inject faults and check that nothing is lost (SECONDS=60 NODES=3 SEED=1 STORE=sqlite or postgres)
	target/debug/hookwright-torture run --seconds $(SECONDS) --nodes $(NODES) --seed $(SEED) --store $(STORE) $(TORTURE)

.PHONY: torture-aged
torture-aged: ## Build an installation as of months of use, then restart, kill, upgrade, clean up under load (STORE=sqlite or postgres)
	cargo build --profile torture --locked -p hookwright -p hookwright-torture --bin hookwright --bin hookwright-torture
	@scripts/find-postgres --install >/dev/null
	target/torture/hookwright-torture aged --store $(STORE) $(TORTURE)

.PHONY: torture-kills
torture-kills: torture-build ## Kill one of three nodes ten times, and measure how long it takes to recover
	target/debug/hookwright-torture kills $(TORTURE)

# Debian's strace is installed where it is missing and can be.
.PHONY: torture-power-loss
torture-power-loss: torture-build ## Simulate power loss under SQLite, from a strace of its writes and syncs
	@command -v strace >/dev/null || apt-get install -y -q strace
	target/debug/hookwright-torture power-loss $(TORTURE)

.PHONY: torture-rolling
torture-rolling: torture-build ## Restart three nodes in turn under load
	target/debug/hookwright-torture rolling $(TORTURE)

# Coverage feedback as cargo-fuzz sets it up; no nightly compiler is needed. With a target, build scripts are built without it.
# The address sanitizer is omitted: no unsafe code is tested here.
FUZZ_FLAGS = --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1

# The fuzz target: response (of a receiver) or request (to `hookwright listen`).
TARGET ?= response

.PHONY: fuzz
fuzz: ## Fuzz responses or requests, with coverage feedback (TARGET=response or request, SECONDS=60); needs a C++ compiler
	@mkdir -p target/fuzz/corpus/$(TARGET)
	@cp Cargo.lock tests/fuzz/Cargo.lock
	RUSTFLAGS="$(FUZZ_FLAGS)" cargo run --release --target "$$(rustc -vV | sed -n "s/^host: //p")" \
		--manifest-path tests/fuzz/Cargo.toml --target-dir target/fuzz --bin $(TARGET) -- \
		-max_total_time=$(SECONDS) -max_len=4096 -artifact_prefix=target/fuzz/ target/fuzz/corpus/$(TARGET) tests/fuzz/seeds/$(TARGET)

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

.PHONY: clean-test
clean-test: ## Remove what test-setup and lint installed under target/
	rm -rf target/python target/examples target/browser target/tools
