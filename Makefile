# make demo: one prompt, eight particles, without and with repulsion.   make test: the test suite.
# make test-versions: the tests with the oldest and with the newest supported libraries, in environments of their own.
# make docs: the documentation site, into site/.   make lint: ruff, mypy, import-linter.
# All set up .venv first. Another build of PyTorch (CPU only, or another CUDA):
#   make setup TORCH="torch==2.14.1 torchvision==0.29.1 --index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
TORCH ?= torch==2.14.1 torchvision==0.29.1
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test test-versions lint docs clean

setup: $(READY)

$(READY): setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
		|| { echo "threestudio-rsd needs Python 3.10 or newer: '$(PYTHON)' is $$( ( $(PYTHON) --version ) 2>/dev/null || echo missing); choose one with make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	@touch $@

demo: $(READY)
	$(BIN)/rsd demo

test: $(READY)
	$(BIN)/python -m pytest -n 2

test-versions: $(READY)
	$(BIN)/nox

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf .venv .nox build dist site *.egg-info custom/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find custom tests -name __pycache__ -type d -prune -exec rm -rf {} +
