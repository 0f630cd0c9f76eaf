"""Outputs about directions, heads, interventions and whole vectors."""

from attnlag.pipeline.entries.output import (
    COEFFICIENTS,
    HEADS_FOLDER,
    KEYS,
    SITE_FOLDER,
    STUDY,
    Output,
    causal,
    with_geometry,
    with_heads,
    with_vector_regression,
)

CAUSAL_FOLDER = "results/{model}/{corpus}/causal"

# Columns of coefficients that regressions of heads have after their part.
OF_HEADS = {
    *("term", "estimate", "std_error", "statistic", "df", "p_value", "p_adjusted"),
    *("conf_low", "conf_high", "finding", "vcov_type", "uncorrected"),
}

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

OUTPUTS = [
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
            "std_error": ("as the quantity", "its standard error, clustered by document"),
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
            "sampled": (
                "",
                "whether the first three are of a sample, with at most 1,000,000 tokens",
            ),
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
            "random_weights": (
                "as the estimate",
                "the coefficient with random weights, not corrected for bias",
            ),
            "trained": (
                "as the estimate",
                "the coefficient of the trained model on the same documents, not corrected either",
            ),
        },
        when=with_heads,
    ),
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
        "the sums of elasticities over all source layers, beside what two regressions predict: a "
        "row per target and lag",
        {
            "model": STUDY["model"],
            "corpus": STUDY["corpus"],
            **{name: SOURCE_AND_TARGET[name] for name in ("source_site", "target_site")},
            "target_layer": SOURCE_AND_TARGET["target_layer"],
            "lag": SOURCE_AND_TARGET["lag"],
            "estimate": ("log norm per log norm", "sum of the elasticities over the sources"),
            **BANDS,
            "predicted": (
                "log norm per log norm",
                "sum of the coefficients of all preceding layers in one regression within "
                "documents, over the tokens that were intervened on",
            ),
            "predicted_std_error": ("as the estimate", "CR2, clustered by document"),
            "predicted_df": ("", "its degrees of freedom"),
            "predicted_conf_low": ("as the estimate", "lower end of its interval"),
            "predicted_conf_high": ("as the estimate", "its upper end"),
            "regression": ("", "the regression of layers on themselves that stands beside"),
            "coefficient": ("log norm per log norm", "its coefficient of this lag in the layer"),
            "coefficient_std_error": ("as the coefficient", "its standard error"),
            "coefficient_conf_low": ("as the coefficient", "lower end of its interval"),
            "coefficient_conf_high": ("as the coefficient", "its upper end"),
            "share": ("", "estimate / coefficient; empty if the coefficient may be zero"),
            "share_low": ("", "lower end of its interval, by the delta method"),
            "share_high": ("", "its upper end"),
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
        "the effects on the next token in words, by layer, beside what is predicted",
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
            "permuted_xy": ("", "`xy` with the outcomes exchanged within documents"),
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
                "`permuted_order`: as `vector`, with outcomes exchanged within documents; "
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
            "half_rank": (
                "",
                "smallest rank with half of the full rank's R², if it is at most 64 or one of "
                "`vectors.ranks`",
            ),
        },
        when=with_vector_regression,
    ),
    Output(
        f"{SITE_FOLDER}/vector_findings.txt",
        "the same findings in words",
        when=with_vector_regression,
        wanted=True,
    ),
]
