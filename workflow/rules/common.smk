# Shared by all rules: the checked configuration, the job of each stage, inputs that depend on both.

import functools
import itertools
import os
import re
import sys
import time
from pathlib import Path
from types import MappingProxyType

from attnlag.quantities.catalogue import OPTIONAL, OUTCOMES
from attnlag.config.problems import check, reading_problems
from attnlag.errors import UserError
from attnlag.pipeline import closing, job, outputs, stages
from attnlag.pipeline.digests import code_digests
from attnlag.section import NAME_PATTERN
from attnlag.storage import contents

BEGUN = time.time()

# A file given with --configfile replaces this one; Snakemake would merge the two. Where
# attnlag is a module, the configuration comes from the workflow that uses it.
if not workflow.overwrite_configfiles:
    if Path("config/config.yaml").exists() and (problems := reading_problems("config/config.yaml")):
        sys.exit("\n".join(problems))

    configfile: "config/config.yaml"


CONFIG, problems = check(
    config, map(os.path.relpath, workflow.configfiles), outputs.reserved_names()
)
# A job may run on a machine without the user's files. The submitting run has checked them.
if workflow.is_main_process:
    from attnlag.pipeline import records, texts

    problems = problems or texts.problems(CONFIG)
    for change in [] if problems else records.changed_settings(CONFIG):
        print(change, file=sys.stderr)
if problems and (CONFIG is None or workflow.is_main_process):
    sys.exit("\n".join(problems))

# In a log file, a progress bar that is updated ten times a second is a very long line.
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_MININTERVAL", "30")

# pip installs the software. This environment names the same packages for users who let Snakemake
# deploy software with conda.
ENVIRONMENT = "../envs/attnlag.yaml"

SITE = "results/{model}/{corpus}/{site}"
RESULTS = f"{SITE}/{{regression}}"
HEADS = "results/{model}/{corpus}/attention/heads"
CAUSAL = "results/{model}/{corpus}/causal"

# What is measured, with which controls, and the paths of patterns for all names.
WITH_VECTORS = CONFIG.extraction.keep == "vectors"
WITH_HEADS, TRACED = CONFIG.measures("heads"), CONFIG.with_sources()
DIRECTED, UNTRAINED = CONFIG.measures("geometry"), CONFIG.controls.random_weights
PERMUTED, COMPARED = CONFIG.controls.permutation, len(CONFIG.models) * len(CONFIG.corpora) > 1

# What the files of rules add to, by name: tables that findings are told from, further ones that the
# explorer shows, findings. Their paths name a model and a corpus.
TOLD, SHOWN, FINDINGS = {}, {}, {}
every = functools.partial(outputs.every_path, CONFIG)
ON_GPU = int(CONFIG.extraction.device.startswith("cuda"))


CODE = code_digests(SCRIPTS)


def any_of(names):
    """Return the constraint of a wildcard to some names."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


wildcard_constraints:
    model=NAME_PATTERN,
    corpus=NAME_PATTERN,
    site=any_of(CONFIG.extraction.sites),
    # Other folders of a site have files of the same names.
    regression=any_of(CONFIG.regressions),
    pair=any_of(CONFIG.pairs_changed()),
    shard=r"\d{4}\d*",
    format="svg|png|pdf",


def at(files, wildcards):
    """Return files, or what an input function gives for some wildcards."""
    return files(wildcards) if callable(files) else files


def stage(name, program=None, given=None, **options):
    """Return the params of a rule: its program, the job, and what a change of runs it again.

    Snakemake compares the settings, the digest of the code and those of the user's files, which
    ``given`` returns. It does not compare the job, which also depends on the inputs and on
    ``options``, settings that change no output.
    """
    settings = stages.settings_of(name, CONFIG)

    def job_text(wildcards, input, output):
        names, values = dict(wildcards.items()), settings and settings(wildcards)
        of_job = {key: at(option, wildcards) for key, option in options.items()}
        return job.argument(job.text_of(name, input, output, names, values, of_job))

    compared = {"settings": settings} if settings else {}
    if given:
        # By itself, Snakemake does not see that a file has been replaced by an older one.
        compared["given"] = lambda wildcards: digests_of(*given(wildcards))
    return {"program": program or name, "job": job_text, "code": CODE[name], **compared}


@functools.cache
def digests_of(*files):
    """Return the digests of files as one text. A job on another machine may not have them."""
    digests = contents.remembered(files)
    return " ".join(digests.get(file, "missing") for file in files)


# Options of the programs that run a model. They change speed and memory, but no result.
SPEED = {
    # No storage provider has the folder of a model.
    "folder": lambda wildcards: f"data/models/{wildcards.model}",
    "device": CONFIG.extraction.device,
    "batch_tokens": CONFIG.extraction.batch_tokens,
}


def when(condition, files):
    """Return files where a condition holds, else none.

    The condition, if it is a function, depends on the name of the job's regression.
    """
    if not callable(condition):
        return files if condition else []
    return lambda wildcards: at(files, wildcards) if condition(wildcards.regression) else []


# Whether slopes differ by class of tokens, or by a number of theirs.
BY_CLASS = lambda regression: CONFIG.regressions[regression].by
BY_NUMBER = lambda regression: CONFIG.regressions[regression].by_number


def shards_of(files):
    """Return the input function of the files of all shards, in order."""

    def of_all(wildcards):
        shards = outputs.shards(CONFIG, wildcards.corpus)
        return expand(at(files, wildcards), shard=shards, allow_missing=True)

    return of_all


def together(**files):
    """Return named inputs as one input function, because Snakemake takes time for each."""
    return unpack(lambda wildcards: {name: at(files[name], wildcards) for name in files})


def in_both_formats(folder, *names):
    """Return tables as outputs, by name: in Parquet, and in CSV."""
    return {
        f"{name}{ending}": f"{folder}/{name}.{ending[1:] or 'parquet'}"
        for name in names
        for ending in ("", "_csv")
    }


def of_study(pattern, condition=lambda regression: True):
    """Return a file of every site and regression that meets a condition."""
    regressions = filter(condition, CONFIG.regressions)
    sites = CONFIG.extraction.sites
    return expand(pattern, site=sites, regression=list(regressions), allow_missing=True)


def every_site(pattern):
    """Return ``pattern`` for every site."""
    return expand(pattern, site=CONFIG.extraction.sites, allow_missing=True)


def measured(file, but=()):
    """Return the files of the quantities that a pass measures, by name."""
    patterns = {name: OPTIONAL[name].pattern(file) for name in CONFIG.measured() if name not in but}
    return {name: list(dict.fromkeys(every_site(path))) for name, path in patterns.items()}


# What a run knows of every token beside its norms; covariates may need it.
OF_TOKENS = {
    "token_counts": "results/{model}/{corpus}/token_counts.parquet",
    "corpus": "results/corpora/{corpus}.parquet",
    "token_properties": "results/{model}/{corpus}/token_properties/{shard}.parquet",
    "surprisal": "results/{model}/{corpus}/surprisal/{shard}.parquet",
}
OF_ALL_TOKENS = {
    name: shards_of(path) if "{shard}" in path else path for name, path in OF_TOKENS.items()
}


def for_covariates(files, needed=CONFIG.files_of_tokens):
    """Return files of tokens by name, only where covariates of the job's regression need them."""
    return {
        name: when(lambda regression, name=name: name in needed(regression), path)
        for name, path in files.items()
    }


def classes_of_tokens(wildcards):
    """Return the file of a shard with the property by which slopes differ."""
    return OF_TOKENS[CONFIG.regressions[wildcards.regression].by_file]


def outcome_of(wildcards, file="{shard}.parquet"):
    """Return a file of what is regressed, which lies in the folder of the outcome."""
    outcome = OUTCOMES[CONFIG.regressions[wildcards.regression].outcome]
    return f"{SITE}/{outcome.folder}/{file}"


def outcome_before_training(wildcards):
    """Return the outcome with random weights, a file a scale. Further scales have norms alone."""
    file = outcome_of(wildcards, "random_weights.parquet")
    return every_scale(file.replace("norms/", "")) if "/norms/" in file else [file]


def every_scale(file):
    """Return the file of the first scale of the weights, and those of further scales."""
    return [file, *further_scales([file])]


def further_scales(files):
    """Return the files of further scales of the weights, for each file of the first."""
    scales = CONFIG.further_scales()
    return [file.replace(".parquet", f"_{scale}.parquet") for file in files for scale in scales]


# Inputs of a design, in the observed order of tokens or a permuted one.
OF_DESIGN = {
    "norms": outcome_of,
    # Only for relative norms, or for a common sample with them.
    "stream": when(CONFIG.needs_stream, "results/{model}/{corpus}/stream/{shard}.parquet"),
    **for_covariates(OF_TOKENS),
}


# The user's files from which corpora, tokens and models are made.
FILES_OF_CORPUS = lambda wildcards: CONFIG.files_of(wildcards.corpus)
FILES_OF_TAGS = lambda wildcards: CONFIG.tag_files(wildcards.corpus)
FILES_OF_MODEL = lambda wildcards: CONFIG.model_files(wildcards.model)


def on_disk(files):
    """Return the input function of files of the user's, whoever stores the results."""
    return lambda wildcards: list(map(local, files(wildcards)))


def closing_words():
    """Return where the results are and the findings of every regression and comparison."""
    return closing.words(CONFIG, workflow.storage_settings.default_storage_prefix)


def write_record(complete=False):
    """Write results/provenance.json; results in a storage provider's hands are not read back."""
    if not workflow.storage_settings.default_storage_provider:
        try:
            records.write_run(CONFIG, BEGUN, complete)
        except UserError as error:
            sys.exit(f"error: {error}")
