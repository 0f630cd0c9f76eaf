# Inputs and outputs that depend on the configuration, beside those that rules state as patterns.

from attnlag.quantities.catalogue import OUTCOMES, QUANTITIES

# Paths of patterns for some of their wildcards.
partly = functools.partial(expand, allow_missing=True)


def every(pattern):
    """Return the files of a pattern in all studies, each once."""
    paths = []
    for path in study_files(pattern):
        for model, corpus in targets.studies(CONFIG):
            paths += expand(path, model=model, corpus=corpus, shard=CONFIG.shards(corpus))
    return list(dict.fromkeys(paths))


def resolved(files, wildcards):
    """Return files, or what an input function gives for some wildcards."""
    return files(wildcards) if callable(files) else files


def optional(condition, files):
    """Return files where a condition holds, else none."""
    return files if condition else []


def shards_of(files):
    """Return the input function of the files of all shards, in order."""

    def paths(wildcards):
        return partly(resolved(files, wildcards), shard=CONFIG.shards(wildcards.corpus))

    return paths


def study_files(pattern):
    """Return the files of a study: of every site and regression of the configuration, each once."""
    sites = CONFIG.extraction.sites
    return list(dict.fromkeys(partly(pattern, site=sites, regression=CONFIG.regressions)))


def files_of_quantities(file, names):
    """Return the files of quantities that a pass measures, by name."""
    return {name: study_files(QUANTITIES[name].pattern(file)) for name in names}


# What a run knows of every token beside its norms; covariates may need it.
TOKEN_FILES = {
    "token_counts": f"{STUDY}/token_counts.parquet",
    "corpus": "results/corpora/{corpus}.parquet",
    "token_properties": f"{STUDY}/token_properties/{{shard}}.parquet",
    "surprisal": f"{STUDY}/surprisal/{{shard}}.parquet",
}
ALL_TOKEN_FILES = {
    name: shards_of(path) if "{shard}" in path else path for name, path in TOKEN_FILES.items()
}


def token_files_of_all_shards(needed, wildcards):
    """Return the files of `TOKEN_FILES` of all shards, by name; none of those without a need."""
    return {
        name: optional(name in needed, resolved(files, wildcards))
        for name, files in ALL_TOKEN_FILES.items()
    }


# One function gives several inputs where they depend on the regression, because Snakemake takes
# time for each function.
def inputs_of_design(wildcards):
    """Return the inputs of a design: its outcome, and the files of tokens that covariates need."""
    needed = CONFIG.files_of_tokens(wildcards.regression)
    return outcome_and_token_files(wildcards.regression, needed)


def inputs_of_permutations(wildcards):
    """Return the inputs of permuted designs."""
    needed = CONFIG.files_of_permutations(wildcards.regression)
    return outcome_and_token_files(wildcards.regression, needed)


def outcome_and_token_files(name, needed):
    """Return the file of a regression's outcome, and those of `TOKEN_FILES` that are needed."""
    folder = OUTCOMES[CONFIG.regressions[name].outcome].folder
    return {
        # For the outcome `norm`: attention/norms/.
        "outcome": f"{SITE}/{folder}/{{shard}}.parquet",
        # Only for relative norms.
        "stream": optional(CONFIG.needs_stream(name), f"{STUDY}/stream/{{shard}}.parquet"),
        **{key: optional(key in needed, path) for key, path in TOKEN_FILES.items()},
    }


def inputs_of_fit(wildcards):
    """Return the inputs of a fit that depend on the regression: its control, files of tokens."""
    name = wildcards.regression
    folder = OUTCOMES[CONFIG.regressions[name].outcome].folder
    # What is not a norm is measured at the first scale of the weights alone.
    file = "untrained_{scale}" if folder == "norms" else f"{folder}/untrained"
    needs_stream = RANDOM_WEIGHTS and CONFIG.needs_stream(name)
    stream = partly(f"{STUDY}/stream/untrained_{{scale}}.parquet", scale=SCALES)
    # The corpus gives the groups of documents.
    needed = CONFIG.files_of_tokens(name) | {"corpus"}
    return {
        "untrained": optional(RANDOM_WEIGHTS, partly(f"{SITE}/{file}.parquet", scale=SCALES)),
        "untrained_stream": optional(needs_stream, stream),
        **token_files_of_all_shards(needed, wildcards),
    }


def fitted_of(**names):
    """Return the tables of a fit by name: of all regressions that have these names of wildcards."""
    fitted = targets.fitted_tables(CONFIG)
    return {name: partly(f"{RESULTS}/{name}.parquet", **names) for name in fitted}


def of_dataset(wildcards, ending):
    """Return a list with the file of a data set of the hub with this ending, [] without one."""
    has_one = CONFIG.corpora[wildcards.corpus].dataset is not None
    return optional(has_one, [f"data/datasets/{wildcards.corpus}.{ending}"])


# The user's files from which corpora and models are made. They are on the user's disk even if
# a storage provider has the results.
FILES_OF_CORPUS = lambda wildcards: list(map(local, CONFIG.files_of(wildcards.corpus)))

FILES_OF_MODEL = lambda wildcards: list(map(local, CONFIG.model_files(wildcards.model)))
