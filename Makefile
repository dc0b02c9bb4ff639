# make demo   the main job on real audio (needs python3 >= 3.11 with venv; no torch, no compiler)
# make test   everything that can be checked: tests, linters, types, import rules, README blocks
# make book   docs/ and every README as a site in build/book, opened from the disk
# make encoders-full  every encoder family at its full size, ten minutes
# make faults  the fault campaigns, farther than the tests go; results are kept (root, up to a day)
# make fuzz   a million hostile bundles and bits flipped in a real one; results are kept (x86-64 Linux, up to a day)
# make bench  figures of this machine, and of what one would use instead; up to half an hour
# make bench-encoders  what forms of encoders lose and cost, on shared data, an hour or two
# make bench-kernels  the head against its peers, for hours
# make bench-probing  heads, precisions and encoders on shared data, for hours
# make bench-privacy  how much synthetic speech a private class takes out, for hours
# make vm     the package in an emulated board: install, faults, power cuts, updates (root; see tests/vm)
# make wheels  for any machine (NumPy), x86-64 and AArch64 (kernels in C)

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN = $(VENV)/bin
WHEEL = $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist .
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: book demo test faults fuzz encoders-full bench bench-encoders bench-kernels bench-privacy bench-probing vm wheels clean

demo: $(VENV)/.base
	@$(BIN)/edge-probe demo

PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest
PAIRS = $(PYTEST) -n $(JOBS) --dist worksteal

# How late a recorder may be is part of what the live tests look at: they meet no tests that calculate.
test: $(VENV)/.all
	$(PAIRS) -m "not live and not alone" --ignore tests/faults
	$(PAIRS) -m "not live and not alone" tests/faults
	$(PAIRS) -m "live and not alone" tests/faults tests/field tests/device
	$(PYTEST) -m alone tests/faults

book: $(VENV)/.all
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -c docs -d build/book-parts . build/book
	@echo build/book/index.html

faults: $(VENV)/.all
	EDGE_PROBE_NO_SKIP=1 EDGE_PROBE_SEED=$$(date +%s) EDGE_PROBE_KILLS=2000 \
	EDGE_PROBE_CLASSIFIER_KILLS=2000 EDGE_PROBE_CUTS=500 EDGE_PROBE_REPLAYS=3000 \
	EDGE_PROBE_ERRORS=10000 EDGE_PROBE_SOAK_DAYS=40 EDGE_PROBE_BUDGET_S=300 EDGE_PROBE_BUDGET_PACE=1 \
	EDGE_PROBE_LOSSES=75 EDGE_PROBE_LIVE_S=300 \
	EDGE_PROBE_INSTALL_FAULTS=100000 EDGE_PROBE_INSTALL_CUTS=1320 \
	EDGE_PROBE_FAULTS_JSON=benchmarks/results/faults.json \
	$(PYTEST) tests/faults

encoders-full: $(VENV)/.all
	rm -f benchmarks/results/encoders.json
	EDGE_PROBE_NO_SKIP=1 EDGE_PROBE_ENCODER_SIZE=full \
	EDGE_PROBE_ENCODERS_JSON=benchmarks/results/encoders.json $(BIN)/python -m pytest \
	tests/host/test_encoder_families.py tests/host/test_encoder_convert.py -k "authors or test_convert"

fuzz: $(VENV)/.all
	EDGE_PROBE_NO_SKIP=1 EDGE_PROBE_FLIPS=10000 EDGE_PROBE_FUZZ_INPUTS=1000000 EDGE_PROBE_FUZZ_S=86400 \
	EDGE_PROBE_FAULTS_JSON=benchmarks/results/fuzz.json \
	$(PYTEST) tests/faults/test_bundle_fuzzing.py

bench: $(VENV)/.all
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python benchmarks/run.py

bench-kernels: $(VENV)/.all
	@$(PIP) -e '.[export,bench]'
	$(BIN)/python benchmarks/bench_kernels.py

bench-encoders: $(VENV)/.all
	$(BIN)/python benchmarks/bench_encoders.py $${EDGE_PROBE_SHARED:-../shared}/data

bench-privacy: $(VENV)/.all
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_privacy.py

bench-probing: $(VENV)/.all
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_probing.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_probing.py --heads

vm: $(VENV)/.base
	PYTHONPATH=tests $(BIN)/python -m vm

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("edge-probe needs Python 3.11 or newer, found " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt setup.py $(wildcard edge_probe/head/native/*.[ch]) | $(VENV)/bin/python
	@echo "installing edge-probe into $(VENV) ..."
	@$(PIP) -e .
	@touch $@

$(VENV)/.all: $(VENV)/.base
	@echo "installing torch and the test tools into $(VENV) ..."
	@$(PIP) -e '.[export,desk,cluster,docs,test,dev]'
	@touch $@

wheels: $(VENV)/.all  # needs gcc and gcc-aarch64-linux-gnu
	rm -rf dist
	EDGE_PROBE_NO_NATIVE=1 $(WHEEL)
	EDGE_PROBE_PLATFORM=manylinux_2_17_x86_64 CC=gcc $(WHEEL)
	EDGE_PROBE_PLATFORM=manylinux_2_17_aarch64 CC=aarch64-linux-gnu-gcc $(WHEEL)
	@ls dist

clean:
	rm -rf $(VENV) build *.egg-info
