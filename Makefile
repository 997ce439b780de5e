# Every target creates or reuses .venv in this folder and installs what it
# needs. `make demo` and `make test` are all that a fresh machine takes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROTOC_STAMP := .venv-protos/.installed
OUT ?= demo
# Tests mostly wait for one core; two processes need 10 GB of memory together,
# 18 GB for the slow ones.
JOBS ?= 2
FAST_TESTS = $(BIN)/python -m pytest -n $(JOBS) --dist loadfile \
	--no-loadscope-reorder -m "not slow"

export TF_CPP_MIN_LOG_LEVEL ?= 2
export TF_ENABLE_ONEDNN_OPTS ?= 1

.PHONY: help install demo benchmark test test-slow test-reference check format \
	protos check-protos clean

help:
	@echo "make demo            train, evaluate, export and predict on drawn scenes"
	@echo "make benchmark       measure each aim in 6 minutes, into OUT=results.jsonl"
	@echo "make test            the tests"
	@echo "make test-slow       the tests that take minutes each"
	@echo "make test-reference  only the comparisons with golden data"
	@echo "make check           lint, types, import directions, tests"
	@echo "make format          format the code"
	@echo "make protos          generate deeplab2_like/protos from protos/"
	@echo "make clean           remove the environments and the demo"

install: $(STAMP)

$(STAMP): setup.cfg
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[train,dev]'
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/python trainer/demo.py --out=$(OUT)

benchmark: OUT = results.jsonl
benchmark: $(STAMP)
	$(BIN)/python benchmarks/quick.py --out=$(OUT)

test: $(STAMP)
	$(FAST_TESTS)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m slow

test-reference: $(STAMP)
	$(BIN)/python -m pytest -q -m reference --reference-complete tests/reference

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy deeplab2_like
	$(BIN)/lint-imports
	$(FAST_TESTS)

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(PROTOC_STAMP):
	$(PYTHON) -m venv .venv-protos
	.venv-protos/bin/pip install --quiet grpcio-tools==1.62.3 setuptools
	@touch $(PROTOC_STAMP)

# An old protoc on purpose: its code runs with every protobuf that the
# supported TensorFlow versions accept.
protos: $(PROTOC_STAMP)
	.venv-protos/bin/python -m grpc_tools.protoc \
		-Ideeplab2_like/protos=protos --python_out=. --pyi_out=. \
		protos/*.proto

check-protos: protos
	git diff --exit-code -- deeplab2_like/protos

clean:
	rm -rf $(VENV) .venv-protos demo build *.egg-info
