# make: the main job · make test · make help: what else users need
.DEFAULT_GOAL := run
.DELETE_ON_ERROR:
.PHONY: run paper models training validate test test-python test-r test-wheel test-slurm test-storage test-bridge test-report \
	test-cold test-lowest test-smallest test-lesson chromium crashes mutants lint lint-page audit bench bench-smoke explorer verify \
	check-repro docs site gallery lock lock-hashes debian other-python clean help help-developers

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
TESTED := $(VENV)/.tested
# Jobs of .ci/run wait for each other's installations.
APT := apt-get -qq -y -o DPkg::Lock::Timeout=600
# Debian's packages of some tests. The browser needs those that it recommends: fonts.
SLURM := slurmctld slurmd slurm-client munge iproute2
R := r-base-core r-cran-clubsandwich r-cran-plm
HAS_SLURM := which slurmctld slurmd sbatch munged ip > /dev/null
HAS_R := Rscript -e 'library(clubSandwich)' 2> /dev/null
HAS_NPX := command -v npx > /dev/null
HAS_CHROMIUM := command -v chromium > /dev/null
# make CONFIG=mine.yaml
CONFIGURED = $(if $(CONFIG),--configfile $(CONFIG))
ifneq ($(CONFIG),$(wildcard $(CONFIG)))
$(error CONFIG: found no file '$(CONFIG)', expected that of a configuration)
endif
# Python compiles a module when it first imports it. To compile all modules here would take as long as
# to install them. Containers often tell it not to keep what it has compiled, and so each of hundreds
# of programs would compile its libraries again.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile
# requirements-hashes.txt has setuptools, which builds this project: it need not be fetched each time.
PIP := $(INSTALL) --no-build-isolation --constraint requirements.txt

run: $(READY) ## the main job: set up .venv, fetch the model, run everything (CONFIG=FILE: of that configuration)
	$(BIN)/snakemake --cores all $(CONFIGURED)

WORKERS ?= auto
test: $(TESTED) ## run the tests
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(OPTIONS)

# An environment is made anew only when its list changes. Where pip checks digests it wants them of all
# that it installs, so this project and torch, of which any build will do, are installed in a second call.
$(READY): pyproject.toml requirements.txt requirements-hashes.txt
	@echo "Installing the libraries in $(VENV): about 2 GB (5.5 with CUDA), a minute or two"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(INSTALL) --require-hashes --no-deps --requirement requirements-hashes.txt
	@$(BIN)/python $(PIP) --editable '.[model,workflow,tagger]'
	@touch $@

$(TESTED): $(READY)
	$(BIN)/python $(PIP) --editable '.[model,workflow,tagger,dev]'
	touch $@

# What only some need is in environments of their own, on top of the other, whose pip they use.
.venv-%/.installed: $(TESTED)
	$(BIN)/python -m venv --clear --without-pip .venv-$*
	$(BIN)/python -c 'import site; print(*site.getsitepackages(), sep="\n")' \
		> $$(echo .venv-$*/lib/python3*/site-packages)/attnlag.pth
	.venv-$*/bin/python $(PIP) --editable '.[$*]'
	touch $@

OTHER := PYTHON=python3.13 VENV=.venv-3.13
other-python:
	$(MAKE) .venv-3.13/.tested $(OTHER)

# All cases run in the other Python. Here each test runs in one, and the lines that they execute are
# counted, which takes hardly any time in Python 3.12 and later.
test-python: ### run each test of the library in a case in Python 3.13 too
	COVERAGE_CORE=sysmon $(MAKE) test $(OTHER) OPTIONS="tests/unit --first-cases --cov"

# Each of these tests installs what it lacks. All at once is faster: the list of packages is read once.
debian: ### install what all tests need of Debian (as root)
	$(HAS_SLURM) && $(HAS_R) && $(HAS_NPX) && $(HAS_CHROMIUM) || { $(APT) update; \
		$(APT) install --no-install-recommends $(SLURM) $(R) npm && $(APT) install chromium; }

test-cold: $(TESTED) ### run a test without the interpreter that programs of tests share
	$(BIN)/python -m pytest --cold tests/workflow/test_safety.py -k hostile_file_names

# pip takes what these versions need besides; torch, Snakemake and what only tests need are those of .venv.
test-lowest: $(TESTED) ### run tests of the library with the lowest declared versions of its packages
	$(BIN)/python -m venv --clear .venv-lowest
	$(BIN)/python -c 'import site; print(*site.getsitepackages(), sep="\n")' \
		> $$(echo .venv-lowest/lib/python3*/site-packages)/attnlag.pth
	$(BIN)/python tests/support/lowest_versions.py > .venv-lowest/versions.txt
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -r .venv-lowest/versions.txt
	.venv-lowest/bin/python -m pytest tests/unit/config tests/unit/corpus tests/unit/regression

test-smallest: $(READY) ### run the three short texts of .test/, as the README says
	$(BIN)/snakemake --cores 2 --directory .test

test-slurm: .venv-slurm/.installed ### test on a real Slurm on this machine, installing it if needed (Debian, as root)
	$(HAS_SLURM) || { $(APT) update; $(APT) install --no-install-recommends $(SLURM); }
	.venv-slurm/bin/python -m pytest tests/slurm

test-storage: .venv-storage/.installed ### test results in a bucket of a server on this machine
	.venv-storage/bin/python -m pytest tests/storage

test-r: $(TESTED) run ### compare fits of the default run's norms with R's clubSandwich, installing it if needed (Debian, as root)
	$(HAS_R) || { $(APT) update; $(APT) install --no-install-recommends $(R); }
	$(BIN)/python -m pytest tests/r

test-wheel: run ### use the built package away from this checkout
	rm -rf build/lib build/bdist.* build/installed && mkdir -p build/elsewhere
	$(BIN)/python $(PIP) --no-deps --target build/installed .
	cd build/elsewhere && PYTHONPATH=$(CURDIR)/build/installed \
		$(CURDIR)/$(BIN)/python $(CURDIR)/tests/support/use_wheel.py $(CURDIR)/build/installed \
		$(CURDIR)/data/models/smollm2-135m-instruct

test-bridge: .venv-bridge/.installed ### test the library on a TransformerBridge and on adapters of PEFT
	.venv-bridge/bin/python -m pytest tests/bridge

test-lesson: .venv-docs/.installed ### run the lesson away from this checkout, with the real model
	EXECUTED=build .venv-docs/bin/python -m pytest tests/lesson $(LESSON)

chromium:
	$(HAS_CHROMIUM) || { $(APT) update; $(APT) install chromium; }

test-report: .venv-report/.installed chromium ### test the report in a browser, installing it if needed (Debian, as root)
	.venv-report/bin/python -m pytest tests/report

KILLS ?= 50
crashes: $(TESTED) ### kill runs at random moments, 50 times each, and check that they recover: an hour
	KILLS=$(KILLS) $(BIN)/python -m pytest tests/kills

# .mutants/ keeps what was found: a run that is stopped goes on there. OPTIONS="--package claims --count 30"
mutants: .venv-report/.installed chromium ### put 200 random mistakes into copies of the code, one at a time, and list those that no test finds
	nice .venv-report/bin/python benchmarks/mutants $(OPTIONS)

# The last but one is how the Snakemake workflow catalog draws the rules; it also lints and formats.
lint: $(TESTED) ### check style, spelling, types and generated pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell scripts workflow config docs benchmarks README.md CHANGELOG.md
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/snakemake --snakefile workflow/Snakefile --cores 1 --directory .test --forceall --rulegraph > /dev/null
	$(BIN)/python docs/generate.py --check

# The scripts of the page are one module: a name that none of them states, or that none uses, is an error.
lint-page: $(READY) ### check the JavaScript of the explorer, installing node if needed (Debian, as root)
	$(HAS_NPX) || { $(APT) update; $(APT) install --no-install-recommends npm; }
	mkdir -p build
	$(BIN)/python -c 'from attnlag.report.explorer import page; print(page.program())' > build/explorer.js
	npx --yes @biomejs/biome@2.3.8 lint --error-on-warnings build/explorer.js

# A package that the index says nothing about counts as a failure, unless STRICT is empty: some
# mirrors of the index know of no vulnerabilities.
STRICT ?= --strict
audit: .venv-audit/.installed ### look up known vulnerabilities of the installed packages
	$(BIN)/python -m pip list --exclude attnlag --format freeze | sed 's/+.*//' > .venv-audit/installed.txt
	.venv-audit/bin/pip-audit $(STRICT) --disable-pip --no-deps -r .venv-audit/installed.txt

bench-smoke: run $(TESTED) ### check that every benchmark runs, each in its smallest case: a minute
	$(BIN)/python benchmarks/smallest.py

bench: $(TESTED) ### measure speed, memory and coverage of intervals: hours
	$(BIN)/python benchmarks/extraction.py
	$(BIN)/python benchmarks/storage.py
	$(BIN)/python benchmarks/regression.py
	$(BIN)/python benchmarks/coverage.py
	$(BIN)/python benchmarks/derivative.py
	$(BIN)/python benchmarks/sources.py
	$(BIN)/python benchmarks/quantization.py
	$(BIN)/python benchmarks/scaling.py

validate: run ### compare the default run with published numbers, and with the numbers in the pages
	$(BIN)/python docs/check_numbers.py --findings

models: $(READY) ## compare two real models: config/models.yaml, about 6 minutes
	$(BIN)/snakemake --cores all --configfile config/models.yaml $(OPTIONS)

# Text and checkpoints are some 360 MB below data/.
data/training/.trained: benchmarks/train_checkpoints.py $(READY)
	$(BIN)/python $(PIP) --editable '.[model,workflow,tagger,training]'
	$(BIN)/python benchmarks/train_checkpoints.py $(@D)
	touch $@

training: data/training/.trained ## train small models here and measure their checkpoints: config/training.yaml, about 12 minutes
	$(BIN)/snakemake --cores all --configfile config/training.yaml $(OPTIONS)

architectures: $(TESTED) ### write benchmarks/architectures.md from tiny models of every type that writes text
	$(BIN)/python benchmarks/architectures.py

paper: run ## write results/paper: coefficients and numbers in LaTeX, references
	$(BIN)/snakemake --cores all paper $(CONFIGURED)

explorer: $(READY) ## make results/explorer.html, which shows the study and needs no network
	$(BIN)/snakemake --cores all results/explorer.html $(CONFIGURED)

verify: $(READY) ## check every file against the record of what made it
	$(BIN)/python -m attnlag.pipeline.records

check-repro: $(TESTED) ### check that variants of a run give the same results; CONFIG=FILE names a configuration
	CONFIG=$(CONFIG) $(BIN)/python -m pytest tests/repro

docs: $(TESTED) ### write the pages that are generated from the code
	$(BIN)/python docs/generate.py

gallery: $(READY) ### copy the figures of the default run and of make models to docs/gallery/
	$(BIN)/snakemake --cores all --config 'figures={"sizes": ["page", "column"]}'
	$(BIN)/python docs/copy_gallery.py

# A link that leads nowhere is an error.
site: .venv-docs/.installed run test-lesson ### build the documentation in site/, with the lesson as its test executed it
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict

# torch stays a range, so that a build for CPU that is at hand is used; what a build for CUDA brings
# along is for torch to choose. Digests are those of the files for all systems and versions of Python.
CUDA := ^(triton|nvidia-|cuda-)
lock: ### write requirements.txt and requirements-hashes.txt from the version ranges in pyproject.toml
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/python -m pip install --quiet '.[model,workflow,tagger,dev,docs,training,bridge,report,slurm,storage,audit]'
	.venv-lock/bin/python -m pip freeze --exclude attnlag --exclude torch \
		| grep -vE '$(CUDA)' > .venv-lock/requirements.txt
	{ grep '^#' requirements.txt; cat .venv-lock/requirements.txt; } > .venv-lock/new.txt
	mv .venv-lock/new.txt requirements.txt
	$(MAKE) lock-hashes

lock-hashes: ### write requirements-hashes.txt: digests of the versions in requirements.txt that a run needs
	test -e .venv-lock/bin/python || $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet 'uv>=0.9,<1'
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--extra model --extra workflow --extra tagger --constraint requirements.txt --no-emit-package torch \
		--output-file .venv-lock/all.txt pyproject.toml
	awk '/^[a-z]/ { kept = !/$(CUDA)/ } kept' .venv-lock/all.txt > .venv-lock/requirements.txt
	{ grep '^#' requirements-hashes.txt; cat .venv-lock/requirements.txt; } > .venv-lock/new.txt
	mv .venv-lock/new.txt requirements-hashes.txt

clean: ## remove everything that make has made
	rm -rf .venv .venv-* .snakemake logs data/datasets data/models data/training site build
	find results -mindepth 1 ! -name README.md -delete
	find . -name __pycache__ -prune -exec rm -rf {} +

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/make \1|\2/p' Makefile | awk -F '|' '{ printf "%-12s %s\n", $$1, $$2 }'
	@echo "make help-developers shows the others"

help-developers: ### show the other targets
	@sed -n 's/^\([a-z-]*\):.* ### \(.*\)/make \1|\2/p' Makefile | awk -F '|' '{ printf "%-20s %s\n", $$1, $$2 }'
