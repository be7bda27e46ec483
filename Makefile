# Everything starts with `make install`; every other target calls what it needs of it first.
#   make demo [ARGS=--chaos]             a flash sale on this machine, watched at http://127.0.0.1:8000
#   make test [ARGS="-k ledger"]         installs what the tests need and runs them all
#   make check                           formatting, lint, types (Python and dashboard), locks
#   make bench                           Rushlight and its peers side by side
#   make soak [DURATION=1800] [SEED=1]   random faults for that long (seconds); ends with the ledger
#   make lock                            resolves the dependencies (ARGS=--upgrade: their newest versions)
#   make minimal                         the README's two commands on a freshly made minimal Debian 12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DURATION ?= 1800
SEED ?= 1
ARGS ?=

# Stamps: each says that a step is done, and depends on what would make the step necessary again.
CREATED := $(VENV)/.made-venv
BUILD := $(VENV)/.made-build
RUNTIME := $(VENV)/.made-runtime
DEVELOPMENT := $(VENV)/.made-development

PIP := $(BIN)/pip install --quiet --disable-pip-version-check
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python
# The same lock and the same hashes by uv, which is quick, or by pip where uv cannot reach the registry.
install_lock = $(UV) $(2) --require-hashes --requirement $(1) || $(PIP) --require-hashes --requirement $(1)

# A container's image often forbids bytecode to stay small. Here hundreds of processes start, and each would compile
# all that it imports: nearly half of what a start costs.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := install
.DELETE_ON_ERROR:
.PHONY: install runtime board demo test check bench soak lock minimal clean

install: $(DEVELOPMENT) board

runtime: $(RUNTIME) board

# A .venv that stopped half-way, or whose Python is gone, is made anew.
$(CREATED): scripts/system_packages.py
	@$(PYTHON) scripts/system_packages.py run
	@$(BIN)/pip --version >/dev/null 2>&1 || { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }
	@touch $@

$(BUILD): $(CREATED) requirements-build.txt
	@echo "Installing the packages of requirements.txt into $(VENV) …"
	@$(PIP) --require-hashes --requirement requirements-build.txt
	@touch $@

$(RUNTIME): $(BUILD) requirements.txt requirements-node.txt pyproject.toml hatch_build.py
	@$(call install_lock,requirements.txt,--compile-bytecode)
	@! $(BIN)/python hatch_build.py --needs-node || { $(call install_lock,requirements-node.txt); }
	@$(BIN)/python hatch_build.py
	@$(UV) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEVELOPMENT): $(RUNTIME) requirements-dev.txt
	@echo "Installing the packages of requirements-dev.txt …"
	@$(call install_lock,requirements-dev.txt)
	@touch $@

board: $(RUNTIME)
	@$(BIN)/python hatch_build.py

demo: runtime
	@$(BIN)/rushlight demo $(ARGS)

test: install
	@$(PYTHON) scripts/system_packages.py test
	$(BIN)/python hatch_build.py test
	$(BIN)/python hatch_build.py --modules tests/clients
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python hatch_build.py check
	$(BIN)/python hatch_build.py
	! git grep -n '://' -- 'requirements*.txt' '*.npmrc'
	! git grep -nE '"resolved": "[a-z]+:' -- '*package-lock.json'
	! git ls-files --error-unmatch uv.lock 2>/dev/null

bench: install
	$(BIN)/python -m benchmarks $(ARGS)

soak: install
	$(BIN)/python -m tests.faults.soak --duration $(DURATION) --seed $(SEED) $(ARGS)

# The locks hold versions and hashes and name no host, so that any registry or mirror can serve them.
COMPILE := $(BIN)/uv --no-config pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" $(ARGS)

lock: $(BUILD)
	$(COMPILE) pyproject.toml --output-file requirements.txt
	$(COMPILE) pyproject.toml --group dev --constraint requirements.txt --output-file requirements-dev.txt
	$(COMPILE) --group build --constraint requirements-dev.txt --output-file requirements-build.txt
	$(COMPILE) --group node --output-file requirements-node.txt

minimal:
	bash scripts/minimal_debian.sh $(ARGS)

clean:
	rm -rf $(VENV) src/rushlight/static/board dashboard/node_modules tests/clients/node_modules .mypy_cache .pytest_cache .ruff_cache
