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

.PHONY: help install demo benchmark test test-slow test-reference \
	test-bounds test-beam check format protos check-protos clean

help:
	@echo "make demo            train, evaluate, export and predict on drawn scenes"
	@echo "make benchmark       measure time and memory in 7 minutes, OUT=results.jsonl"
	@echo "make test            the tests"
	@echo "make test-slow       the tests that take minutes each"
	@echo "make test-reference  only the comparisons with golden data"
	@echo "make test-bounds     a part of the tests with the lowest and highest versions"
	@echo "make test-beam       the pipelines of Apache Beam, in an environment of its own"
	@echo "make check           lint, types, import directions, tests"
	@echo "make format          format the code"
	@echo "make protos          generate deeplab2_like/protos from protos/"
	@echo "make clean           remove the environments and the demo"

install: $(STAMP)

$(STAMP): setup.cfg
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[train,serve,weights,video,stacks,geo,parquet,imagenet,dev]'
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

# Python of the environments with the lowest and highest versions.
PYTHON_LOWEST ?= $(PYTHON)
PYTHON_HIGHEST ?= $(PYTHON)
# A part for each part of the package: config, labels, storage, steps of
# training, files that are saved and loaded, export and prediction.
BOUNDS_TESTS := tests/config/loader_test.py tests/labels/descriptor_test.py \
	tests/storage/image_files_test.py tests/trainer/fused_adam_test.py \
	tests/trainer/option_pairs_test.py tests/compatibility \
	tests/exports/saved_model_test.py

.venv-lowest/.installed: setup.cfg
	$(PYTHON_LOWEST) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --upgrade pip
	$(PYTHON) tests/bounds.py lowest > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip install --quiet \
		-c .venv-lowest/constraints.txt --editable '.[train]' hypothesis pytest
	@touch $@

# Of tf-models-official only Orbit is used; it asks for an older TensorFlow, and
# imports tf-keras.
.venv-highest/.installed: setup.cfg
	$(PYTHON_HIGHEST) -m venv --clear .venv-highest
	.venv-highest/bin/python -m pip install --quiet --upgrade pip
	$(PYTHON) tests/bounds.py highest > .venv-highest/requirements.txt
	.venv-highest/bin/python -m pip install --quiet --upgrade \
		-r .venv-highest/requirements.txt tf-keras hypothesis pytest
	.venv-highest/bin/python -m pip install --quiet --no-deps \
		--editable . tf-models-official
	@touch $@

test-bounds: .venv-lowest/.installed .venv-highest/.installed
	for set in lowest highest; do \
		echo "The $$set versions:"; \
		.venv-$$set/bin/python -m pip list 2>/dev/null | grep -iE \
			'^(absl-py|h5py|keras|numpy|pillow|protobuf|rich|tensorflow) '; \
		.venv-$$set/bin/python -m pytest -m "not slow" $(BOUNDS_TESTS) \
			|| exit 1; \
	done

# Apache Beam needs an older protobuf and Pillow than the newest ones.
.venv-beam/.installed: setup.cfg
	$(PYTHON) -m venv --clear .venv-beam
	.venv-beam/bin/python -m pip install --quiet --upgrade pip
	.venv-beam/bin/python -m pip install --quiet --editable '.[beam]' \
		hypothesis pytest
	@touch $@

test-beam: .venv-beam/.installed
	.venv-beam/bin/python -m pytest -q tests/predict/beam_test.py \
		tests/recipes/beam_test.py

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
	rm -rf $(VENV) .venv-protos .venv-lowest .venv-highest .venv-beam demo build *.egg-info
