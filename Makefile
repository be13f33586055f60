# Two commands do all: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-models test-gpu test-haswell fuzz lint format tables clean

demo: .venv/base  ## the main job, on this machine
	rm -rf demo
	$(BIN)/fastrt demo --output demo

# One process a core runs tests, so the threads of OpenBLAS would only wait for one another.
test: export OPENBLAS_NUM_THREADS = 1
test: .venv/dev lint  ## lint, types, tests
	# int8 on OpenVINO once more as on a CPU without VNNI, whose 16-bit sums saturate
	ONEDNN_MAX_CPU_ISA=AVX512_CORE $(BIN)/pytest --numprocesses auto --quiet tests/targets/test_int8.py \
		-k "not onnx and not tensorrt and not table"
	$(BIN)/pytest --numprocesses auto --quiet -m "not gpu and not grid"

test-models: export OPENBLAS_NUM_THREADS = 1
test-models: .venv/dev  ## every cell of README's table of models, but those of tensorrt
	$(BIN)/pytest --numprocesses auto --dist loadgroup --quiet -m grid

test-haswell: .venv/dev  ## int8 sums and operations of all runtimes on an emulated CPU with AVX2 alone; needs qemu-user
	qemu-x86_64 -cpu Haswell $(BIN)/python -m pytest --quiet tests/targets/test_parity.py tests/targets/test_int8.py \
		-k "test_parity or saturate"

fuzz: FUZZ_MINUTES ?= 10
fuzz: .venv/dev  ## damaged and hostile files of every kind; what fails is kept in fuzz/found
	$(BIN)/python -m fuzz --minutes $(FUZZ_MINUTES)

lint: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test-gpu: .venv/dev  ## on a machine with an NVIDIA GPU and the whole TensorRT
	$(BIN)/pytest --quiet -m gpu tests/gpu

tables: .venv/dev  ## the figures in README and docs, and docs/reference/cli.md
	$(BIN)/python -m benchmarks.tables
	$(BIN)/python scripts/cli_reference.py

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
