# Everything a developer or CI runs. `make` prints this list.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
PEERS := .venv-bench/.installed
FFCV := ffcv==1.0.2

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check fix bench bench-stream bench-dropin bench-audit bench-train bench-judging lock clean

help:       ## print this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/: .*## /\t/' | expand -t 14

# The locked dependencies with their hashes, then the project itself, editable.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Sightline needs Python 3.11 or newer; set one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(INSTALLED)      ## train on handwritten digits and write a report, in about a minute
	$(BIN)/sightline demo

test: $(INSTALLED)      ## the test suite without the long proofs
	$(BIN)/pytest -m "not slow" -n 2 --dist worksteal

test-all: $(INSTALLED)  ## every test, also the long proofs
	$(BIN)/pytest

check: $(INSTALLED)     ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(INSTALLED)       ## let ruff format and repair
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The libraries that the stream is measured against. torch goes first, with what it needs; FFCV is
# built here, and where it does not build, the benchmark says so.
$(PEERS): benchmarks/requirements-peers.txt pyproject.toml
	$(PYTHON) -m venv --clear .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check \
		$$(grep '^torch==' benchmarks/requirements-peers.txt)
	.venv-bench/bin/pip install --quiet --disable-pip-version-check --no-deps \
		-r benchmarks/requirements-peers.txt
	.venv-bench/bin/pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation -e .
	.venv-bench/bin/pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation $(FFCV) || \
		echo "FFCV does not build: it needs libopencv-dev, libturbojpeg0-dev and pkg-config"
	@touch $@

bench-stream: $(PEERS)  ## the stream beside its peers, 25 minutes: make bench-stream DATA=folder
	.venv-bench/bin/python -m benchmarks.stream --json docs/benchmarks.json \
		$(if $(DATA)$(IMAGES),--data "$(or $(DATA),$(IMAGES))")
	.venv-bench/bin/python -m benchmarks.stream.page docs/benchmarks.json docs/benchmarks.md

bench-dropin: $(INSTALLED)  ## the drop-in beside Keras' own class, 6 minutes: make bench-dropin DATA=folder
	$(BIN)/python -m benchmarks.dropin --json docs/dropin.json \
		$(if $(DATA)$(IMAGES),--data "$(or $(DATA),$(IMAGES))")

bench-audit: $(INSTALLED)   ## the audit beside bare decoding, and the search for copies, 15 minutes: make bench-audit DATA=folder
	$(BIN)/python -m benchmarks.audit_pass $(if $(DATA)$(IMAGES),"$(or $(DATA),$(IMAGES))")
	$(BIN)/python -m benchmarks.copies_search

# Ratios in one run, four hours; then whole trainings, six hours, which go on where they were broken
# off and are kept in RACE. JAX and torch join in with BACKENDS="jax=PYTHON torch=PYTHON".
bench-train: $(INSTALLED)   ## training beside plain Keras, ten hours: make bench-train DATA=folder
	$(BIN)/python -m benchmarks.train_ratios --json docs/benchmarks-train.json \
		--backends tensorflow $(BACKENDS) --data "$(or $(DATA),$(IMAGES))"
	$(BIN)/python -m benchmarks.train_race --json docs/benchmarks-race.json \
		--out "$(or $(RACE),runs/race)" --data "$(or $(DATA),$(IMAGES))"
	$(BIN)/python -m benchmarks.training.page docs/benchmarks-train.json \
		docs/benchmarks-training.md docs/benchmarks-race.json

bench-judging: $(INSTALLED) ## an evaluation with its intervals beside scikit-learn, a minute
	$(BIN)/python -m benchmarks.judging_speed --json docs/judging.json

bench: bench-stream bench-dropin bench-audit bench-train bench-judging    ## all of them

lock:                   ## write requirements.lock anew (needs uv)
	uv pip compile --universal --python-version 3.11 --extra tensorflow --extra optuna --extra dev \
		--generate-hashes --no-header --no-annotate --quiet pyproject.toml -o requirements.lock

clean:                  ## remove the environments and every cache; runs stay
	rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
