# make demo   ethanol learns GFN2-xTB while it moves: run folder ethanol-demo/, figure ethanol-demo/learning.png
# make test   all tests
# make lint   ruff, mypy, import-linter
# make layers the rooms of the package in layers, from their own imports
# make docs   the documentation as a web site, build/docs
#
# Everything is installed into .venv; nothing else is touched.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

# Two test processes on two cores: one thread each for TensorFlow and everything else. A file stays in one of them,
# which compiles and prepares what its tests share once.
ONE_THREAD := TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

# Keras, which nobody here uses, takes a fifth of the start of TensorFlow.
NO_KERAS := TF_USE_LEGACY_KERAS=1

# What XLA has compiled for one test serves the others, those in other processes and the next time as well.
COMPILED_ONCE := TF_XLA_FLAGS=--tf_xla_persistent_cache_directory=$(CURDIR)/.venv/compiled

.PHONY: demo test lint layers docs clean

demo: .venv/.demo
	@$(BIN)/ase-bmdal demo

test: .venv/.test
	@TF_CPP_MIN_LOG_LEVEL=3 $(ONE_THREAD) $(COMPILED_ONCE) $(NO_KERAS) $(BIN)/python -m pytest -n 2 --dist loadfile -q

lint: .venv/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

layers: .venv/.test
	@$(BIN)/python -m tests.architecture.layers

docs: .venv/.docs
	@$(BIN)/mkdocs build --quiet --strict --config-file docs/site/mkdocs.yml

.venv/.%: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing ase_bmdal[$*] into .venv"
	@PIP_ROOT_USER_ACTION=ignore $(PIP) install --editable ".[$*]"
	@touch $@

clean:
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
