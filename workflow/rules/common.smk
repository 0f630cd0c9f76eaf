# Shared by all rules: the checked configuration, the job of each stage, and inputs that depend on the
# configuration.

import functools
import itertools
import os
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from attnlag.adjustments.outcomes import OUTCOMES
from attnlag.config.problems import check, name_problem, reading_problems
from attnlag.pipeline import closing, job, outputs, stages
from attnlag.pipeline.digests import code_digest
from attnlag.storage import contents
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

ON_GPU = int(CONFIG.extraction.device.startswith("cuda"))


wildcard_constraints:
    model=NAME_PATTERN,
    corpus=NAME_PATTERN,
    site="|".join(CONFIG.extraction.sites),
    # Other folders of a site have files of the same names.
    regression="|".join(map(re.escape, CONFIG.regressions)),
    pair="|".join(CONFIG.pairs_changed()),
    shard=r"\d{4}\d*",
    format="svg|png|pdf",


def stage(name, program=None, given=None, **options):
    """Return the params of a rule: its program, the job, and what a change of runs it again.

    Snakemake compares the settings, the digest of the code and those of the user's files, which
    ``given`` returns. It does not compare the job, which also depends on the inputs and on
    ``options``, settings that change no output.
    """
    settings = stages.settings_of(name, CONFIG)

    def told(wildcards, input, output):
        stated = settings and settings(wildcards)
        chosen = {key: of(wildcards) if callable(of) else of for key, of in options.items()}
        names = dict(wildcards.items())
        return job.argument(job.text_of(name, input, output, names, stated, chosen))

    compared = {"settings": settings} if settings else {}
    if given:
        # By itself, Snakemake does not see that a file has been replaced by an older one.
        compared["given"] = lambda wildcards: digests_of(*given(wildcards))
    code = code_digest(SCRIPTS / f"{name}.py")
    return {"program": program or name, "job": told, "code": code, **compared}


@functools.cache
def digests_of(*files):
    """Return the digests of files as one text. A job on another machine may not have them."""
    found = contents.remembered(files)
    return " ".join(found.get(file, "missing") for file in files)


def of_model(wildcards):
    """Return the folder of a model. No storage provider has it."""
    return f"data/models/{wildcards.model}"


# Options of the programs that run a model. They change speed and memory, but no result.
SPEED = {
    "folder": of_model,
    "device": CONFIG.extraction.device,
    "batch_tokens": CONFIG.extraction.batch_tokens,
}


def shards(corpus):
    """Return the names of a corpus' shards."""
    return outputs.shards(CONFIG, corpus)


def shards_of(pattern):
    """Return an input function for the files of all shards, in order, of a path or function."""

    def every(wildcards):
        path = pattern(wildcards) if callable(pattern) else pattern
        return expand(path, shard=shards(wildcards.corpus), allow_missing=True)

    return every


def together(**files):
    """Return named inputs as one input function, because Snakemake takes time for each.

    Parameters
    ----------
    files : str, list or callable
        Paths or an input function, by name.
    """

    def chosen(wildcards):
        return {name: of(wildcards) if callable(of) else of for name, of in files.items()}

    return unpack(chosen)


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


def if_vectors(files):
    """Return files that are made if vectors are kept, else none."""
    return files if CONFIG.extraction.keep == "vectors" else []


def if_sources(files):
    """Return files of the sources of attention, or none if these are not measured."""
    return files if CONFIG.with_sources() else []


def if_random(files):
    """Return files of the control with random weights, or none without it."""
    return files if CONFIG.controls.random_weights else []


def if_heads(files):
    """Return files of attention heads, or none if these are not measured."""
    return files if CONFIG.with_heads() else []


def of_sites(pattern):
    """Return a file per site."""
    return expand(pattern, site=CONFIG.extraction.sites, allow_missing=True)


def if_turns(pattern):
    """Return a file per site of where adjustments point, if that is measured."""
    return of_sites(pattern) if CONFIG.extraction.geometry else []


def of_regressions(needed, files):
    """Return the input function of files that only some regressions need.

    Parameters
    ----------
    needed : callable
        Tells from the regression's name.
    files : str, list or callable
        A path, or an input function.
    """

    def chosen(wildcards):
        if not needed(wildcards.regression):
            return []
        return files(wildcards) if callable(files) else files

    return chosen


def for_covariates(name, files):
    """Return the input function of a file that covariates of a regression may need."""
    return of_regressions(lambda regression: name in CONFIG.files_of_tokens(regression), files)


def for_permutations(wildcards):
    """Return the file of the classes in which tokens are permuted, or that of covariates."""
    path = "results/{model}/{corpus}/token_properties/{shard}.parquet"
    within = CONFIG.controls.permutation.within != "document"
    return path if within else for_covariates("token_properties", path)(wildcards)


def if_permuted(files):
    """Return the input function of files of the control with permuted order."""
    return of_regressions(CONFIG.permuted, files)


def if_by_class(files):
    """Return the input function of files that regressions with slopes by class alone have."""
    return of_regressions(lambda regression: CONFIG.regressions[regression].by, files)


def if_by_number(files):
    """Return the input function of files that regressions with slopes by a number alone have."""
    return of_regressions(lambda regression: CONFIG.regressions[regression].by_number, files)


def if_stream(files):
    """Return the input function of norms of the stream, for regressions that depend on them."""
    return of_regressions(CONFIG.needs_stream, files)


def for_heads(name, pattern):
    """Return the input of a file that covariates of the regression of heads need."""
    regression, control = CONFIG.regression_of_heads(), CONFIG.controls.permutation
    needed = CONFIG.files_of_tokens(regression) if regression else set()
    if regression and control and control.within != "document":
        needed = {*needed, "token_properties"}
    if name not in needed:
        return []
    return pattern if name == "token_counts" else shards_of(pattern)


def of_regressed_heads(files):
    """Return files that the regressions of heads need, or none if heads are not regressed."""
    return files if CONFIG.regression_of_heads() else []


def fitted_design(wildcards):
    """Return the design that a regression is fitted to: effects of tokens may be taken out."""
    effects = CONFIG.regressions[wildcards.regression].token_effects
    return f"{RESULTS}/{'within_tokens' if effects else 'design'}/{{shard}}.parquet"


def classes_of_tokens(wildcards):
    """Return the file of a shard with the property by which slopes differ."""
    file = CONFIG.regressions[wildcards.regression].by_file
    return f"results/{{model}}/{{corpus}}/{file}/{{shard}}.parquet"


def regressed(file):
    """Return the input function of a file of the outcome: the norms, or a folder beside them."""

    def chosen(wildcards):
        outcome = OUTCOMES[CONFIG.regressions[wildcards.regression].outcome]
        return f"{SITE}/{outcome.folder}/{file}"

    return chosen


def random_weights_of(wildcards):
    """Return the outcome with random weights. Only the first draw has more than norms."""
    file = regressed("random_weights.parquet")(wildcards)
    own = file.replace("norms/", "")
    return every_draw(own) if own != file else [file]


def every_draw(file):
    """Return the file of the first draw of the weights, and those of further draws."""
    return [file, *further_draws([file])]


def further_draws(files):
    """Return the files of further draws of the weights, for each file of the first draw."""
    draws = CONFIG.further_draws()
    return [file.replace(".parquet", f"_{draw}.parquet") for file in files for draw in draws]


# Inputs of a design, in the observed order of tokens or a permuted one.
OF_DESIGN = {
    "norms": regressed("{shard}.parquet"),
    # Only for relative norms, or for a common sample with them.
    "stream": if_stream("results/{model}/{corpus}/stream/{shard}.parquet"),
    # Only if a covariate needs them.
    "token_counts": for_covariates("token_counts", "results/{model}/{corpus}/token_counts.parquet"),
    "corpus": for_covariates("corpus", "results/corpora/{corpus}.parquet"),
    "token_properties": for_covariates(
        "token_properties", "results/{model}/{corpus}/token_properties/{shard}.parquet"
    ),
    "surprisal": for_covariates("surprisal", "results/{model}/{corpus}/surprisal/{shard}.parquet"),
}


def corpus_files(wildcards):
    """Return the files of a corpus."""
    return list(map(str, CONFIG.files_of(wildcards.corpus)))


def model_files(wildcards):
    """Return the files that a model is made from, if it is on this machine."""
    model = CONFIG.models[wildcards.model]
    if model.source != "path":
        return []
    if model.path.is_file():
        return [str(model.path)]
    # The folder may also contain other files with any names.
    files = (path for path in model.path.iterdir() if path.is_file() and not name_problem(path))
    return sorted(map(str, files))


def original_model(wildcards):
    """Return the model whose architecture a model with random weights has."""
    model = CONFIG.models[wildcards.model]
    return [f"data/models/{model.of}/source.json"] if model.source == "random" else []


def tag_file(wildcards):
    """Return the file with the parts of speech of a corpus, if it has one."""
    tagger = CONFIG.corpora[wildcards.corpus].tagger
    return [str(tagger.file)] if tagger and tagger.file else []


def on_disk(files):
    """Return the input function of files of the user's, whoever stores the results."""
    return lambda wildcards: list(map(local, files(wildcards)))


def files_of_user():
    """Return the user's files by the result that is made from them."""
    made = {}
    for corpus, model in itertools.product(CONFIG.corpora, CONFIG.models):
        named = SimpleNamespace(corpus=corpus, model=model)
        made[f"data/models/{model}/source.json"] = model_files(named)
        made[f"results/corpora/{corpus}.parquet"] = corpus_files(named)
        made[f"results/{model}/{corpus}/token_properties/0000.parquet"] = tag_file(named)
    return made


def closing_words():
    """Return where the results are and the findings of every regression and comparison."""
    return closing.words(CONFIG, workflow.storage_settings.default_storage_prefix)


def write_record(finished=True, complete=False):
    """Write results/provenance.json; results in a storage provider's hands are not read back.

    After a run that has ended well, files of shards that a corpus no longer has are removed first.
    A run that is complete has made everything.
    """
    if not workflow.storage_settings.default_storage_provider:
        if finished:
            records.remove_former_shards({name: of.shards for name, of in CONFIG.corpora.items()})
        records.write(BEGUN, files_of_user(), CONFIG if complete else None)
