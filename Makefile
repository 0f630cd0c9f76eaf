# make: the main job · make test · make test-slurm · make lint · make bench · make report · make clean
.DEFAULT_GOAL := run
.DELETE_ON_ERROR:
.PHONY: run test test-slurm lint bench report docs lock clean

PYTHON ?= $(shell command -v python3.11 || echo python3)
BIN := .venv/bin
READY := .venv/.installed

run: $(READY)
	$(BIN)/snakemake --cores all

# The environment is made anew only when its list changes.
$(READY): requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	touch $@

test: $(READY)
	$(BIN)/python -m pytest

# Through a real Slurm on this machine, which is installed if need be (Debian, as root). The
# plugin is in an environment of its own, on top of the other.
test-slurm: .venv-slurm/.installed
	.venv-slurm/bin/python -m pytest tests/slurm

.venv-slurm/.installed: $(READY) requirements-slurm.txt
	$(BIN)/python -m venv --clear .venv-slurm
	$(BIN)/python -c 'import site; print(*site.getsitepackages())' \
		> $$(echo .venv-slurm/lib/python3*/site-packages)/attnlag.pth
	.venv-slurm/bin/python -m pip install --disable-pip-version-check -r requirements-slurm.txt
	touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/python scripts/describe_config.py --check

bench: $(READY)
	$(BIN)/python tests/benchmarks/extraction.py
	$(BIN)/python tests/benchmarks/regression.py
	$(BIN)/python tests/benchmarks/coverage.py
	$(BIN)/python tests/benchmarks/scaling.py

report: $(READY)
	$(BIN)/snakemake --cores all
	$(BIN)/snakemake --report results/report.html

docs: $(READY)
	$(BIN)/python scripts/describe_config.py

# The exact versions, from the ranges, and the same list for conda.
lock:
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install -r requirements.in
	sed -i '/^[^#-]/d' requirements.txt
	grep '^torch' requirements.in >> requirements.txt
	.venv-lock/bin/python -m pip freeze | grep -viE '^(torch|triton|nvidia-|cuda-)' >> requirements.txt
	sed -i '/^      - /d' workflow/envs/attnlag.yaml
	sed -n '/^[^#-]/s/^/      - /p' requirements.txt >> workflow/envs/attnlag.yaml
	rm -rf .venv-lock

clean:
	rm -rf .venv .venv-bench .venv-lock .venv-slurm .snakemake logs benchmarks results data/models
	find . -name __pycache__ -prune -exec rm -rf {} +
