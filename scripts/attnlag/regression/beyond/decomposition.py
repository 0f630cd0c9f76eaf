"""Lag coefficients as effects of tokens enter, and Gelbach's decomposition of their change.

Starting from a pooled regression, effects enter one after another: documents, parts of speech,
parts of speech of the previous token, tokens, previous tokens. The change of a coefficient at each
step depends on the order of the steps. Gelbach's decomposition does not: with all effects
H = Σ H_k in one regression, omitting them changes the coefficients of x by Σ δ_k, where δ_k are
the coefficients of the regression of H_k on x.

Some effects cannot be separated: a token nearly always has the same part of speech, and two tokens
that only occur together have one effect between them. The joint effect of all tokens and parts of
speech is therefore one; parts of speech are credited with its projection on their dummies, and
tokens with the rest. These parts are determined if documents share enough tokens. That is checked,
and they are NaN otherwise.

If only some documents have parts of speech, the others are left out: that a document has none tells
the document.

References
----------
Gelbach, When do covariates matter? And which ones, and how much? Journal of Labor Economics 34
(2016).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy import special

from attnlag.adjustments.columns import layer_name
from attnlag.corpus.tags import NONE, TAGS
from attnlag.regression.design import properties
from attnlag.regression.design.absorbing import Effects
from attnlag.regression.estimation import clustered
from attnlag.regression.estimation.crossproducts import layers_and_terms
from attnlag.regression.estimation.sampling import Sample, sample_of
from attnlag.regression.terms import is_lag

# The effects, in the order of entry.
EFFECTS = ("document", "upos", "upos_previous", "token", "token_previous")
POOLED = "pooled"

# The parts of the change of a coefficient; those of tokens are beyond their parts of speech.
PARTS_OF_CHANGE = ("document", "upos", "upos_previous", "tokens")

# Largest share of an arbitrary combination of effects that changes no fit but moves a part.
UNDETERMINED = 1e-4

# The columns of a step; the counts are 0 in a layer without rows.
STEP_COUNTS = ["effects", "n_obs", "n_documents"]
STEP_VALUES = ["estimate", "std_error", "r_squared", "conf_low", "conf_high", *STEP_COUNTS]

# Bytes of variables in memory at a time; at least one layer.
VARIABLES_BYTES = 64e6

# Largest number of rows; with more, a sample of whole documents is decomposed.
MOST_DECOMPOSED = 500_000


@dataclass
class Decomposition:
    """Coefficients as more effects are held fixed."""

    # ``end`` of the sample.
    sample_end: str
    # A row per layer, step (`POOLED`, then each of `EFFECTS` added to the ones before) and lag; NaN
    # in a layer without rows. ``sampled`` says whether its documents are a sample.
    steps: pd.DataFrame
    # A row per layer, lag and part; the parts of a lag add up to the last step minus the first. NaN
    # if they are not determined.
    parts: pd.DataFrame


def factors_of(
    sample: Sample, designs: Sequence[Path], token_properties: Sequence[Path]
) -> dict[str, np.ndarray]:
    """Return the level of each of `EFFECTS` in each row of the designs of all shards.

    Levels are -1 in documents without parts of speech if there are others with some.
    """
    keys = sample.keys(designs)
    documents = sample.documents if sample.end else None
    factors = {"document": sample.document}
    for name, column in (("upos", "upos"), ("token", "token_id")):
        values = properties.read_property(column, token_properties, documents)
        factors[name] = values.of(keys)
        # The first token of a sequence has no previous token, which is a level of its own.
        factors[f"{name}_previous"] = values.at(keys, -1, -1)
    tagged = np.zeros(len(sample.documents), dtype=bool)
    tagged[factors["document"][factors["upos"] != TAGS.index(NONE)]] = True
    if tagged.any():
        factors["document"] = np.where(tagged[factors["document"]], factors["document"], -1)
    return {name: factors[name] for name in EFFECTS}


def layers_of_design(
    sample: Sample, designs: Sequence[Path], layers: Sequence[int], terms: Sequence[str]
) -> Iterator[tuple[Sequence[int], np.ndarray]]:
    """Yield blocks of layers with the values of terms, (layers, terms, rows)."""
    at_once = max(1, int(VARIABLES_BYTES // (8 * len(terms) * max(len(sample.rows), 1))))
    for start in range(0, len(layers), at_once):
        block = layers[start : start + at_once]
        names = [f"{layer_name(layer)}.{term}" for layer in block for term in terms]
        values = np.stack([sample.column(designs, name) for name in names])
        yield block, values.reshape(len(block), len(terms), -1)


def decomposed(
    designs: Sequence[Path],
    token_properties: Sequence[Path],
    alpha: float,
    most_rows: int = MOST_DECOMPOSED,
) -> Decomposition:
    """Return the coefficients of lags and leads as effects enter, and the change due to each.

    With more than ``most_rows``, all numbers are those of a sample of whole documents.
    """
    sample = sample_of(designs, most_rows)
    factors = factors_of(sample, designs, token_properties)
    with_tags = factors["document"] >= 0
    every_layer, terms = layers_and_terms(pq.read_schema(designs[0]))
    lags = list(filter(is_lag, terms))
    steps: list[pd.DataFrame] = []
    parts: list[pd.DataFrame] = []
    for layers, values in layers_of_design(sample, designs, every_layer, ["y", *lags]):
        valid = ~np.isnan(values).any(axis=1) & with_tags
        # Layers nearly always have the same rows; their variables are then solved together.
        for rows in np.unique(valid, axis=0):
            if not rows.any():
                continue
            places = np.flatnonzero((valid == rows).all(axis=1))
            numbers = np.array(layers)[places].tolist()
            levels = {name: codes[rows] for name, codes in factors.items()}
            variables = values[places][:, :, rows]
            effects = fitted_effects(variables, levels)
            steps.append(coefficients_by_step(variables, levels, numbers, lags, alpha, effects))
            parts.append(parts_of_change(variables, levels, numbers, lags, effects))
    keys = {"layer": every_layer, "step": (POOLED, *EFFECTS), "term": sorted(lags)}
    table_of_steps = _in_order(steps, keys, STEP_VALUES)
    table_of_steps[STEP_COUNTS] = table_of_steps[STEP_COUNTS].fillna(0).astype(int)
    table_of_steps["sampled"] = bool(sample.end)
    keys = {"layer": every_layer, "term": sorted(lags), "part": PARTS_OF_CHANGE}
    return Decomposition(sample.end, table_of_steps, _in_order(parts, keys, ["change"]))


def _in_order(
    tables: Sequence[pd.DataFrame], keys: Mapping[str, Sequence[Any]], values: Sequence[str]
) -> pd.DataFrame:
    """Return tables as one with a row for each combination of keys; NaN in layers without rows."""
    table = pd.concat(tables or [pd.DataFrame(columns=[*keys, *values])])
    every_key = pd.MultiIndex.from_product(list(keys.values()), names=list(keys))
    return table.set_index([*keys]).reindex(every_key).reset_index()


def fitted_effects(values: np.ndarray, factors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the contribution of each effect to the fit of (layers, variables, rows) values."""
    fitted = Effects.of(list(factors.values())).fitted(values.reshape(-1, values.shape[2]).T)
    return {name: part.T.reshape(values.shape) for name, part in zip(factors, fitted, strict=True)}


def coefficients_by_step(
    values: np.ndarray,
    factors: Mapping[str, np.ndarray],
    layers: Sequence[int],
    lags: Sequence[str],
    alpha: float,
    effects: Mapping[str, np.ndarray],
) -> pd.DataFrame:
    """Return the coefficients of each step, with errors clustered by document (CR2).

    Parameters
    ----------
    values : (layers, 1 + lags, rows) float64 array
        The outcome and the lags, without NaN.
    effects : mapping of str to array
        Contribution of each of `EFFECTS`, from `fitted_effects`.

    Returns
    -------
    table : pandas.DataFrame
        NaN if there are no more rows than effects, or if a lag does not vary given the effects.
    """
    _, size, n = values.shape
    document = np.unique(factors["document"], return_inverse=True)[1]
    documents = int(document.max()) + 1
    total = ((values[:, 0] - values[:, 0].mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    rows = []
    for entered in range(len(EFFECTS) + 1):
        names = EFFECTS[:entered]
        # A pooled regression has a constant.
        entered_effects = Effects.of([factors[name] for name in names] or [np.zeros(n)])
        rank = entered_effects.rank()
        if names == EFFECTS:
            within = values - sum(effects.values())
        else:
            within = entered_effects.residuals(values.reshape(-1, n).T).T.reshape(values.shape)
        # Levels that are nested in clusters cost no degrees of freedom.
        nested = documents - 1 if names else 0
        columns = size - 1 + rank - nested
        for layer, (y, *lagged), about_mean in zip(layers, within, total, strict=True):
            x = np.stack(lagged)
            estimate = error = df = np.full(size - 1, np.nan)
            r_squared = np.nan
            varying = np.linalg.matrix_rank(x @ x.T, hermitian=True) == size - 1
            if n > columns + nested and varying:
                # A pooled regression has a constant.
                with_constant = x if names else np.vstack([x, np.ones(n)])
                fit = clustered.regression(with_constant, y, document)
                # Leverages do not show effects across documents: their share of the rows stands
                # for it.
                left_over = (n - nested) / (n - nested - (rank - 1 - nested))
                estimate, df = fit.estimate[: size - 1], fit.df[: size - 1]
                error = np.sqrt(left_over * np.diag(fit.covariance))[: size - 1]
                r_squared = 1 - fit.residuals @ fit.residuals / about_mean
            step = names[-1] if names else POOLED
            for values_of_lag in zip(lags, estimate, error, df, strict=True):
                rows.append((layer, step, *values_of_lag, r_squared, rank))
    table = pd.DataFrame(
        rows,
        columns=["layer", "step", "term", "estimate", "std_error", "df", "r_squared", "effects"],
    )
    reach = special.stdtrit(table.pop("df"), 1 - alpha / 2) * table["std_error"]
    return table.assign(
        conf_low=table["estimate"] - reach,
        conf_high=table["estimate"] + reach,
        n_obs=n,
        n_documents=documents,
    )


def parts_of_change(
    values: np.ndarray,
    factors: Mapping[str, np.ndarray],
    layers: Sequence[int],
    lags: Sequence[str],
    effects: Mapping[str, np.ndarray],
) -> pd.DataFrame:
    """Return the contribution of each part to the change of the coefficients.

    The change is that from the pooled regression to the regression with all effects.
    """
    of_tags = Effects.of([factors["upos"], factors["upos_previous"]])
    determined = Effects.of([factors[name] for name in effects]).determines(0, UNDETERMINED)
    determined &= of_tags.determines(0, UNDETERMINED)
    rows = []
    for place, layer in enumerate(layers):
        x = values[place, 1:]
        within = values[place] - sum(effect[place] for effect in effects.values())
        # The effects on y given the lags.
        slopes = np.linalg.lstsq(within[1:].T, within[0], rcond=None)[0]
        on_y = {
            name: effect[place, 0] - slopes @ effect[place, 1:] for name, effect in effects.items()
        }
        documents = on_y.pop("document")
        tokens = np.sum([*on_y.values()], axis=0)
        upos, previous = (effect[:, 0] for effect in of_tags.fitted(tokens[:, None]))
        parts = np.stack([documents, upos, previous, tokens - upos - previous])
        parts -= parts.mean(axis=1, keepdims=True)
        centred = x - x.mean(axis=1, keepdims=True)
        owed = np.linalg.lstsq(centred.T, parts.T, rcond=None)[0]
        if not determined:
            owed[:] = np.nan
        changes = zip(product(lags, PARTS_OF_CHANGE), -owed.ravel(), strict=True)
        rows += [(layer, lag, part, change) for (lag, part), change in changes]
    return pd.DataFrame(rows, columns=["layer", "term", "part", "change"])
