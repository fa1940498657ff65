# Everything a newcomer or a CI machine types. Each target makes or refreshes .venv by itself.
#
#   make run     replay a bundled crash under three stacks and write a report
#   make test    every check that guards a change
#   make bench   measure and write the benchmarks' page   make docs   build the pages into out/site
#   make soak    an hour of random runs  make bless   accept changed golden journals
#   make web     build the dashboard      make web-check   prove that what is committed is what is built
#   make lock    pin newer dependencies  make clean   remove everything that was made

SHELL := /bin/sh
.DEFAULT_GOAL := run
.PHONY: .dev run test bench bench-service results docs web web-check soak bless lock clean lint types layers units determinism
.NOTPARALLEL:

PY := .venv/bin/python
PYTEST := $(PY) -m pytest -p no:cacheprovider
WIDE := from numpy._core import _multiarray_umath as m; \
	print(*[f for f in m.__cpu_dispatch__ if m.__cpu_features__[f]])
WORKERS ?= 2
SOAK_SECONDS ?= 15
HYPOTHESIS_PROFILE ?= ci
export HYPOTHESIS_PROFILE
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1# it would ask the index for a newer version

define say
@printf '\n== %s\n' '$(1)'
endef

.dev:
	@tools/venv.sh requirements-dev.lock

run:
	@tools/venv.sh requirements.lock
	@.venv/bin/tidegate demo

test: lint layers types units determinism
	$(call say,all checks passed)

lint: .dev
	$(call say,ruff: style and formatting)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

layers: .dev
	$(call say,import-linter: who may import whom)
	@$(PY) -c 'import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())'

types: .dev
	$(call say,pyright: strict on src)
	@$(PY) -m pyright

units: .dev
	$(call say,pytest: everything)
	@$(PYTEST) -n $(WORKERS) --dist worksteal --durations 15 --soak-budget $(SOAK_SECONDS)

# The golden journals again on a machine that pretends to be another: no wide vector instructions,
# code for a generic CPU, one thread, another order of hashing. See docs/determinism.md.
determinism: .dev
	$(call say,pytest: golden journals on a plainer CPU)
	@NPY_DISABLE_CPU_FEATURES="$$($(PY) -c '$(WIDE)')" NUMBA_CPU_NAME=generic NUMBA_NUM_THREADS=1 \
	PYTHONHASHSEED=1 $(PYTEST) -q -m golden

soak: .dev
	@HYPOTHESIS_PROFILE=soak $(PYTEST) -n $(WORKERS) -m soak --timeout 3600

bless: .dev
	@$(PYTEST) -q -m golden --bless
	@git status --short tests/golden || true

# The table, and docs/results/benchmarks.md from the same figures: leave the machine alone meanwhile.
bench: .dev
	@.venv/bin/tidegate bench --out out/bench.json
	@$(PY) bench/benchmarks.py out/bench.json

# The live service beside a large venue: some ten minutes, with nothing else running.
bench-service: .dev
	@$(PY) bench/service.py engine
	@for part in http failover pretrade recovery; do $(PY) bench/service_$$part.py || exit 1; done

# The pages under docs/results, written anew from real runs; takes about ten minutes.
results: .dev
	@$(PY) bench/results.py

# Needs Node; what it builds is committed, so that nobody else does.
web: .dev
	@tools/web.sh

web-check: .dev
	@tools/web.sh --check

docs:
	@tools/venv.sh requirements-docs.lock
	@.venv/bin/zensical build --clean --strict

# Newest versions that have been public for a week, for all platforms and Python 3.11 to 3.14.
# No index address enters the files: whoever installs uses the index they trust. Needs uv.
LOCK := uv pip compile pyproject.toml --quiet --no-config --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --exclude-newer '7 days' \
	--custom-compile-command 'make lock' --upgrade
lock:
	$(LOCK) --group build -o requirements.lock
	$(LOCK) --group build --group dev -c requirements.lock -o requirements-dev.lock
	$(LOCK) --group build --group docs -c requirements.lock -o requirements-docs.lock

clean:
	rm -rf .venv .cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist out
