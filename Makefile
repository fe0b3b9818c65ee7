# make demo: set up and run the main job.  make test: set up and pass the tests.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
AUDIT_READY := $(VENV)/.audit-ready
RUN := $(VENV)/bin
EXTRAS := train,export,serve,svg,heic,ann,lance,ray,tensorboard,dev
comma := ,

# Every file that is installed is held against its hash. The lock is that of Linux on x86-64 with
# Python 3.11 and PyTorch's CPU build; `make LOCK=` installs the versions of constraints.txt, without
# hashes, and is what other systems and versions of Python get.
PLATFORM := $(shell $(PYTHON) -c 'import platform, sys; print(sys.version_info[:2] == (3, 11), sys.platform, platform.machine())')
ifeq ($(PLATFORM),True linux x86_64)
LOCK ?= requirements.lock
endif
PIP := $(RUN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint format slow coverage mutants fuzz audit licences lock clean

demo: $(READY)
	$(RUN)/python main.py --data_name sample --config configs/sample.yaml

test: lint
	$(RUN)/pytest

slow: $(READY)
	$(RUN)/pytest -m slow

lint: $(READY)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

format: $(READY)
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

# Lines of these parts that the tests run, child processes included; below 92 % of any it fails. Some
# tests hold what measuring changes (signals, open files, what is imported) and fail here alone.
COVERED := search server data
coverage: $(READY)
	rm -rf .coverage-data && mkdir .coverage-data
	-$(RUN)/coverage run -m pytest
	$(RUN)/coverage combine --quiet
	for part in $(COVERED); do echo "msedge.$$part" && \
		$(RUN)/coverage report --include="src/msedge/$$part/*" --skip-covered --fail-under=92 || exit 1; done

mutants: $(AUDIT_READY)
	$(RUN)/python benchmarks/mutation.py

fuzz: $(AUDIT_READY)
	$(RUN)/python tests/fuzzing/campaign.py --all --minutes 10

# Known vulnerabilities of what is installed (a warning where no advisories can be had), and licences.
audit: $(READY)
	$(RUN)/python audit/vulnerabilities.py
	$(RUN)/python audit/licences.py --check

licences: $(READY)
	$(RUN)/python audit/licences.py

# Where PyTorch's CPU build is found otherwise than by PyPI, tell uv: UV_FIND_LINKS, UV_EXTRA_INDEX_URL.
UV := $(RUN)/uv pip compile --quiet --generate-hashes --no-annotate --no-emit-index-url \
	--python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	--custom-compile-command 'make lock' --constraint constraints.txt

lock: $(AUDIT_READY)
	$(UV) $(foreach extra,$(subst $(comma), ,$(EXTRAS)),--extra $(extra)) --output-file requirements.lock pyproject.toml
	$(UV) --extra audit --output-file requirements-audit.lock pyproject.toml

ifneq ($(LOCK),)
$(READY): pyproject.toml constraints.txt requirements.lock
else
$(READY): pyproject.toml constraints.txt
endif
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "MSEdge needs Python 3.11 or newer; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
ifneq ($(LOCK),)
	$(PIP) --no-deps --require-hashes -r $(LOCK) || { echo "The lock does not fit what pip can find here (it wants PyTorch's CPU build): make LOCK= installs without hashes"; exit 1; }
	$(PIP) --no-deps --no-build-isolation -e .
	$(RUN)/python -m pip check
else
	$(PIP) -c constraints.txt -e '.[$(EXTRAS)]'
endif
	touch $@

$(AUDIT_READY): $(READY) requirements-audit.lock
ifneq ($(LOCK),)
	$(PIP) --no-deps --require-hashes -r requirements-audit.lock
else
	$(PIP) -c constraints.txt -e '.[audit]'
endif
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
