"""The catalogue of outputs: every file that a run makes, what it means, and when it is made.

The targets of the workflow, the page docs/outputs.md and the files that tests expect of a run come
from it. The rules also state the paths, so that the flow can be read in them; a test compares the
two.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from attnlag.config.schema import Config
from attnlag.figures import catalogue
from attnlag.figures.sizes import SIZES, suffix_of
from attnlag.regression import covariates

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
        "`present`: shown to be beyond ± `inference.negligible`; `absent`: within; `undecided`",
    ),
    "vcov_type": ("", "kind of standard error (`inference.covariance`)"),
    "p_wild": ("", "p-value of the wild cluster bootstrap; only with `wild_bootstrap`"),
}
# Of these, the ones that regressions of heads have after their part.
OF_HEADS = {
    *("term", "estimate", "std_error", "statistic", "df", "p_value", "p_adjusted"),
    *("conf_low", "conf_high", "finding", "vcov_type"),
}
LAYERS = "layer_NN"


def always(config: Config, regression: str) -> bool:
    return True


def permuted(config: Config, regression: str) -> bool:
    # In another order, tokens would have other effects to take out, draw by draw.
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


def never(config: Config, regression: str) -> bool:
    """No run makes it."""
    return False


def with_token_effects(config: Config, regression: str) -> bool:
    return bool(config.regressions[regression].token_effects)


def by_class(config: Config, regression: str) -> bool:
    return config.regressions[regression].by is not None


def compared(config: Config, regression: str) -> bool:
    """With a single model and corpus there is nothing to compare."""
    return len(config.models) * len(config.corpora) > 1


@dataclass
class Output:
    """A file of a run.

    Attributes
    ----------
    path : str
        Path with the names of Snakemake's wildcards in braces.
    meaning : str
        What the file holds, and what a row of it stands for.
    columns : dict
        Unit and meaning by the name of the column, or of the key of a JSON file.
    when : callable
        Whether a configuration makes it, for a regression.
    wanted : bool
        Whether a run asks for it; other files are made on the way.
    """

    path: str
    meaning: str
    columns: dict[str, tuple[str, str]] = field(default_factory=dict)
    when: Callable[[Config, str], bool] = always
    wanted: bool = False


CAUSAL_FOLDER = "results/{model}/{corpus}/causal"
SOURCE_AND_TARGET = {
    "source_site": ("", "the site that is changed"),
    "source_layer": ("", "the layer that is changed"),
    "target_site": (
        "",
        "the site whose norm is observed; or `surprisal`, `kl_divergence` of the next token",
    ),
    "target_layer": ("", "the layer that is observed; empty for the next token"),
    "lag": ("tokens", "distance of the source before the target"),
    "intervention": ("", "`derivative`, or `scale`, `zero`, `mean`, `resample`"),
    "alpha": ("", "factor of a scale, else empty"),
}
BANDS = {
    "std_error": ("as the estimate", "its standard error, clustered by document"),
    "conf_low": ("as the estimate", "lower end of the interval of this estimate alone"),
    "conf_high": ("as the estimate", "its upper end"),
    "joint_low": ("as the estimate", "lower end of a band over all layers of a lag"),
    "joint_high": ("as the estimate", "its upper end"),
    "documents": ("", "documents that were intervened on"),
    "positions": ("tokens", "targets in the estimate"),
}
HEADS_FOLDER = "results/{model}/{corpus}/attention/heads"
SITE_FOLDER = "results/{model}/{corpus}/{site}"
STUDY_FOLDER = f"{SITE_FOLDER}/{{regression}}"
STREAM_UNITS = "units of the residual stream"
DISTANCES = {
    "layer": ("", "layer of the model, counted from 0"),
    "distance": ("tokens", "distance between the tokens, 1 to 16"),
    "documents": ("", "documents that have such a pair"),
    "pairs": ("", "Σ n over documents, n the pairs of a document"),
    "pairs_squared": ("", "Σ n²"),
    "total": ("", "Σ S, S the sum of the cosines of a document"),
    "total_squared": ("", "Σ S²"),
    "total_pairs": ("", "Σ S n"),
    "random_pairs": ("", "pairs of tokens of different documents"),
    "random_total": ("", "sum of their cosines"),
}
GEOMETRY = {
    **KEYS,
    f"{LAYERS}.parallel": (STREAM_UNITS, "part of the adjustment along the block's input; signed"),
    f"{LAYERS}.orthogonal": (STREAM_UNITS, "size of the part at right angles to it"),
    f"{LAYERS}.log_growth": ("", "log of the norm of input + adjustment over that of the input"),
    f"{LAYERS}.angle": ("radians", "angle between the input and input + adjustment"),
    f"{LAYERS}.cosine_previous": (
        "",
        "cosine with the adjustment to the token before; NaN of a first token",
    ),
}
CENTRED = {
    **KEYS,
    f"{LAYERS}.cosine_previous_centred": (
        "",
        "the same after the layer's mean vector, over tokens that are not first ones, is taken "
        "from both",
    ),
}
OUTPUTS = [
    Output(
        "data/models/{model}/source.json",
        "the source of the model and the contents of its folder: the model in the form that "
        "transformers reads (`config.json`, safetensors, tokenizer)",
        {
            "name": ("", "name of the model in the configuration"),
            "source": ("", "kind of source: `hub`, `path`, `package` or `random`"),
            "revision": ("", "the commit or version that was found"),
            "digest": ("", "SHA-256 over all files of the model"),
            "files": ("", "size in bytes and SHA-256 of each file"),
            "layers": ("", "number of layers"),
            "width": ("", "width of the residual stream"),
            "context_length": (
                "tokens",
                "longest sequence that the model is made for; null: no limit",
            ),
            "vocabulary": ("", "number of tokens in the embedding"),
            "parameters": ("", "number of parameters"),
            "tokenizer_is_in_json": (
                "",
                "whether tokenizer.json alone gives the tokens that transformers gives",
            ),
            "model_type": ("", "the model's type in transformers"),
            "license": ("", "the licence that the source states; null: none"),
            "repository": ("", "the repository; `hub` only"),
            "package": ("", "the package; `package` only"),
            "version": ("", "its version; `package` only"),
            "file": ("", "the file inside the package; `package` only"),
            "parts": ("", "packages, versions and files of its further parts, if it has any"),
            "of": ("", "the model whose twin it is; `random` only"),
            "seed": ("", "seed of the weights; `random` only"),
        },
    ),
    Output(
        "data/models/{model}/architecture.txt",
        "the model's number of parameters and its tree of modules",
    ),
    Output(
        "results/corpora/{corpus}.parquet",
        "the documents, one per row, in the order of the files",
        {
            "document": ("", "id of the document, unique in the corpus"),
            "text": ("", "its text"),
            "group": ("", "its genre or source"),
        },
    ),
    Output(
        "results/{model}/{corpus}/tokens/{shard}.parquet",
        "the sequences that the model sees, one per row: a document, or a window of a long one",
        {
            "document": KEYS["document"],
            "window": KEYS["window"],
            "first_position": ("tokens", "where the window begins in the document's tokens"),
            "input_ids": ("", "the tokens' numbers in the vocabulary"),
            "char_start": ("characters", "where each token begins in the document's text"),
            "char_end": ("characters", "where it ends"),
            "special_in_text": ("", "places in the text that look like control tokens"),
        },
    ),
    Output(
        "results/{model}/{corpus}/token_summary.html",
        "the counts of `token_summary.csv` as a page to sort and filter",
        wanted=True,
    ),
    Output(
        "results/{model}/{corpus}/token_summary.csv",
        "number of characters per token: a row for the corpus, each group and each document",
        {
            "level": ("", "`corpus`, `group` or `document`"),
            "name": ("", "`all`, the group, or the document's id"),
            "group": ("", "the group"),
            "documents": ("", "number of documents"),
            "sequences": ("", "number of sequences"),
            "characters": ("characters", "characters of the tokens, without truncated text"),
            "tokens": ("tokens", "tokens of the text, without begin-of-sequence tokens"),
            "special_in_text": ("", "places in the text that look like control tokens"),
            "characters_per_token": ("characters per token", "the ratio of the two"),
        },
    ),
    Output(
        "results/{model}/{corpus}/token_counts.parquet",
        "how often each token occurs in the corpus",
        {
            "token_id": KEYS["token_id"],
            "count": ("", "how often it occurs"),
        },
    ),
    Output(
        "results/{model}/{corpus}/token_properties/{shard}.parquet",
        "properties of each token: a row per token, in the order of the norms",
        {
            **KEYS,
            "text": ("", "the token as text; part of a character is `\ufffd`"),
            "byte_start": ("bytes", "where it begins in the document's text in UTF-8"),
            "byte_end": ("bytes", "where it ends"),
            "word": (
                "",
                "number in the document of the word that holds its first byte that is no white "
                "space, from 0; -1: none does, it is white space or a control token",
            ),
            "piece": ("", "number of the token among those of its word, from 0; -1 without a word"),
            "pieces": ("tokens", "number of tokens in its word; 0 without a word"),
            "word_initial": ("", "whether the token contains the first byte of its word"),
            "word_final": ("", "whether the token contains the last byte of its word"),
            "words_touched": ("words", "number of words of which the token contains bytes"),
            "upos": (
                "",
                "universal part-of-speech tag of its word; `SPACE` for white space alone; `none` "
                "for control tokens and where the document has no tags",
            ),
            "token_characters": ("characters", "number of characters that begin in the token"),
            "zipf": (
                "log10 per billion words",
                "frequency of its word in the language; 0 if it is not known",
            ),
            "zipf_known": ("", "whether the frequency is known"),
            "log_frequency": ("nats", "log of the token's share of the corpus' tokens"),
        },
        wanted=True,
    ),
    Output(
        "results/{model}/{corpus}/{site}/activations/{shard}.parquet",
        "the adjustments, a row per token; with `keep: vectors` only",
        {
            **KEYS,
            LAYERS: (
                "units of the residual stream",
                "the vector that the sublayer of this layer adds, as long as the model is wide",
            ),
        },
        when=of_vectors,
    ),
    Output(
        "results/{model}/{corpus}/{site}/norms/{shard}.parquet",
        "norms of the adjustments, a row per token",
        {
            **KEYS,
            LAYERS: ("units of the residual stream", "L2 norm of the vector; not its logarithm"),
        },
    ),
    Output(
        "results/{model}/{corpus}/stream/{shard}.parquet",
        "norms of the residual stream that each block receives, a row per token, in the order of "
        "the norms",
        {
            **KEYS,
            LAYERS: ("units of the residual stream", "L2 norm of the block's input"),
        },
    ),
    Output(
        "results/{model}/{corpus}/surprisal/{shard}.parquet",
        "surprisal and entropies of the model's predictions, a row per token, in the order of the "
        "norms; only with `surprisal: true`",
        {
            **KEYS,
            "surprisal": (
                "nats",
                "-log probability of the token given the preceding tokens; empty for the first",
            ),
            "entropy_before": ("nats", "entropy of the prediction that gives this probability"),
            "entropy_next": ("nats", "entropy of the prediction of the next token"),
            "rank": ("", "rank of the token in the prediction, 1 for the most likely"),
        },
        when=with_surprisal,
        wanted=True,
    ),
    Output(
        f"{SITE_FOLDER}/geometry/{{shard}}.parquet",
        "directions of adjustments, a row per token, in the order of the norms. The metadata "
        "`attnlag.random_pairs` have the means over random pairs of tokens",
        GEOMETRY,
        when=with_geometry,
    ),
    Output(
        f"{SITE_FOLDER}/geometry/random_weights.parquet",
        "the same for the architecture with random weights",
        GEOMETRY,
        when=with_random_geometry,
    ),
    Output(
        f"{SITE_FOLDER}/sums/{{shard}}.parquet",
        "sums of the vectors over all tokens but first ones, for their means: a row per layer",
        {
            "layer": ("", "layer of the model, counted from 0"),
            "tokens": ("", "tokens that are summed over"),
            "sum": ("units of the residual stream", "the sum, as long as the model is wide"),
        },
        when=of_vectors,
    ),
    Output(
        f"{SITE_FOLDER}/centred/{{shard}}.parquet",
        "cosines of neighbours without the layer's mean vector, a row per token",
        CENTRED,
        when=with_centred,
    ),
    Output(
        f"{SITE_FOLDER}/centred/random_weights.parquet",
        "the same for the architecture with random weights",
        CENTRED,
        when=with_random_centred,
    ),
    Output(
        f"{SITE_FOLDER}/distances/{{shard}}.parquet",
        "sums of these cosines over the documents of a shard: a row per layer and distance",
        DISTANCES,
        when=with_centred,
    ),
    Output(
        f"{SITE_FOLDER}/distances/random_weights.parquet",
        "the same for the architecture with random weights",
        DISTANCES,
        when=with_random_centred,
    ),
    Output(
        f"{SITE_FOLDER}/geometry/means.csv",
        "mean directions of adjustments: a row per layer and quantity, and for cosines per "
        "distance",
        {
            **{name: STUDY[name] for name in ("model", "corpus", "site")},
            "layer": ("", "layer of the model, counted from 0"),
            "quantity": (
                "",
                "a column of `geometry`; a part over the stream's norm (`_relative`); "
                "`stream_log_growth`, the log of the next block's input norm over this one's",
            ),
            "distance": ("tokens", "distance between the two tokens, for cosines only"),
            "mean": ("as the quantity", "mean over the tokens"),
            "std_error": ("as the quantity", "its standard error, clustered by document (CRV1)"),
            "conf_low": ("as the quantity", "lower end of its interval (`inference.alpha`)"),
            "conf_high": ("as the quantity", "its upper end"),
            "random_pairs": (
                "as the quantity",
                "mean over pairs of tokens of different documents: the adjustment to one, and the "
                "stream or the adjustment of the other",
            ),
            "random_weights": (
                "as the quantity",
                "mean with random weights; of centred cosines their own layer's mean is subtracted",
            ),
            "tokens": ("", "tokens, or pairs of them, in the mean"),
            "documents": ("", "documents that contain them"),
        },
        when=with_geometry,
    ),
    Output(
        f"{HEADS_FOLDER}/{{shard}}.parquet",
        "norms of the vectors of attention heads, a row per token; without layers where a model's "
        "heads are not found. The metadata `attnlag.heads` state the error of their sum, or why "
        "there are none",
        {**KEYS, LAYERS: (STREAM_UNITS, "norm of what each head adds, in the order of the heads")},
        when=with_heads,
    ),
    Output(
        f"{HEADS_FOLDER}/random_weights.parquet",
        "the same for the architecture with random weights",
        {**KEYS, LAYERS: (STREAM_UNITS, "norm of what each head adds, in the order of the heads")},
        when=with_random_heads,
    ),
    Output(
        "results/{model}/{corpus}/attention/sinks/{shard}.parquet",
        "attention to the first token, a row for each of the first 64 tokens of 16 sequences; "
        "without layers where a model gives no weights of attention. The metadata `attnlag.sinks` "
        "state how many tokens there are, or why there are none",
        {**KEYS, LAYERS: ("", "weight of the sequence's first token in each head")},
        when=with_heads,
    ),
    Output(
        f"{HEADS_FOLDER}/heads.csv",
        "what each head writes and attends to: a row per layer and head, and one per layer",
        {
            **{name: STUDY[name] for name in ("model", "corpus", "site")},
            "layer": ("", "layer of the model, counted from 0"),
            "part": ("", "number of the head; `all`, the adjustment"),
            "share": ("", "of the head in the squared norms of all heads"),
            "coherence": ("", "mean of the adjustment's squared norm over the sum of its heads'"),
            "at_floor": (
                "",
                "share of tokens the norms of whose heads are within a tenth of those of the first "
                "token of their sequence",
            ),
            "sink": ("", "mean attention to the first token; of `all`, also over the heads"),
            "sink_at_floor": ("", "that of tokens at the floor"),
            "sink_above": ("", "that of other tokens"),
            "sink_uniform": ("", "the same if all tokens up to its own had equal attention"),
            "sink_tokens": ("", "tokens in these means"),
        },
        when=with_heads,
    ),
    Output(
        f"{HEADS_FOLDER}/head_coefficients.csv",
        "regressions of log norms of heads, with the terms of the first regression that suits "
        "them: a row per layer, part and term",
        {
            **{name: COEFFICIENTS[name] for name in (*STUDY, "subset", "layer")},
            "part": (
                "",
                "number of the head; `all`, the adjustment; `above floor`, that of tokens above it",
            ),
            **{name: value for name, value in COEFFICIENTS.items() if name in OF_HEADS},
            "p_adjusted": ("", "corrected over the layers and parts for the same term"),
            "rows": ("", "tokens that were used"),
            "permuted_mean": (
                "as the estimate",
                "mean over 4 permuted orders of the tokens of each document",
            ),
            "random_weights": ("as the estimate", "the coefficient with random weights"),
        },
        when=with_heads,
    ),
    Output(
        f"{STUDY_FOLDER}/design/{{shard}}.parquet",
        "outcome and regressors, a row per token that has them",
        {
            **KEYS,
            f"{LAYERS}.y": (
                "log norm, or that of the outcome",
                "natural log of the norm, or another outcome (`outcome`); empty if the "
                "layer has no row",
            ),
            f"{LAYERS}.TERM": ("as the term", "a regressor that differs between layers"),
            "TERM": ("as the term", "a regressor that is the same in all layers"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/token_effects.parquet",
        "effects of tokens in a design (`fixed_effects: [document, token]`): a "
        "row per effect and token",
        {
            "effect": ("", "`token`, or `previous_token`"),
            "token_id": KEYS["token_id"],
            f"{LAYERS}.y": ("log norm", "its effect on the outcome"),
            f"{LAYERS}.TERM": ("as the term", "its effect on a regressor"),
            "TERM": ("as the term", "likewise"),
        },
        when=with_token_effects,
    ),
    Output(
        f"{STUDY_FOLDER}/within_tokens/{{shard}}.parquet",
        "`design` without these effects: a row per token",
        {
            **KEYS,
            f"{LAYERS}.y": ("log norm", "as in `design`"),
            f"{LAYERS}.TERM": ("as the term", "as in `design`"),
            "TERM": ("as the term", "as in `design`"),
        },
        when=with_token_effects,
    ),
    Output(
        f"{STUDY_FOLDER}/crossproducts/{{shard}}.parquet",
        "the sums that least squares needs: a row per document and layer",
        {
            "document": KEYS["document"],
            "layer": ("", "layer of the model, counted from 0"),
            "half": ("", "0 and 1: the halves of the document; for the half-panel jackknife only"),
            "n": ("", "rows of the design"),
            "products": (
                "products of the columns",
                "upper triangle, row by row, of Σ w w' for w = [1, y, regressors] about the centre "
                "in the metadata",
            ),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/residuals.parquet",
        "sums over the residuals e: a row per layer. x is [1, regressors] without their means; z "
        "is x and the ten residuals before",
        {
            "layer": ("", "layer of the model, counted from 0"),
            "n": ("", "rows of the design"),
            "effects": ("", "documents whose means were removed"),
            "powers": ("powers of log norm", "Σ e, Σ e², Σ e³, Σ e⁴"),
            "smallest": ("log norm", "the smallest residual"),
            "largest": ("log norm", "the largest"),
            "products": ("", "Σ z z', row by row"),
            "scores": ("", "Σ z e"),
            "squares": ("", "Σ x e²"),
            "meat_hc1": ("", "Σ e² xx'"),
            "meat_hc3": ("", "Σ e²/(1 - h)² xx', h the leverage"),
            "meat_hac": ("", "`meat_hc1` and the weighted products with the scores before"),
            "differences": ("log norm squared", "Σ (e - e before)² over neighbours"),
            "pairs": ("", "pairs of rows at distances 1 to 20"),
            "lagged": ("log norm squared", "Σ of the products of their residuals"),
            "histogram": ("", "counts of e / sigma, on the grid of the figures"),
            "fitted_histogram": ("", "counts of fitted values and e / sigma, on a coarser grid"),
        },
    ),
    Output(
        "results/{model}/{corpus}/{site}/random_weights.parquet",
        "norms of the same architecture with random weights, over the first documents of each "
        "group: a row per token",
        {**KEYS, LAYERS: ("units of the residual stream", "L2 norm of the vector")},
        when=with_random_weights,
    ),
    Output(
        "results/{model}/{corpus}/{site}/random_weights_vectors.parquet",
        "adjustment vectors of the same tokens",
        {**KEYS, LAYERS: ("", "the adjustment vector of this layer with random weights")},
        when=vectors_of_random_weights,
    ),
    Output(
        "results/{model}/{corpus}/stream/random_weights.parquet",
        "norms of the residual stream that each of its blocks receives: a row per token",
        {**KEYS, LAYERS: ("units of the residual stream", "L2 norm of the block's input")},
        when=with_random_weights,
    ),
    Output(
        f"{STUDY_FOLDER}/permutations/{{shard}}.parquet",
        "cross-products with the tokens of each document permuted: a row per draw and layer",
        {
            "draw": ("", "-1 for the real order, from 0 for permutations"),
            "layer": ("", "layer of the model, counted from 0"),
            "products": ("products of the columns", "as in `crossproducts`, over all documents"),
        },
        when=permuted,
    ),
    Output(
        f"{STUDY_FOLDER}/controls.csv",
        "the controls of each lag and lead: a row per layer and term. A control that is "
        "turned off has no columns",
        {
            **STUDY,
            "layer": ("", "layer of the model, counted from 0"),
            "term": ("", "the lag or lead"),
            "estimate": ("log norm per log norm", "its coefficient, as in `coefficients.csv`"),
            "r_squared": ("", "R² of the layer, as in `fits.csv`"),
            "permuted_mean": (
                "as the estimate",
                "mean coefficient with the tokens of each document permuted, before any "
                "correction of bias",
            ),
            "permuted_low": ("as the estimate", "lower end of what holds 1 - alpha of these"),
            "permuted_high": ("as the estimate", "its upper end"),
            "order_statistic": (
                "",
                "distance of all lags and leads of the layer from their permuted mean, squared, in "
                "units of the permuted covariance",
            ),
            "order_p_value": ("", "p-value of the layer: order within documents means nothing"),
            "order_p_adjusted": ("", "the same, corrected over the layers"),
            "permutations": ("", "number of permutations"),
            "permuted_within": ("", "what tokens are exchanged in: `document`, or `upos` in it"),
            "random_weights": ("as the estimate", "the coefficient with random weights"),
            "random_weights_r_squared": ("", "R² of the layer with random weights"),
            "random_weights_documents": ("", "documents that this rests on"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/coefficients.csv",
        "the coefficients: a row per layer and term",
        COEFFICIENTS,
    ),
    Output(
        f"{STUDY_FOLDER}/fits.csv",
        "goodness of fit, residual tests and status: a row per layer",
        {
            **STUDY,
            "layer": ("", "layer of the model, counted from 0"),
            "n_obs": ("", "rows of the design"),
            "n_dropped": ("", "rows left out for a norm that is zero or not finite"),
            "n_documents": ("", "documents that give rows"),
            "effective_documents": (
                "",
                "effective number of documents, for the nearest lag",
            ),
            "r_squared": (
                "",
                "share of the variance that is explained; with document effects, within documents",
            ),
            "adj_r_squared": ("", "the same, adjusted for the number of terms"),
            "cv_r_squared": ("", "R² of documents that the fit did not see, by folds"),
            "loo_r_squared": ("", "the same, one document at a time"),
            "sigma": ("log norm", "standard deviation of the residuals"),
            "condition_number": ("", "of the regressors, the intercept among them"),
            "f_statistic": ("", "Wald test that all slopes are zero"),
            "f_p_value": ("", "its p-value"),
            "log_likelihood": ("nats", "Gaussian, at the estimates; empty with half-panel"),
            "skewness": ("", "of the residuals"),
            "kurtosis": ("", "of the residuals, 3 for the normal distribution"),
            "jarque_bera": ("", "test of the residuals' normality"),
            "jarque_bera_p_value": ("", "its p-value"),
            "breusch_pagan": ("", "test that their variance does not depend on the regressors"),
            "breusch_pagan_p_value": ("", "its p-value"),
            "breusch_godfrey": ("", "test that they are not autocorrelated, lags 1 to 10"),
            "breusch_godfrey_p_value": ("", "its p-value"),
            "durbin_watson": ("", "near 2 without autocorrelation; biased by lagged outcomes"),
            "residual_pNN": ("log norm", "percentile NN of the residuals"),
            "mixer": ("", "`attention`, or the class of what the layer has in its place"),
            "status": ("", "`ok`, or why the layer was not fitted"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/influence.csv",
        "the most influential documents, at most 100 for each lag or lead and layer",
        {
            **STUDY,
            "layer": ("", "layer of the model, counted from 0"),
            "term": ("", "the lag or lead"),
            "document": KEYS["document"],
            "n_obs": ("", "rows of the document"),
            "change": ("as the estimate", "estimate - estimate without the document"),
            "change_in_se": ("standard errors", "the same, over the standard error"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/joint.json",
        "critical values for all layers at once, from the bootstrap of documents",
        {
            "alpha": ("", "significance level"),
            "critical_values": ("standard errors", "by term: half of the width of a joint band"),
            "documents": ("", "documents drawn from, or groups (`inference.cluster`)"),
            "bins": ("", "bins drawn from, where documents share them, else null"),
            "draws": ("", "draws that all fitted layers could be estimated in"),
            "seed": ("", "seed of the draws"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/groups.csv",
        "the regression of each group of documents by itself: a row per group, layer and term",
        {
            **{name: COEFFICIENTS[name] for name in list(COEFFICIENTS)[:-1]},
            "n_obs": ("", "rows of the group"),
            "n_documents": ("", "documents of the group that give rows"),
            "status": ("", "`ok`, or why the layer was not fitted"),
        },
        wanted=True,
    ),
    Output(
        f"{STUDY_FOLDER}/class_crossproducts/{{shard}}.parquet",
        "`crossproducts` with the level and the slopes of each class of tokens (`by`) beside the "
        "terms: a row per document and layer",
        {
            "document": KEYS["document"],
            "layer": ("", "layer of the model, counted from 0"),
            "half": ("", "0 and 1: the halves of the document; for the half-panel jackknife only"),
            "n": ("", "rows of the design"),
            "products": ("products of the columns", "as in `crossproducts`"),
        },
        when=by_class,
    ),
    Output(
        f"{STUDY_FOLDER}/classes.csv",
        "slopes by class of token (`by`): a row per class, layer, and lag or lead; `all` are the "
        "slopes that all classes share, with levels of their own",
        {
            **{name: COEFFICIENTS[name] for name in list(COEFFICIENTS)[:-1]},
            "subset": (
                "",
                "the class of tokens; `other`: all of too few rows or documents. By a number: "
                "the `low`, `middle` and `high` third; `-1 SD`, `0 SD` and `+1 SD`, where slopes "
                "change linearly with it, and what they change by, `per SD`",
            ),
            "difference": ("as the estimate", "the estimate less that of `all`"),
            "difference_std_error": ("as the estimate", "its standard error"),
            "difference_p_value": ("", "its p-value"),
            "difference_p_adjusted": ("", "corrected over all layers and classes of the term"),
            "n_obs": ("", "rows of the class"),
            "n_documents": ("", "documents with such rows"),
            "status": ("", "`ok`, or why the layer was not fitted"),
            "at": (
                "of the property",
                "by a number: where on it the slope is; of a third, the mean of its tokens",
            ),
        },
        when=by_class,
        wanted=True,
    ),
    Output(
        f"{STUDY_FOLDER}/equal_slopes.csv",
        "tests that all classes of tokens have equal slopes: a row per layer, lag or lead, and "
        "hypothesis",
        {
            **STUDY,
            "layer": ("", "layer of the model, counted from 0"),
            "term": ("", "the lag or lead"),
            "hypothesis": (
                "",
                "`equal`: all classes have one slope; by a number also `linear`: slopes of thirds "
                "add nothing to those that change linearly with it",
            ),
            "f_statistic": ("", "Wald test of it"),
            "df": ("", "classes less one"),
            "df_residual": ("", "documents less one"),
            "p_value": ("", "its p-value"),
            "p_adjusted": ("", "corrected over the layers"),
            "merged": ("", "classes that `other` stands for"),
        },
        when=by_class,
        wanted=True,
    ),
    Output(
        f"{STUDY_FOLDER}/steps.csv",
        "lags and leads as more is held fixed, for regressions with `by`: a row per layer, step "
        "and term. No covariates but the dummies of the steps",
        {
            **STUDY,
            "layer": ("", "layer of the model, counted from 0"),
            "step": (
                "",
                "what entered last: `pooled` (nothing yet), then one after another `document`, "
                "`upos`, `upos_previous`, `token`, `token_previous`",
            ),
            "term": ("", "the lag or lead"),
            "estimate": ("log norm per log norm", "its coefficient"),
            "std_error": ("as the estimate", "its standard error, clustered by document (CRV1)"),
            "r_squared": ("", "share of all variance that lags and dummies explain"),
            "effects": ("", "independent dummies, the constant among them"),
            "conf_low": ("as the estimate", "lower end of its interval"),
            "conf_high": ("as the estimate", "its upper end"),
            "n_obs": ("", "rows of the layer"),
            "n_documents": ("", "documents with rows"),
        },
        when=by_class,
        wanted=True,
    ),
    Output(
        f"{STUDY_FOLDER}/parts.csv",
        "Gelbach's decomposition of the change from the first to the last step: a row per layer, "
        "term and part",
        {
            **STUDY,
            "layer": ("", "layer of the model, counted from 0"),
            "term": ("", "the lag or lead"),
            "part": (
                "",
                "`document`; `upos`: what tokens of a part of speech have in common; `token`: what "
                "each has beyond it; `upos_previous`, `token_previous`: of the token before",
            ),
            "change": ("as the estimate", "its part; all parts add up to the change"),
        },
        when=by_class,
        wanted=True,
    ),
    Output(
        f"{STUDY_FOLDER}/coefficients.html",
        "the coefficients as a page to sort and filter, rows tinted by `finding`",
        wanted=True,
    ),
    Output(f"{STUDY_FOLDER}/summary/layer_NN.txt", "the regression table of a layer"),
    Output(f"{STUDY_FOLDER}/findings.txt", "the sentences that a run ends with", wanted=True),
    Output(
        f"{SITE_FOLDER}/geometry/findings.txt",
        "growth and turn of the stream, in words",
        when=with_geometry,
        wanted=True,
    ),
    Output(
        f"{HEADS_FOLDER}/findings.txt",
        "findings on single heads and on the floor, in words",
        when=with_heads,
        wanted=True,
    ),
    Output(
        f"{CAUSAL_FOLDER}/effects/{{shard}}.parquet",
        "sums of the effects of interventions: a row per document, source, target, lag and "
        "intervention",
        {
            "document": KEYS["document"],
            **SOURCE_AND_TARGET,
            "upos": ("", "part of speech of the token that is changed; not of a derivative"),
            "positions": ("tokens", "targets that are summed over"),
            "effect_sum": (
                "log norm, or nats",
                "sum of derivatives, or of changes of the log norm, of the surprisal, of the "
                "divergence from the unchanged prediction",
            ),
            "probes": ("", "backward passes behind the sum; of a derivative only"),
        },
        when=causal,
    ),
    Output(
        f"{CAUSAL_FOLDER}/elasticities.csv",
        "the effects per token, beside what predicts: a row per source, target, lag and "
        "intervention",
        {
            "model": STUDY["model"],
            "corpus": STUDY["corpus"],
            **SOURCE_AND_TARGET,
            "estimate": (
                "log norm per log norm; log norm; nats",
                "of a derivative the elasticity, of a scale Δ log norm / log alpha, else the mean "
                "change",
            ),
            **BANDS,
            "predictive": (
                "log norm per log norm",
                "coefficient of the source in the regression of the target on it alone",
            ),
            "predictive_std_error": ("as the coefficient", "clustered by document"),
            "predictive_given": (
                "log norm per log norm",
                "the same with the source layer's log norm at the target's token held fixed",
            ),
            "predictive_given_std_error": ("as the coefficient", "clustered by document"),
        },
        when=causal,
        wanted=True,
    ),
    Output(
        f"{CAUSAL_FOLDER}/transmitted.csv",
        "the sums of elasticities over all source layers, beside the coefficients of a regression: "
        "a row per target and lag",
        {
            "model": STUDY["model"],
            "corpus": STUDY["corpus"],
            **{name: SOURCE_AND_TARGET[name] for name in ("source_site", "target_site")},
            "target_layer": SOURCE_AND_TARGET["target_layer"],
            "lag": SOURCE_AND_TARGET["lag"],
            "estimate": ("log norm per log norm", "sum of the elasticities over the sources"),
            **BANDS,
            "regression": ("", "the regression whose coefficients stand beside"),
            "coefficient": ("log norm per log norm", "its coefficient of this lag in the layer"),
            "coefficient_std_error": ("as the coefficient", "its standard error"),
            "coefficient_conf_low": ("as the coefficient", "lower end of its interval"),
            "coefficient_conf_high": ("as the coefficient", "its upper end"),
        },
        when=causal,
    ),
    Output(
        f"{CAUSAL_FOLDER}/by_part_of_speech.csv",
        "the effects of finite interventions on tokens of each part of speech: a row per part of "
        "speech, source, target, lag and intervention",
        {
            "model": STUDY["model"],
            "corpus": STUDY["corpus"],
            "upos": ("", "part of speech of the token that is changed"),
            **SOURCE_AND_TARGET,
            "estimate": ("as in `elasticities.csv`", "as there, over such tokens alone"),
            **{name: BANDS[name] for name in BANDS if not name.startswith("joint_")},
        },
        when=causal,
    ),
    Output(
        f"{CAUSAL_FOLDER}/findings.txt",
        "the transmitted share of the association, in words",
        when=causal,
        wanted=True,
    ),
    Output(
        f"{SITE_FOLDER}/vector_products/{{shard}}.parquet",
        "sums of products of the vectors of tokens and those before them, a row per layer; lists "
        "hold all folds one after the other, of x (predictors) and y (outcomes)",
        {
            "layer": COEFFICIENTS["layer"],
            "folds": ("", "number of folds of documents"),
            "centre": ("", "vector that was taken off all others first"),
            "components": ("", "principal components of a wide model, else empty"),
            "n": ("tokens", "rows of each fold"),
            "x": ("", "sums of x"),
            "y": ("", "sums of y"),
            "yy": ("", "sums of ‖y‖²"),
            "xx": ("", "sums of x x', upper triangles, row by row"),
            "xy": ("", "sums of x y'"),
            "permuted_y": ("", "`y` with outcomes drawn from the document's other tokens"),
            "permuted_yy": ("", "`yy`, likewise"),
            "permuted_xy": ("", "`xy`, likewise"),
        },
        when=with_vector_regression,
    ),
    Output(
        f"{SITE_FOLDER}/vector_fits.csv",
        "prediction of a token's vector from the vectors before it: a row per layer, "
        "predictor and rank",
        {
            "model": STUDY["model"],
            "corpus": STUDY["corpus"],
            "site": STUDY["site"],
            "layer": COEFFICIENTS["layer"],
            "predictor": (
                "",
                "`vector`: ridge regression on the vectors before; `scalar`: these times one "
                "number for each lag; `document_mean`: the mean of the document's other tokens; "
                "`permuted_order`: as `vector`, with tokens permuted within their documents; "
                "`random_weights`: as `vector`, of the untrained architecture",
            ),
            "rank": ("", "rank of the coefficients of a ridge regression, else empty"),
            "ridge": (
                "mean variance of the predictors",
                "median over the folds of the penalty that was chosen",
            ),
            "r_squared": ("", "1 - Σ SSE / Σ SST in documents that the fit did not see"),
            "conf_low": ("", "lower end of its interval, from draws of documents"),
            "conf_high": ("", "its upper end"),
            "documents": ("", "documents that were predicted"),
            "rows": ("tokens", "tokens that were predicted"),
            "participation_ratio": (
                "",
                "number of dimensions that the variance is spread over: (Σ s)² / Σ s² of the "
                "variances s along the principal axes",
            ),
            "mean_share": ("", "share of Σ ‖a‖² that the layer's mean vector has"),
        },
        when=with_vector_regression,
    ),
    Output(
        f"{SITE_FOLDER}/vector_findings.txt",
        "the same findings in words",
        when=with_vector_regression,
        wanted=True,
    ),
    Output(
        "results/comparison/coefficients.csv",
        "the coefficients of all models, corpora, sites and regressions",
        {
            **COEFFICIENTS,
            "depth": ("", "layer / (layers - 1): 0 for the first layer, 1 for the last"),
            "control": ("", "whether the model has random weights"),
        },
        when=compared,
    ),
    Output(
        "results/comparison/pairs.csv",
        "similarity of two models: a row per pair, corpus, site, regression and lag",
        {
            "model_a": ("", "one model"),
            "model_b": ("", "the other"),
            "control_a": ("", "whether the one has random weights"),
            "control_b": ("", "whether the other has"),
            "corpus": STUDY["corpus"],
            "site": STUDY["site"],
            "regression": STUDY["regression"],
            "term": ("", "the lag or lead"),
            "layers_a": ("", "layers of the one"),
            "layers_b": ("", "layers of the other"),
            "median_a": ("", "median coefficient over the layers of the one, in these documents"),
            "median_b": ("", "likewise of the other"),
            "points": ("", "depths at which both have a coefficient"),
            "correlation": (
                "",
                "Pearson's, of their coefficients over relative depth, corrected for their errors",
            ),
            "correlation_observed": ("", "the same, not corrected"),
            "conf_low": ("", "lower end of the bootstrap interval of `correlation`"),
            "conf_high": ("", "its upper end"),
            "draws": ("", "draws of documents that gave a correlation"),
            "documents": ("", "documents that give rows in both"),
            "documents_only_a": ("", "documents left out, of the one only"),
            "documents_only_b": ("", "documents left out, of the other only"),
            "layers_compared": ("", "layers of the deeper model that were compared with another"),
            "layers_differing": ("", "of these, those whose coefficients differ significantly"),
            "layers_alike": (
                "",
                "of these, those whose difference is shown to be within ± `negligible`",
            ),
            "median_difference": ("", "median over these layers of the one less the other"),
        },
        when=compared,
    ),
    Output(
        "results/comparison/coefficients.html",
        "the same as a page to sort and filter",
        when=compared,
        wanted=True,
    ),
    Output(
        "results/comparison/pairs.html",
        "the pairs as a page to sort and filter",
        when=compared,
        wanted=True,
    ),
    Output("results/comparison/findings.txt", "the pairs in words", when=compared),
    Output(
        "results/explorer.html",
        "all studies in one page, for a browser: findings, coefficients by layer, tokens shaded "
        "and as points",
        wanted=True,
    ),
    Output(
        "results/report.zip",
        "the report that `make report` makes; unpack it and open it",
        when=never,
    ),
    Output("results/layers_fitted.txt", "number of layers in which each regression was fitted"),
    Output(
        "results/provenance.json",
        "the record of what made every file",
        {
            "environment": ("", "versions of Python and packages"),
            "files": ("", "SHA-256 and size of each file, and what a Parquet file carries"),
        },
    ),
]

# Where the figures of each program are, and when it draws them. No regression is called figures,
# and no site: these folders lie beside theirs.
FIGURES: dict[str, tuple[str, Callable[[Config, str], bool]]] = {
    "plot_norms": ("results/{model}/{corpus}/{site}/figures", always),
    "plot_surprisal": ("results/{model}/{corpus}/{site}/figures", with_surprisal),
    "plot_geometry": (f"{SITE_FOLDER}/figures", with_geometry),
    "plot_heads": (f"{HEADS_FOLDER}/figures", with_heads),
    "plot_specifications": ("results/{model}/{corpus}/{site}/figures", several_regressions),
    "plot_regression": (f"{STUDY_FOLDER}/figures", always),
    "plot_classes": (f"{STUDY_FOLDER}/figures", by_class),
    "plot_effects": (f"{CAUSAL_FOLDER}/figures", causal),
    "plot_vectors": ("results/{model}/{corpus}/{site}/figures", with_vector_regression),
    "plot_sites": ("results/{model}/{corpus}/figures/{regression}", several_sites),
    "plot_comparison": ("results/comparison/figures/{site}/{regression}", compared),
}


def _of_figures() -> Iterator[Output]:
    """Yield the outputs of each figure in the catalogue of figures."""
    for program, (folder, when) in FIGURES.items():
        for figure in catalogue.drawn_by(program):
            shows = figure.shows.rstrip(".")
            path = f"{folder}/{figure.name}{{size}}.{{format}}"
            yield Output(path, shows, when=when, wanted=True)


OUTPUTS += _of_figures()


def shards(config: Config, corpus: str) -> list[str]:
    """Return the names of a corpus' shards."""
    return [f"{shard:04d}" for shard in range(config.corpora[corpus].shards)]


def endings(config: Config) -> list[str]:
    """Return what the names of figures end with, before the format: one ending per size."""
    return [suffix_of(name) for name in SIZES if name in config.figures.sizes]


def expanded(output: Output, config: Config) -> Iterator[str]:
    """Yield the paths of an output for all names in a configuration that make it."""
    values: dict[str, list[str]] = {
        "model": list(config.models),
        "corpus": list(config.corpora),
        "site": list(config.extraction.sites),
        "regression": list(config.regressions),
        "size": endings(config),
        "format": list(config.figures.formats),
    }
    asked = [name for name in values if f"{{{name}}}" in output.path]
    for chosen in itertools.product(*(values[name] for name in asked)):
        names = dict(zip(asked, chosen, strict=True))
        if output.when(config, names.get("regression", next(iter(config.regressions)))):
            every = shards(config, names["corpus"]) if "{shard}" in output.path else [""]
            yield from (output.path.format(**names, shard=shard) for shard in every)


def targets(config: Config) -> list[str]:
    """Return the files that a run asks for."""
    return files_of(config, wanted=True)


def files_of(config: Config, name: str = "", wanted: bool = False) -> list[str]:
    """Return the files that a run makes, in the order of the catalogue.

    Parameters
    ----------
    config : Config
    name : str
        Only files of this name; by default all.
    wanted : bool
        Only files that a run asks for.
    """
    chosen = [
        output for output in OUTPUTS if output.path.endswith(name) and (output.wanted or not wanted)
    ]
    paths = [path for output in chosen for path in expanded(output, config)]
    # Every table that is there as CSV is there as Parquet too.
    tables = [path.replace(".csv", ".parquet") for path in paths if path.endswith(".csv")]
    return list(dict.fromkeys([*paths, *tables]))


# What stands for more than one name, in paths and in names of columns.
PATTERNS = {
    "{size}": "(|_column|_slide)",
    "{format}": "(svg|png)",
    "{shard}": r"\d{4,}",
    "NN": r"\d{2,}",
    "TERM": rf"((lag|lead)_\d+|{covariates.term_pattern()})",
}


def matches(described: str, found: str) -> bool:
    """Return whether a name or path is one of those that a described one stands for."""
    words = re.split(r"(\{\w+\}|NN|TERM)", described)
    parts = [
        PATTERNS.get(w, r"[^/]+") if w in PATTERNS or "{" in w else re.escape(w) for w in words
    ]
    return re.fullmatch("".join(parts), found) is not None
