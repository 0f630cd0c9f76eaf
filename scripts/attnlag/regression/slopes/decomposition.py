"""Lag coefficients as effects of documents, parts of speech and tokens enter.

Starting from a pooled regression, effects enter one after another: documents, parts of speech,
parts of speech of the previous token, tokens, previous tokens. The change of a coefficient at each
step depends on the order of the steps.

If only some documents have parts of speech, the others are left out: that a document has none tells
the document.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from attnlag.corpus.catalogue import NONE, TAGS
from attnlag.quantities.columns import layer_name
from attnlag.quantities.estimates import Estimates, level_of
from attnlag.regression import properties
from attnlag.regression.design.design import layers_and_terms
from attnlag.regression.design.samples import Sample
from attnlag.regression.row_regression import regress_rows
from attnlag.regression.slopes.absorbing import Effects
from attnlag.regression.terms import is_lag_or_lead

# The effects, in the order of entry.
EFFECTS = ("document", "upos", "upos_previous", "token", "token_previous")
POOLED = "pooled"

# The columns of a step; the counts are 0 in a layer without rows.
STEP_COUNTS = ["effects", "n_obs", "n_documents"]
STEP_VALUES = ["estimate", "std_error", "r_squared", "conf_low", "conf_high", *STEP_COUNTS]

# Bytes of variables in memory at a time; at least one layer.
VARIABLES_BYTES = 64e6

# Largest number of rows; with more, a sample of whole documents is decomposed.
MAX_DECOMPOSED = 500_000


def factors_of(sample: Sample, token_properties: Sequence[Path]) -> dict[str, np.ndarray]:
    """Return the level of each of `EFFECTS`, (rows,) int, in a sample of the designs of all shards.

    Levels are -1 in documents without parts of speech if there are others with some. Raise
    UserError if the properties are of other tokens than the designs.
    """
    keys = sample.keys()
    documents = sample.documents if sample.end else None
    factors = {"document": sample.document}
    for name, column in (("upos", "upos"), ("token", "token_id")):
        values = properties.read_property(column, token_properties, documents)
        factors[name] = values.values_of(keys)
        # The first token of a sequence has no previous token, which is a level of its own.
        factors[f"{name}_previous"] = values.at(keys, -1, -1)
    tagged = np.zeros(len(sample.documents), dtype=bool)
    tagged[factors["document"][factors["upos"] != TAGS.index(NONE)]] = True
    if tagged.any():
        factors["document"] = np.where(tagged[factors["document"]], factors["document"], -1)
    return {name: factors[name] for name in EFFECTS}


def decomposed(
    designs: Sequence[Path],
    token_properties: Sequence[Path],
    alpha: float,
    most_rows: int = MAX_DECOMPOSED,
) -> tuple[pd.DataFrame, str]:
    """Return the coefficients of lags and leads as effects enter, and the end of the sample.

    With more than ``most_rows``, all numbers are those of a sample of whole documents. There is a
    row per layer, step and lag, without numbers in a layer without rows. Raise UserError as
    `factors_of`, or if the effects of a step do not converge.
    """
    sample = Sample(designs, most_rows)
    factors = factors_of(sample, token_properties)
    with_tags = factors["document"] >= 0
    every_layer, terms = layers_and_terms(pq.read_schema(designs[0]))
    lags = list(filter(is_lag_or_lead, terms))
    layer_bytes = 8 * (1 + len(lags)) * max(len(sample.rows), 1)
    at_once = max(1, int(VARIABLES_BYTES // layer_bytes))
    steps: list[pd.DataFrame] = []
    for start in range(0, len(every_layer), at_once):
        layers = np.array(every_layer[start : start + at_once])
        names = [f"{layer_name(layer)}.{term}" for layer in layers for term in ("y", *lags)]
        values = np.stack([sample.column(name) for name in names])
        values = values.reshape(len(layers), 1 + len(lags), -1)
        valid = ~np.isnan(values).any(axis=1) & with_tags
        # Layers nearly always have the same rows; their variables are then solved together.
        for rows in np.unique(valid, axis=0):
            if rows.any():
                alike = (valid == rows).all(axis=1)
                levels = {name: codes[rows] for name, codes in factors.items()}
                own = values[alike][:, :, rows]
                steps.append(coefficients_by_step(own, levels, layers[alike], lags, alpha))
    keys = {"layer": every_layer, "step": (POOLED, *EFFECTS), "term": sorted(lags)}
    every_key = pd.MultiIndex.from_product(list(keys.values()), names=list(keys))
    table = pd.concat(steps or [pd.DataFrame(columns=[*keys, *STEP_VALUES])])
    table = table.set_index([*keys]).reindex(every_key).reset_index()
    table[STEP_COUNTS] = table[STEP_COUNTS].fillna(0).astype(int)
    return table.assign(level=level_of(alpha), sampled=bool(sample.end)), sample.end


def coefficients_by_step(
    values: np.ndarray,
    factors: Mapping[str, np.ndarray],
    layers: Iterable[int],
    lags: Sequence[str],
    alpha: float,
) -> pd.DataFrame:
    """Return the coefficients of each step, with errors clustered by document (CR2).

    ``values`` are the outcome and the lags without NaN, (layers, 1 + lags, rows). Coefficients are
    NaN if there are no more rows than effects, or if a lag does not vary given the effects.
    """
    _, size, n = values.shape
    document = np.unique(factors["document"], return_inverse=True)[1]
    documents = int(document.max()) + 1
    total = ((values[:, 0] - values[:, 0].mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    steps = []
    for entered in range(len(EFFECTS) + 1):
        names = EFFECTS[:entered]
        step = names[-1] if names else POOLED
        # A pooled regression has a constant.
        effects = Effects([factors[name] for name in names] or [np.zeros(n)])
        rank = effects.rank()
        within = effects.residuals(values.reshape(-1, n).T).T.reshape(values.shape)
        # Levels that are nested in clusters cost no degrees of freedom.
        nested = documents - 1 if names else 0
        for layer, (y, *lagged), about_mean in zip(layers, within, total, strict=True):
            x = np.stack(lagged)
            r_squared = np.nan
            lag_estimates = Estimates(*np.full((3, size - 1), np.nan))
            varying = np.linalg.matrix_rank(x @ x.T, hermitian=True) == size - 1
            if n > size - 1 + rank and varying:
                with_constant = x if names else np.vstack([x, np.ones(n)])
                fit = regress_rows(with_constant, y, document)
                # Leverages do not show effects across documents: their share of the rows stands
                # for it.
                left_over = (n - nested) / (n - rank + 1)
                lag_estimates = Estimates(
                    value=fit.coefficients.value[: size - 1],
                    std_error=np.sqrt(left_over) * fit.coefficients.std_error[: size - 1],
                    df=fit.coefficients.df[: size - 1],
                )
                r_squared = 1 - fit.residuals @ fit.residuals / about_mean
            low, high = lag_estimates.interval(alpha)
            columns = {
                "layer": layer,
                "step": step,
                "term": lags,
                "estimate": lag_estimates.value,
                "std_error": lag_estimates.std_error,
                "r_squared": r_squared,
                "effects": rank,
                "conf_low": low,
                "conf_high": high,
            }
            steps.append(pd.DataFrame(columns))
    return pd.concat(steps, ignore_index=True).assign(n_obs=n, n_documents=documents)
