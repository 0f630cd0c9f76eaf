# Shared by all rules: the checked configuration, the settings and the code of each stage, and the
# resources of jobs.

import os
import re
import sys
import time
from pathlib import Path

from attnlag.adjustments.outcomes import OUTCOMES
from attnlag.config.problems import check, name_problem, reading_problems
from attnlag.pipeline import closing, outputs, stages
from attnlag.pipeline.digests import code_digest
from attnlag.pipeline.entries.output import permuted
from attnlag.storage.names import NAME_PATTERN

BEGUN = time.time()

# A file given with --configfile replaces this one; Snakemake would merge the two. Where
# attnlag is a module, the configuration comes from the workflow that uses it.
if not workflow.overwrite_configfiles:
    if Path("config/config.yaml").exists() and (problems := reading_problems("config/config.yaml")):
        sys.exit("\n".join(problems))

    configfile: "config/config.yaml"


CONFIG, problems = check(config, map(os.path.relpath, workflow.configfiles))
# A job may run on a machine without the user's files. The submitting run has checked them.
if problems and (CONFIG is None or workflow.is_main_process):
    sys.exit("\n".join(problems))

# In a log file, a progress bar that is updated ten times a second is a very long line.
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_MININTERVAL", "30")

# pip installs the software. This environment names the same packages for users who let Snakemake
# deploy software with conda.
ENVIRONMENT = "../envs/attnlag.yaml"

RESULTS = "results/{model}/{corpus}/{site}/{regression}"


wildcard_constraints:
    model=NAME_PATTERN,
    corpus=NAME_PATTERN,
    site="|".join(CONFIG.extraction.sites),
    # Other folders of a site have files of the same names.
    regression="|".join(map(re.escape, CONFIG.regressions)),
    pair="|".join(CONFIG.pairs_changed()),
    shard=r"\d{4}\d*",
    format="svg|png",


def settings_of(stage):
    """Return the function for the settings of a stage's jobs, as one JSON text."""
    return stages.settings_of(stage, CONFIG)


def code(stage):
    """Return a digest of the code that computes a stage's numbers."""
    return code_digest(SCRIPTS / f"{stage}.py")


def shards(corpus):
    """Return the names of a corpus' shards."""
    return outputs.shards(CONFIG, corpus)


def shards_of(pattern):
    """Return an input function for the files of all shards, in order.

    A script is given the first and finds the others beside it: the paths of thousands are more
    than one command line holds.
    """
    return lambda wildcards: expand(pattern, shard=shards(wildcards.corpus), allow_missing=True)


def studies(pattern):
    """Return ``pattern`` for every model, corpus, site and regression of the configuration."""
    return expand(
        pattern,
        model=CONFIG.models,
        corpus=CONFIG.corpora,
        site=CONFIG.extraction.sites,
        regression=CONFIG.regressions,
    )


def every_shard(pattern):
    """Return ``pattern`` for every shard of every study."""
    return [
        path
        for corpus in CONFIG.corpora
        for each in expand(pattern, corpus=corpus, shard=shards(corpus), allow_missing=True)
        for path in studies(each)
    ]


def every_table(*patterns):
    """Return the files of all shards of tables, each once."""
    return list(dict.fromkeys(path for pattern in patterns for path in every_shard(pattern)))


def beside_tokens():
    """Return what else a run knows of every token, as far as the configuration asks for it."""
    folders = {"token_properties", "surprisal"}
    return [path for path in outputs.files_of(CONFIG) if Path(path).parent.name in folders]


def if_asked(control, files):
    """Return the input function of a control's files, or one for none without the control."""
    return files if control is not None else lambda wildcards: []


def for_covariates(name, pattern):
    """Return an input function for a file that covariates of a regression may need."""

    def file(wildcards):
        needed = CONFIG.files_of_tokens(wildcards.regression)
        files = pattern(wildcards) if callable(pattern) else pattern
        return files if name in needed else []

    return file


def for_heads(name, pattern):
    """Return the input of a file that covariates of the regression of heads need."""
    regression, control = CONFIG.regression_of_heads(), CONFIG.controls.permutation
    needed = CONFIG.files_of_tokens(regression) if regression else set()
    if regression and control and control.within != "document":
        needed = {*needed, "token_properties"}
    if name not in needed:
        return []
    return pattern if name == "token_counts" else shards_of(pattern)


def fitted_design(wildcards):
    """Return the design that a regression is fitted to: effects of tokens may be taken out."""
    effects = CONFIG.regressions[wildcards.regression].token_effects
    return f"{RESULTS}/{'within_tokens' if effects else 'design'}/{{shard}}.parquet"


def fitted_designs(wildcards):
    """Return that of all shards, in order."""
    return shards_of(fitted_design(wildcards))(wildcards)


def if_by_class(path):
    """Return the input function of a file that regressions with slopes by class alone have."""
    return lambda wildcards: path if CONFIG.regressions[wildcards.regression].by else []


def classes_of_tokens(wildcards):
    """Return the file of a shard with the property by which slopes differ."""
    file = CONFIG.regressions[wildcards.regression].by_file
    return f"results/{{model}}/{{corpus}}/{file}/{{shard}}.parquet"


def classes_of_all_tokens(wildcards):
    """Return that of all shards, in order."""
    return shards_of(classes_of_tokens(wildcards))(wildcards)


def if_by_number(path):
    """Return the input function of a file that regressions with slopes by a number alone have."""
    return lambda wildcards: path if CONFIG.regressions[wildcards.regression].by_number else []


def if_turns(pattern):
    """Return a file per site of where adjustments point, if that is measured."""
    sites = CONFIG.extraction.sites if CONFIG.extraction.geometry else []
    return expand(pattern, site=sites, allow_missing=True)


def regressed(file):
    """Return the input function of a file of what is regressed: beside the norms, or these."""

    def chosen(wildcards):
        outcome = OUTCOMES[CONFIG.regressions[wildcards.regression].outcome]
        return f"results/{{model}}/{{corpus}}/{{site}}/{outcome.folder}/{file}"

    return chosen


def random_weights_of(wildcards):
    """Return the file of what is regressed with random weights; further draws have norms alone."""
    file = regressed("random_weights.parquet")(wildcards)
    own = file.replace("norms/", "")
    return every_draw(own) if own != file else file


def every_draw(file):
    """Return the file of the first draw of the weights, and those of further draws."""
    return [
        file,
        *(file.replace(".parquet", f"_{draw}.parquet") for draw in CONFIG.further_draws()),
    ]


def if_stream(files):
    """Return the input function of norms of the stream, for regressions that depend on them."""

    def chosen(wildcards):
        return files(wildcards) if CONFIG.needs_stream(wildcards.regression) else []

    return chosen


def source_files(wildcards):
    """Return the files that a model is made from, so that a change in them is seen."""
    model = CONFIG.models[wildcards.model]
    if model.source == "random":
        return [f"data/models/{model.of}/source.json"]
    if model.source != "path":
        return []
    if model.path.is_file():
        return local(str(model.path))
    # The folder may also contain other files with any names.
    files = (path for path in model.path.iterdir() if path.is_file() and not name_problem(path))
    return sorted(local(str(path)) for path in files)


def tag_file(wildcards):
    """Return the file with the parts of speech of a corpus, if it has one."""
    tagger = CONFIG.corpora[wildcards.corpus].tagger
    return [local(tagger.file)] if tagger and tagger.file else []


def closing_words():
    """Return where the results are and the findings of every regression and comparison."""
    return closing.words(CONFIG, workflow.storage_settings.default_storage_prefix)


def write_record():
    """Write results/provenance.json; results in a storage provider's hands are not read back."""
    if not workflow.storage_settings.default_storage_provider:
        # Imported here, because every job reads this file.
        from attnlag.pipeline import records

        records.write(BEGUN)
