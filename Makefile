VENV := .venv
PYTHON := $(VENV)/bin/python

.PHONY: run test lint setup clean

# Set up a virtual environment and run the whole demo, offline from assets/.
run: setup
	$(PYTHON) -m spacy project run all .

# Set up a virtual environment, check types and style, run all tests: a process for each
# core, with one thread each.
test: setup lint
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n auto

lint: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy spacy_elmo_ulmfit scripts benchmarks

setup: $(VENV)/.installed

# torch first and by itself: a plain torch may pull gigabytes of CUDA libraries.
$(VENV)/.installed: setup.cfg constraints.txt
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable ".[test,dev]"
	touch $@

clean:
	rm -rf $(VENV) corpus training metrics packages project.lock
