# Two commands do all: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-gpu lint format tables clean

demo: .venv/base  ## the main job, on this machine
	rm -rf demo
	$(BIN)/fastrt demo --output demo

test: .venv/dev lint  ## lint, types, tests
	$(BIN)/pytest --numprocesses auto --quiet -m "not gpu"

lint: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test-gpu: .venv/dev  ## on a machine with an NVIDIA GPU and the whole TensorRT
	$(BIN)/pytest --quiet -m gpu tests/gpu

tables: .venv/dev  ## the figures in README and docs, from benchmarks/results
	$(BIN)/python -m benchmarks.tables

.venv/base: pyproject.toml scripts/venv.sh
	PYTHON="$(PYTHON)" sh scripts/venv.sh .venv
	$(BIN)/python -m pip install --quiet --editable '.[report]'
	touch $@

.venv/dev: pyproject.toml scripts/venv.sh
	PYTHON="$(PYTHON)" sh scripts/venv.sh .venv
	$(BIN)/python -m pip install --quiet --editable '.[onnx,tensorrt-rtx,report,dev]'
	touch $@

clean:
	rm -rf .venv demo
