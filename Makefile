# Run `make help` for the list of targets.

VENV     := .venv
BIN      := $(VENV)/bin
DURATION ?= 60
WORKERS  ?= auto

# PYTHON=... picks an interpreter. Without it, the newest one on the PATH is taken.
PYTHON   ?=
PYTHONS  := python3.14 python3.13 python3.12 python3.11 python3 python

# Tools that the locks do not hold: one writes the locks, one replaces a missing venv module.
UV_VERSION         := 0.13.8
VIRTUALENV_VERSION := 21.15.7

# The second server of the contract tests. It needs node of this version or newer.
LITE       := tests/lite
NODE_MAJOR := 20

# The layers without I/O. Every branch in them must be covered.
PURE_LAYERS := core/model/*,core/dhan/*,core/exits/*,core/pricing/*

PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input
UV_COMPILE  := $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test bench bench-redis detection feed-day feed-scale books fuzz mutation lock format clean install install-test \
	check-format check-lint check-types check-imports check-tests check-coverage

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

demo: install ## Run the monitor on simulated markets (DURATION=60 seconds)
	@$(BIN)/python realtime_automated_monitor.py --demo --execute --duration $(DURATION)

test: check-format check-lint check-types check-imports check-tests check-coverage ## Run every gate, in order
	@echo "== All gates passed"

bench: install ## Measure the latency of the hot paths
	@$(BIN)/python -m tests.perf.bench

bench-redis: install $(VENV)/.stamp-redis ## Compare the latency with a healthy and with a broken Redis
	@$(BIN)/python -m tests.perf.redis_side_by_side

check-format: install-test ## Gate 1: formatting
	@echo "== Format (ruff format)"
	@$(BIN)/python -m ruff format --check .

check-lint: install-test ## Gate 2: lint rules
	@echo "== Lint (ruff check)"
	@$(BIN)/python -m ruff check --quiet .

check-types: install-test ## Gate 3: types
	@echo "== Types (mypy)"
	@$(BIN)/python -m mypy

check-imports: install-test ## Gate 4: directions of imports
	@echo "== Import directions (import-linter)"
	@$(BIN)/lint-imports --no-logo

check-tests: install-test ## Gate 5: tests, with coverage
	@echo "== Tests (pytest)"
	@$(BIN)/python -m pytest -q -n $(WORKERS) --cov --cov-report=

check-coverage: install-test ## Gate 6: coverage of the last run of gate 5
	@echo "== Coverage (whole core, then 100% of the pure layers)"
	@$(BIN)/python -m coverage report --format=total | sed 's/.*/core: &%/'
	@$(BIN)/python -m coverage report --include='$(PURE_LAYERS)' --fail-under=100

format: install-test ## Format the code and apply the safe fixes
	@$(BIN)/python -m ruff format --quiet .
	@$(BIN)/python -m ruff check --fix --quiet .

detection: install-test ## Trials: how soon silence, stale legs and dead sockets are seen (about 8 minutes)
	@$(BIN)/python -m tests.campaigns.detection

feed-day: install-test ## A six-hour day in minutes, with a storm on the feed, against the same day without
	@$(BIN)/python -m tests.campaigns.feed_day
	@$(BIN)/python -m tests.campaigns.feed_memory

feed-scale: install-test ## 25,000 instruments over five connections through the whole monitor
	@$(BIN)/python -m tests.campaigns.scale

books: install-test ## 200 generated books over each recorded day, every exit against a slow oracle (about 2 minutes)
	@BOOKS=200 $(BIN)/python -m pytest -q -n $(WORKERS) tests/replay/test_books.py

fuzz: install-test ## Ten million broken feed messages
	@$(BIN)/python -m tests.fuzz.feed_packets --millions 10

mutation: install-test ## Change core/exits and strategies in small ways: do the tests notice? (MODULES="core/exits/rules.py ...")
	@$(BIN)/python -m tests.mutation $(MODULES)

lock: $(VENV)/.stamp-lock ## Write both lock files again
	@$(UV_COMPILE) -o requirements.lock requirements.txt
	@$(UV_COMPILE) -c requirements.lock -o tests/requirements.lock tests/requirements.txt

clean: ## Remove the environment, the caches and the reports
	@rm -rf $(VENV) $(LITE)/node_modules .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

install: $(VENV)/.stamp-runtime ## Install the runtime packages
install-test: $(VENV)/.stamp-test $(VENV)/.stamp-postgresql $(VENV)/.stamp-redis $(VENV)/.stamp-lite ## Install the runtime and test packages

# The locks name every package. Without --no-deps an older pip takes "coverage[toml]" for a package that no lock pins.
$(VENV)/.stamp-runtime: requirements.lock | $(VENV)/.stamp-venv
	@echo "== Installing the runtime packages"
	@$(PIP_INSTALL) --require-hashes --no-deps -r requirements.lock
	@touch $@

$(VENV)/.stamp-test: tests/requirements.lock | $(VENV)/.stamp-venv
	@echo "== Installing the test packages"
	@$(PIP_INSTALL) --require-hashes --no-deps -r tests/requirements.lock
	@touch $@

$(VENV)/.stamp-lock: Makefile | $(VENV)/.stamp-venv
	@$(PIP_INSTALL) uv==$(UV_VERSION)
	@touch $@

# The next three are for tests only. They never fail: without them the tests that need them are skipped, each with the reason.
# No stamp is left then, so that the next run looks again.

# PostgreSQL with wal2json, from apt as root. An installed server's version goes first. Debian would make and start a system
# cluster for a new server: its switch for that is off while this installs, and only where no such setting was there before.
$(VENV)/.stamp-postgresql: | $(VENV)/.stamp-venv
	@set -u; \
	found() { \
		for plugin in /usr/lib/postgresql/*/lib/wal2json.so "$$(pg_config --pkglibdir 2>/dev/null)/wal2json.so"; do \
			[ ! -e "$$plugin" ] || return 0; \
		done; \
		return 1; \
	}; \
	skipped() { echo "== Skipped PostgreSQL with wal2json: $$1. Tests over it will be skipped"; exit 0; }; \
	if found; then touch $@; exit 0; fi; \
	command -v apt-get >/dev/null 2>&1 || skipped "not installed, and there is no apt-get"; \
	[ "$$(id -u)" = 0 ] || skipped "not installed, and only root may install it (postgresql, postgresql-NN-wal2json)"; \
	echo "== Installing PostgreSQL with wal2json"; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq >/dev/null 2>&1 || true; \
	installed=$$(ls -d /usr/lib/postgresql/*/bin/postgres 2>/dev/null | cut -d/ -f5 | sort -rn); \
	usual=$$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$$/\1/p' | head -n 1); \
	chosen=; \
	for version in $$installed $$usual; do \
		if apt-cache show "postgresql-$$version-wal2json" >/dev/null 2>&1; then chosen=$$version; break; fi; \
	done; \
	[ -n "$$chosen" ] || skipped "apt has no postgresql-NN-wal2json"; \
	switch=/etc/postgresql-common/createcluster.conf; ours=; \
	if [ ! -e "$$switch" ]; then \
		mkdir -p "$${switch%/*}" && echo "create_main_cluster = false" >"$$switch" && ours=yes; \
	fi; \
	apt-get install -y -qq -o DPkg::Lock::Timeout=60 "postgresql-$$chosen" "postgresql-$$chosen-wal2json" >/dev/null 2>&1; \
	if [ -n "$$ours" ]; then cp "/usr/share$${switch#/etc}" "$$switch" 2>/dev/null || rm -f "$$switch"; fi; \
	if found; then touch $@; else skipped "apt-get could not install postgresql-$$chosen-wal2json"; fi

# A Redis server, from apt as root: redis-tools has the whole program, and unlike redis-server it starts no system service.
$(VENV)/.stamp-redis: | $(VENV)/.stamp-venv
	@set -u; \
	found() { command -v redis-server >/dev/null 2>&1 || command -v redis-check-rdb >/dev/null 2>&1; }; \
	skipped() { echo "== Skipped the Redis server: $$1. Tests over it will be skipped"; exit 0; }; \
	if found; then touch $@; exit 0; fi; \
	command -v apt-get >/dev/null 2>&1 || skipped "not installed, and there is no apt-get"; \
	[ "$$(id -u)" = 0 ] || skipped "not installed, and only root may install it (redis-tools)"; \
	echo "== Installing the Redis server"; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq >/dev/null 2>&1 || true; \
	apt-get install -y -qq -o DPkg::Lock::Timeout=60 redis-tools >/dev/null 2>&1; \
	if found; then touch $@; else skipped "apt-get could not install redis-tools"; fi

$(VENV)/.stamp-lite: $(LITE)/package.json $(LITE)/package-lock.json | $(VENV)/.stamp-venv
	@set -u; \
	skipped() { echo "== Skipped @supabase/lite: $$1. Tests over it will be skipped"; exit 0; }; \
	command -v npm >/dev/null 2>&1 || skipped "there is no npm"; \
	node -e 'process.exit(parseInt(process.versions.node) >= $(NODE_MAJOR) ? 0 : 1)' >/dev/null 2>&1 || \
		skipped "it needs node $(NODE_MAJOR) or newer"; \
	echo "== Installing @supabase/lite"; \
	if (cd $(LITE) && npm ci --ignore-scripts --omit=optional --omit=peer --no-audit --no-fund --loglevel=silent \
		--prefer-offline --fetch-retries=1) >/dev/null 2>&1; then touch $@; else skipped "npm ci failed in $(LITE)"; fi

# A Debian python3 may come without the venv module. Then, in this order: the system package
# (root only), virtualenv in a temporary folder, an error.
$(VENV)/.stamp-venv:
	@set -u; python=; \
	for candidate in $(or $(PYTHON),$(PYTHONS)); do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
			python=$$candidate; break; \
		fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "Error: found no working Python 3.11 or newer as: $(or $(PYTHON),$(PYTHONS))." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; \
	fi; \
	version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	echo "== Creating $(VENV) with Python $$version"; \
	create() { "$$python" -m venv --clear $(VENV) >/dev/null 2>&1; }; \
	from_apt() { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 1; \
		export DEBIAN_FRONTEND=noninteractive; apt-get update -qq >/dev/null 2>&1 || true; \
		{ apt-get install -y -qq "python$$version-venv" || apt-get install -y -qq python3-venv; } >/dev/null 2>&1; \
	}; \
	from_virtualenv() { \
		rm -rf $(VENV); "$$python" -m virtualenv --quiet $(VENV) >/dev/null 2>&1 && return 0; \
		folder=$$(mktemp -d) || return 1; result=1; \
		if "$$python" -m pip install -qq --target "$$folder" virtualenv==$(VIRTUALENV_VERSION) >/dev/null 2>&1; then \
			PYTHONPATH="$$folder" "$$python" -m virtualenv --quiet $(VENV) >/dev/null 2>&1 && result=0; \
		fi; \
		rm -rf "$$folder"; return $$result; \
	}; \
	if create || { from_apt && create; } || from_virtualenv; then touch $@; else \
		rm -rf $(VENV); \
		echo "Error: $$python cannot create a virtual environment." >&2; \
		echo "Install python$$version-venv (or python3-venv, or virtualenv), then run make again." >&2; \
		exit 1; \
	fi
