# `make repro` and `make test` are each complete by themselves: they make .venv, install requirements.lock into it and go.
# `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
INSTALLED := $(VENV)/.installed
# The first Python on the PATH that the project runs on; `make repro PYTHON=/path/to/python3.12` chooses another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

# Of `make test-processors`.
NUMERIC := tests/model tests/code/test_enhance.py tests/code/test_enhance_training.py

# Of `make ui`.
PORT ?= 5000

# Stages, tests and `mlflow run` call plain `python`, which is .venv's here.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONUNBUFFERED := 1

.PHONY: help install repro smoke test test-processors test-long outage faults fuzz bench seeds paper-check gpu-check ui
.PHONY: weights wheel docs lint format lock lock-check clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

install: $(INSTALLED)  ## make .venv and install requirements.lock (repro and test do this themselves)

# DVC and the tests want a git repository: said before the long installation, not after it.
.PHONY: repository
repository:
	@command -v git >/dev/null || { echo "error: no git on the PATH; install it (on Debian and Ubuntu: apt-get install git)" >&2; exit 1; }
	@reason="$$(git rev-parse --is-inside-work-tree 2>&1)" || { \
	  echo "error: $$reason: this folder is no git repository that git can use, and DVC needs one. After a download" \
	    "as ZIP: git init && git add -A && git commit -m 'As downloaded'; or: git clone" >&2; exit 1; }

# The stamp is a copy of the lock it was installed from, written last: a half-finished install does not count, and a
# checkout that only touches the lock's time does not install again.
$(INSTALLED): requirements.lock | repository
	@if cmp -s requirements.lock $@; then touch $@; exit; fi; \
	rm -f $@; \
	if ! $(VENV)/bin/python -m pip --version >/dev/null 2>&1; then \
	  chosen="$(PYTHON)"; \
	  "$${chosen:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "error: no Python 3.11 or later: '$${chosen:-python3}' is not one." \
	      "Install it, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }; \
	  echo "making $(VENV) with $$chosen ($$($$chosen -V))"; \
	  rm -rf $(VENV); \
	  "$$chosen" -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "error: '$$chosen -m venv' failed (on Debian and Ubuntu: apt-get install python3-venv)" >&2; exit 1; }; \
	fi; \
	echo "installing requirements.lock into $(VENV): some minutes the first time"; \
	$(VENV)/bin/python -m pip install --disable-pip-version-check -q "$$(grep '^setuptools==' requirements.lock)"; \
	$(VENV)/bin/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -r requirements.lock; \
	$(VENV)/bin/python -m pip check --disable-pip-version-check; \
	cp requirements.lock $@.new && mv $@.new $@

repro: $(INSTALLED)  ## run the pipeline: what changed, and what depends on it
	dvc repro
	@echo "metrics: reports/metrics.json    runs: make ui"

smoke: $(INSTALLED)  ## the whole pipeline in a copy of the project, with tiny settings (two minutes)
	python .ci/smoke.py

# One thread per test worker: torch would otherwise start one per core in each of them.
test: $(INSTALLED)  ## the tests, in minutes; REQUIRE_ALL=1 make test: the slow ones too, nothing skipped, and the coverage
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 python -m pytest -n $${TEST_WORKERS:-2} --dist loadfile \
	  $(if $(REQUIRE_ALL),--cov,-m "not long and not slow")
	$(if $(REQUIRE_ALL),,@echo "not run: the tests marked slow, which REQUIRE_ALL=1 make test runs too (20 minutes more)")

# What a processor without AMX, without AVX-512 or with other threads rounds otherwise.
test-processors: $(INSTALLED)  ## the tests of networks and training as other processors compute them
	for isa in AVX512_CORE AVX2; do OMP_NUM_THREADS=1 ONEDNN_MAX_CPU_ISA=$$isa python -m pytest $(NUMERIC); done
	OMP_NUM_THREADS=1 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=default python -m pytest $(NUMERIC)
	OMP_NUM_THREADS=2 python -m pytest $(NUMERIC)

test-long: $(INSTALLED)  ## the long tests
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 python -m pytest -m long --timeout 3600

outage: $(INSTALLED)  ## trainings through ten minutes without MLflow's server (half an hour)
	python -m pytest tests/pipeline/test_tracking_outage.py -m long --timeout 3600 -v

# FAULTS="--only kill --times 5": one of them, so often. The table has also what earlier runs recorded of the others.
faults: $(INSTALLED)  ## kills, full disks, damaged files and other faults: reports/faults.md (half an hour)
	OMP_NUM_THREADS=1 PYTHONPATH=tests python -m faults --record reports/faults.json $(FAULTS)

fuzz: $(INSTALLED)  ## 2,200 damaged videos through measure and predict: reports/fuzzing.md (minutes)
	OMP_NUM_THREADS=1 PYTHONPATH=tests:src python -m faults.fuzz --report reports/fuzzing.md $(FUZZ)

# BENCH="--only input_speed": one section; the others stay as they are.
bench: $(INSTALLED)  ## speed beside stock tools: benchmarks/RESULTS.md (a quarter of an hour, after repro, alone)
	python benchmarks/bench.py $(BENCH)

seeds: $(INSTALLED)  ## train and evaluate three seeds; mean and interval
	python src/seeds.py

# The published settings at full size for two steps of the optimiser, on synthetic clips of its own.
paper-check: $(INSTALLED)  ## two real optimisation steps of the paper's settings on this machine (minutes)
	python .ci/paper_check.py

# GPU_CHECK=--cpu: the same paths at tiny size, without a GPU.
gpu-check: $(INSTALLED)  ## every path that uses a GPU: a table to paste into an issue (five minutes)
	@python .ci/gpu_check.py $(GPU_CHECK)

ui: $(INSTALLED)  ## the runs on MLflow's pages, at an address that is printed (PORT=5000)
	@python src/ui.py --port $(PORT)

# As the pipeline makes them, with settings of their own, so that a stopped one goes on.
WEIGHTS := --profile weights --out cache/weights
weights: $(INSTALLED)  ## train anew the weights that come with the project, models/synthetic (an hour)
	python src/synthesize.py demo $(WEIGHTS)
	python src/prepare.py demo $(WEIGHTS)
	python src/train_enhancer.py $(WEIGHTS)
	python src/pretrain.py $(WEIGHTS)
	python src/package_weights.py $(WEIGHTS)

# Built in a copy: setuptools leaves files in the folder that it builds in, and takes up those of before.
wheel: $(INSTALLED)  ## the command darkaction as a package: dist/*.whl
	copy="$$(mktemp -d)"; trap 'rm -rf "$$copy"' EXIT; \
	git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$$copy"; \
	$(VENV)/bin/python -m pip wheel --disable-pip-version-check -q --no-deps --no-build-isolation -w dist "$$copy"
	@ls dist/*.whl

docs: $(INSTALLED)  ## build the pages of docs/ as a site: site/index.html
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build --quiet
	@echo "pages: site/index.html"

lint: $(INSTALLED)  ## ruff, mypy, the layers of the packages, security faults and known vulnerabilities
	ruff check .
	ruff format --check .
	mypy
	PYTHONPATH=src lint-imports --no-logo
	bandit --quiet --recursive --configfile pyproject.toml src .ci benchmarks
	python .ci/audit.py

format: $(INSTALLED)  ## let ruff order imports and lay out the code
	ruff check --fix .
	ruff format .

lock: $(INSTALLED)  ## write requirements.lock from what .venv holds of requirements.in
	python .ci/lock.py write

lock-check: $(INSTALLED)  ## ask pip for the lock on every platform; installs nothing
	python .ci/lock.py check

clean:  ## remove .venv, site and caches; data, models and runs stay
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
