# make: the main job · make test · make test-slurm · make test-storage · make test-report ·
# make crashes · make lint · make audit · make bench · make report · make verify ·
# make check-repro · make site · make gallery · make clean
.DEFAULT_GOAL := run
.DELETE_ON_ERROR:
.PHONY: run test test-slurm test-storage test-report crashes lint audit bench report verify \
	check-repro docs site gallery lock clean

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
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

# Through a real Slurm on this machine, which is installed if need be (Debian, as root).
test-slurm: .venv-slurm/.installed
	.venv-slurm/bin/python -m pytest tests/slurm

# With results in a bucket, of a server on this machine.
test-storage: .venv-storage/.installed
	.venv-storage/bin/python -m pytest tests/storage

# Runs that are killed at random moments, 50 times each, and mended by the next: an hour.
crashes: $(READY)
	$(BIN)/python tests/support/killing.py

# The report in a browser, which is installed if need be (Debian, as root).
test-report: .venv-report/.installed
	command -v chromium || { apt-get update -qq && apt-get install -qq -y chromium; }
	.venv-report/bin/python -m pytest tests/report

# Plugins and the like are in environments of their own, on top of the other.
.venv-report/.installed .venv-slurm/.installed .venv-storage/.installed: .venv-%/.installed: $(READY) requirements-%.txt
	$(BIN)/python -m venv --clear .venv-$*
	$(BIN)/python -c 'import site; print(*site.getsitepackages())' \
		> $$(echo .venv-$*/lib/python3*/site-packages)/attnlag.pth
	.venv-$*/bin/python -m pip install --disable-pip-version-check -r requirements-$*.txt
	touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/python scripts/describe_config.py --check
	$(BIN)/python scripts/describe_licences.py --check
	$(BIN)/python scripts/describe_outputs.py --check

# Known vulnerabilities of what is installed, from the package index. A package that the index says
# nothing about counts as a failure.
audit: $(READY) .venv-audit/.installed
	$(BIN)/python -m pip list --format freeze | sed 's/+.*//' > .venv-audit/installed.txt
	.venv-audit/bin/pip-audit --strict --disable-pip --no-deps -r .venv-audit/installed.txt

.venv-audit/.installed: requirements-audit.txt
	$(PYTHON) -m venv --clear .venv-audit
	.venv-audit/bin/python -m pip install --disable-pip-version-check -r requirements-audit.txt
	touch $@

bench: $(READY)
	$(BIN)/python benchmarks/extraction.py
	$(BIN)/python benchmarks/storage.py
	$(BIN)/python benchmarks/regression.py
	$(BIN)/python benchmarks/coverage.py
	$(BIN)/python benchmarks/scaling.py

report: $(READY)
	$(BIN)/snakemake --cores all
	$(BIN)/snakemake --report results/report.zip

# Everything that is there against the record of what made it.
verify: $(READY)
	$(BIN)/python scripts/verify_results.py

# The workflow again and again, as runs may differ; with CONFIG=config/config.yaml, that one.
check-repro: $(READY)
	$(BIN)/python tests/support/check_reproducibility.py $(if $(CONFIG),--configfile $(CONFIG))

docs: $(READY)
	$(BIN)/python scripts/describe_config.py
	$(BIN)/python scripts/describe_licences.py
	$(BIN)/python scripts/describe_outputs.py

# The figures of the default run, for the gallery.
gallery: $(READY)
	$(BIN)/snakemake --cores all --config 'figures={"sizes": ["page", "column", "slide"]}'
	$(BIN)/python scripts/copy_gallery.py

# The documentation as pages, in site/: a link that leads nowhere is an error.
site: .venv-docs/.installed
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

.venv-docs/.installed: requirements-docs.txt
	$(PYTHON) -m venv --clear .venv-docs
	.venv-docs/bin/python -m pip install --disable-pip-version-check -r requirements-docs.txt
	touch $@

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
	rm -rf .venv .venv-audit .venv-bench .venv-docs .venv-lock .venv-report .venv-slurm
	rm -rf .venv-storage .snakemake logs results data/models site
	find . -name __pycache__ -prune -exec rm -rf {} +
