"""An output of a run: what it is, the conditions under which it is made, and shared columns."""

import glob
from collections.abc import Callable
from dataclasses import dataclass, field

from attnlag.config.schema import Config

# Columns that several tables share.
STUDY = {
    "model": ("", "name of the model in the configuration"),
    "corpus": ("", "name of the corpus in the configuration"),
    "site": ("", "what is measured: `attention`, `mlp` or `block`"),
    "regression": ("", "name of the regression in the configuration"),
}

KEYS = {
    "document": ("", "id of the document"),
    "window": ("", "which window of a long document, counted from 0"),
    "position": (
        "tokens",
        "place in the sequence that the model saw, from 0, a begin-of-sequence token included",
    ),
    "token_id": ("", "the token's number in the tokenizer's vocabulary"),
}

LAYERS = "layer_NN"

HEADS_FOLDER = "results/{model}/{corpus}/attention/heads"

SITE_FOLDER = "results/{model}/{corpus}/{site}"

COEFFICIENTS = {
    **STUDY,
    "subset": ("", "the documents that were used: `all`, or the group"),
    "layer": ("", "layer of the model, counted from 0"),
    "term": ("", "regressor: `intercept`, `lag_1`, `lead_1`, a covariate"),
    "estimate": (
        "log norm per unit of the term; of a lag none",
        "the coefficient",
    ),
    "std_error": ("as the estimate", "its standard error"),
    "statistic": ("", "estimate / standard error"),
    "df": ("", "degrees of freedom of its t distribution"),
    "p_value": ("", "two-sided p-value, of this coefficient alone"),
    "p_adjusted": ("", "corrected over the layers for the same term (`inference.adjust`)"),
    "conf_low": ("as the estimate", "lower end of the interval of this coefficient alone"),
    "conf_high": ("as the estimate", "its upper end"),
    "finding": (
        "",
        "`present`: shown to be beyond ± `inference.negligible`, corrected over the layers for the "
        "same term; `absent`: within; `undecided`",
    ),
    "vcov_type": ("", "kind of standard error (`inference.covariance`)"),
    "uncorrected": (
        "as the estimate",
        "the coefficient before the correction of bias (`bias_correction`), if there is one",
    ),
    "p_wild": ("", "p-value of the wild cluster bootstrap; only with `wild_bootstrap`"),
}


def always(config: Config, regression: str) -> bool:
    return True


def permuted(config: Config, regression: str) -> bool:
    # Effects of tokens would have to be removed anew in every permuted order.
    effects = config.regressions[regression].token_effects
    return config.controls.permutation is not None and not effects


def with_random_weights(config: Config, regression: str) -> bool:
    return config.controls.random_weights is not None


def of_vectors(config: Config, regression: str) -> bool:
    return config.extraction.keep == "vectors"


def with_surprisal(config: Config, regression: str) -> bool:
    return config.with_surprisal()


def vectors_of_random_weights(config: Config, regression: str) -> bool:
    return of_vectors(config, regression) and with_random_weights(config, regression)


def with_vector_regression(config: Config, regression: str) -> bool:
    return config.vector_regression() is not None


def with_geometry(config: Config, regression: str) -> bool:
    return config.extraction.geometry


def with_centred(config: Config, regression: str) -> bool:
    return config.extraction.geometry and config.extraction.keep == "vectors"


def with_random_geometry(config: Config, regression: str) -> bool:
    return config.extraction.geometry and config.controls.random_weights is not None


def with_random_centred(config: Config, regression: str) -> bool:
    return with_centred(config, regression) and config.controls.random_weights is not None


def with_heads(config: Config, regression: str) -> bool:
    return config.with_heads()


def with_random_heads(config: Config, regression: str) -> bool:
    return config.with_heads() and config.controls.random_weights is not None


def several_regressions(config: Config, regression: str) -> bool:
    return len(config.regressions) > 1


def several_sites(config: Config, regression: str) -> bool:
    return len(config.extraction.sites) > 1


def causal(config: Config, regression: str) -> bool:
    return bool(config.sites_changed())


def on_several_tokens(config: Config, regression: str) -> bool:
    """With one token per document there is nothing to divide by part of speech."""
    return config.causal is not None and config.causal.positions > 1


def with_parts_of_speech(config: Config, regression: str) -> bool:
    """Return whether some corpus has parts of speech."""
    return any(corpus.tagger for corpus in config.corpora.values())


def with_groups(config: Config, regression: str) -> bool:
    """Return whether some corpus may have several groups of documents: a field, or files."""
    return any(
        corpus.group or len(corpus.files) > 1 or glob.has_magic(corpus.files[0])
        for corpus in config.corpora.values()
    )


def never(config: Config, regression: str) -> bool:
    """Return False: a run does not make this file."""
    return False


def with_token_effects(config: Config, regression: str) -> bool:
    return bool(config.regressions[regression].token_effects)


def by_class(config: Config, regression: str) -> bool:
    return config.regressions[regression].by is not None


def by_number(config: Config, regression: str) -> bool:
    return config.regressions[regression].by_number


def compared(config: Config, regression: str) -> bool:
    """Return whether there are several models or corpora to compare."""
    return len(config.models) * len(config.corpora) > 1


@dataclass
class Output:
    """A file of a run."""

    # Path with the names of Snakemake's wildcards in braces.
    path: str
    # Content of the file, and meaning of its rows.
    meaning: str
    # Unit and meaning by name of the column, or of the key of a JSON file.
    columns: dict[str, tuple[str, str]] = field(default_factory=dict)
    # Returns whether a configuration makes the file, for a regression.
    when: Callable[[Config, str], bool] = always
    # Whether the file is a target of a run; other files are intermediate.
    wanted: bool = False
