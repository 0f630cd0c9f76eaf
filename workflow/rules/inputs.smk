# Inputs and outputs that depend on the configuration, beside those that rules state as patterns.

from attnlag.quantities.catalogue import OPTIONAL, OUTCOMES

# Paths of patterns for some of their wildcards.
partly = functools.partial(expand, allow_missing=True)


def shards(corpus):
    """Return the names of the shards of a corpus."""
    return [f"{shard:04d}" for shard in range(CONFIG.corpora[corpus].shards)]


def every(*patterns):
    """Return the paths of patterns for all names in the configuration, each once."""
    sites, pairs = CONFIG.extraction.sites, CONFIG.pairs_changed()
    of_study = {"site": sites, "regression": CONFIG.regressions, "pair": pairs}
    paths = (
        expand(pattern, model=model, corpus=corpus, shard=shards(corpus), **of_study)
        for pattern, model, corpus in itertools.product(patterns, CONFIG.models, CONFIG.corpora)
    )
    return list(dict.fromkeys(itertools.chain(*paths)))


def optional(condition, files):
    """Return files where a condition holds, else none.

    The condition, if it is a function, depends on the name of the job's regression.
    """
    if not callable(condition):
        return files if condition else []
    return lambda wildcards: at(files, wildcards) if condition(wildcards.regression) else []


def shards_of(files):
    """Return the input function of the files of all shards, in order."""

    def of_all(wildcards):
        return partly(at(files, wildcards), shard=shards(wildcards.corpus))

    return of_all


def lazy_inputs(**files):
    """Return named inputs as one input function, because Snakemake takes time for each."""
    return unpack(lambda wildcards: {name: at(files[name], wildcards) for name in files})


def in_both_formats(folder, *names):
    """Return tables as outputs, by name: in Parquet, and in CSV."""
    return {
        f"{name}{ending}": f"{folder}/{name}.{ending[1:] or 'parquet'}"
        for name in names
        for ending in ("", "_csv")
    }


def every_site(pattern):
    """Return ``pattern`` for every site."""
    return partly(pattern, site=CONFIG.extraction.sites)


def of_study(pattern, condition=True):
    """Return a file of every site and regression that meets a condition, as that of `optional`."""
    meets = condition if callable(condition) else lambda regression: condition
    names = [name for name in CONFIG.regressions if meets(name)]
    paths = partly(every_site(pattern), regression=names) if names else []
    return list(dict.fromkeys(paths))


def wanted(files, condition=True):
    """Return outputs of a rule, which a run makes where a condition holds, whoever needs them.

    It adds them to the targets, and one to what the last jobs wait for.
    Who waits for every job waits for one file of each, because a plan takes time for each file.
    """
    groups = files.values() if isinstance(files, dict) else [files]
    paths = [path for group in groups for path in ([group] if isinstance(group, str) else group)]
    TARGETS.extend(path for each in paths for path in of_study(str(each), condition))
    AWAITED.extend(path for each in paths[:1] for path in of_study(str(each), condition))
    return files


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
        name: optional(lambda regression, name=name: name in needed(regression), path)
        for name, path in files.items()
    }


def outcome_of(wildcards):
    """Return a shard's file of what is regressed, which lies in the folder of the outcome."""
    folder = OUTCOMES[CONFIG.regressions[wildcards.regression].outcome].folder
    return f"{SITE}/{folder}/{{shard}}.parquet"


def outcome_before_training(wildcards):
    """Return the outcome with random weights, a file a scale. Further scales have norms alone."""
    folder = OUTCOMES[CONFIG.regressions[wildcards.regression].outcome].folder
    if folder == "norms":
        return partly(f"{SITE}/random_weights{{scale}}.parquet", scale=SCALES)
    return [f"{SITE}/{folder}/random_weights.parquet"]


# Inputs of a design, in the observed order of tokens or a permuted one.
OF_DESIGN = {
    "outcome": outcome_of,
    # Only for relative norms.
    "stream": optional(CONFIG.needs_stream, "results/{model}/{corpus}/stream/{shard}.parquet"),
    **for_covariates(OF_TOKENS),
}


# The user's files from which corpora, tokens and models are made. They are on the user's disk even if
# a storage provider has the results.
FILES_OF_CORPUS = lambda wildcards: list(map(local, CONFIG.files_of(wildcards.corpus)))
FILES_OF_TAGS = lambda wildcards: list(map(local, CONFIG.tag_files(wildcards.corpus)))
FILES_OF_MODEL = lambda wildcards: list(map(local, CONFIG.model_files(wildcards.model)))
