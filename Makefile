# make demo   train a generator by Memory Forcing on real handwritten digits and draw pictures
# make test   lint, the site, and tests, in some 12 minutes of CPU time
# make test-long     the tests that take long: whole trainings, several processes
# make test-package  wheel and sdist, each installed and tried in an environment without the repository
# make test-jax      the tests on JAX, in an environment of its own without TensorFlow
# make test-oldest   some of the tests on the oldest Keras, TensorFlow and NumPy that setup.cfg allows
# make docs   the documentation as a site, in site/
# make test-kserve    the tests of KServe's server, in an environment of its own
# make saved-model    train a generator of digits and export it as saved_models/digits/1
# make figures RUNS='runs/A runs/B'   the paper's figures and table 2, from run folders
# make bench  benchmarks of TensorFlow, which take long; one, or backends or gpu: python -m benchmarks.NAME
# They need Python >= 3.11, make and PyPI, and set up .venv by themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := runs/demo
RUNS ?= $(DEMO)
FIGURES ?= runs/figures
OLDEST ?= tests/test_package.py tests/test_checkpoints.py tests/forcing/test_reference_steps.py \
	tests/cells/test_contract.py

# Hides TensorFlow's notes and warnings after its start.
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo saved-model test test-long test-jax test-package test-oldest test-kserve lint docs format figures bench clean

demo: $(INSTALLED)
	rm -rf $(DEMO)
	$(BIN)/python -m train.sequence_generation --dataset digits --method memory_forcing \
		--epochs 24 --batch-size 32 --learning-rate 3e-3 --out $(DEMO)
	@echo "Pictures: $(DEMO)/*.png"

saved-model: $(INSTALLED)
	rm -rf runs/saved-model
	$(BIN)/python -m train.sequence_generation --dataset digits --method teacher_forcing \
		--epochs 80 --learning-rate 3e-3 --out runs/saved-model
	$(BIN)/python -m train.export runs/saved-model --out saved_models/digits/1 --overwrite
	$(BIN)/python -m tests.export.test_digits

test: lint docs
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-long: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m long

test-jax: .venv-jax/.installed
	KERAS_BACKEND=jax .venv-jax/bin/python -m pytest --numprocesses 2 --dist worksteal \
		-m "long or not long"

.venv-jax/.installed: requirements-jax.txt setup.cfg
	$(PYTHON) -m venv .venv-jax
	.venv-jax/bin/pip install --quiet --requirement requirements-jax.txt
	.venv-jax/bin/pip install --quiet --no-deps --editable .
	touch $@

test-package: $(INSTALLED)
	rm -rf dist build/package
	$(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv build/package
	build/package/bin/pip install --quiet "$$(echo dist/*.whl)[jax]"
	cp tests/try_package.py build/package
	cd build/package && KERAS_BACKEND=jax bin/python try_package.py
	build/package/bin/pip install --quiet --no-deps --force-reinstall dist/*.tar.gz
	cd build/package && KERAS_BACKEND=jax bin/python try_package.py

# What versions of Keras and TensorFlow differ in: layers, training, files. Their warnings are theirs.
test-oldest:
	$(PYTHON) -m venv build/oldest
	build/oldest/bin/pip install --quiet --requirement requirements-oldest.txt
	build/oldest/bin/python -m pytest -W default $(OLDEST)

test-kserve:
	$(PYTHON) -m venv .venv-kserve
	.venv-kserve/bin/pip install --quiet --requirement serving/requirements-kserve.txt \
		"pytest>=9,<10" "hypothesis>=6,<7"
	.venv-kserve/bin/python -m pytest tests/serving/test_kserve.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

figures: $(INSTALLED)
	$(BIN)/python -m train.figures $(RUNS) --out $(FIGURES)

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.walk
	$(BIN)/python -m benchmarks.unroll
	$(BIN)/python -m benchmarks.cells
	$(BIN)/python -m benchmarks.length
	$(BIN)/python -m benchmarks.linkage
	$(BIN)/python -m benchmarks.parts
	$(BIN)/python -m benchmarks.compilation
	$(BIN)/python -m benchmarks.train_step
	$(BIN)/python -m benchmarks.outputs
	$(BIN)/python -m benchmarks.sequence_gan
	$(BIN)/python -m benchmarks.copy_task
	$(BIN)/python -m benchmarks.discriminators
	$(BIN)/python -m benchmarks.sampling
	$(BIN)/python -m benchmarks.clients
	$(BIN)/python -m benchmarks.configurations
	$(BIN)/python -m benchmarks.kills --method memory_forcing
	$(BIN)/python -m benchmarks.kills --method positive_negative

clean:
	rm -rf $(VENV) .venv-jax site dist .pytest_cache .ruff_cache .mypy_cache .hypothesis build *.egg-info

$(INSTALLED): requirements.txt setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@
