# Inputs and outputs that depend on the configuration, beside those that rules state as patterns.

from attnlag.quantities.catalogue import OUTCOMES, QUANTITIES

# Paths of patterns for some of their wildcards.
partly = functools.partial(expand, allow_missing=True)


def every(*patterns):
    """Return the paths of patterns for all names in the configuration, each once."""
    names = {"site": CONFIG.extraction.sites, "regression": CONFIG.regressions}
    names["pair"] = CONFIG.pairs_changed()
    paths = (
        expand(pattern, model=model, corpus=corpus, shard=CONFIG.shards(corpus), **names)
        for pattern, model, corpus in itertools.product(patterns, CONFIG.models, CONFIG.corpora)
    )
    return list(dict.fromkeys(itertools.chain(*paths)))


def optional(condition, files):
    """Return files where a condition holds, else none."""
    return files if condition else []


def shards_of(files):
    """Return the input function of the files of all shards, in order."""

    def of_all(wildcards):
        return partly(resolved(files, wildcards), shard=CONFIG.shards(wildcards.corpus))

    return of_all


def of_study(pattern, condition=True):
    """Return the files of a study: of every site, and of every regression that meets a condition.

    The condition, if it is a function, depends on the name of the regression.
    """
    meets = condition if callable(condition) else lambda regression: condition
    names = [name for name in CONFIG.regressions if meets(name)]
    paths = partly(pattern, site=CONFIG.extraction.sites, regression=names) if names else []
    return list(dict.fromkeys(paths))


def files_of_quantities(file, names=None, but=()):
    """Return the files of quantities, by name: of some, or of the optional ones that are measured."""
    names = CONFIG.quantities_measured() if names is None else names
    return {name: of_study(QUANTITIES[name].pattern(file)) for name in names if name not in but}


# What a run knows of every token beside its norms; covariates may need it.
OF_TOKENS = {
    "token_counts": f"{STUDY}/token_counts.parquet",
    "corpus": "results/corpora/{corpus}.parquet",
    "token_properties": f"{STUDY}/token_properties/{{shard}}.parquet",
    "surprisal": f"{STUDY}/surprisal/{{shard}}.parquet",
}
OF_ALL_TOKENS = {
    name: shards_of(path) if "{shard}" in path else path for name, path in OF_TOKENS.items()
}


# One function gives several inputs where they depend on the regression, because Snakemake takes time
# for each function.
def inputs_of_design(wildcards, needed=CONFIG.files_of_tokens):
    """Return the inputs of a design: the outcome, and the files that its covariates need."""
    name = wildcards.regression
    folder = OUTCOMES[CONFIG.regressions[name].outcome].folder
    return {
        "outcome": f"{SITE}/{folder}/{{shard}}.parquet",
        # Only for relative norms.
        "stream": optional(CONFIG.needs_stream(name), f"{STUDY}/stream/{{shard}}.parquet"),
        **{key: optional(key in needed(name), path) for key, path in OF_TOKENS.items()},
    }


def inputs_of_fit(wildcards):
    """Return the inputs of a regression: its designs, its controls and files of tokens."""
    name = wildcards.regression
    folder = OUTCOMES[CONFIG.regressions[name].outcome].folder
    # Further scales of the weights have norms alone.
    untrained = "random_weights{scale}" if folder == "norms" else f"{folder}/random_weights"
    needs_stream = UNTRAINED and CONFIG.needs_stream(name)
    stream = partly(f"{STUDY}/stream/random_weights{{scale}}.parquet", scale=SCALES)
    parts = ["crossproducts", "design", *optional(PERMUTED, ["permutations"])]
    # The corpus gives the groups of documents.
    needed = CONFIG.files_of_tokens(name) | {"corpus"}
    return {
        "permutations": [],
        **{part: shards_of(f"{RESULTS}/{part}/{{shard}}.parquet")(wildcards) for part in parts},
        "random_weights": optional(UNTRAINED, partly(f"{SITE}/{untrained}.parquet", scale=SCALES)),
        "random_weights_stream": optional(needs_stream, stream),
        **{
            key: optional(key in needed, resolved(files, wildcards))
            for key, files in OF_ALL_TOKENS.items()
        },
    }


# The user's files from which corpora and models are made. They are on the user's disk even if
# a storage provider has the results.
FILES_OF_CORPUS = lambda wildcards: list(map(local, CONFIG.files_of(wildcards.corpus)))
FILES_OF_MODEL = lambda wildcards: list(map(local, CONFIG.model_files(wildcards.model)))
