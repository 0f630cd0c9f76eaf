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
PARTS = ("document", "upos", "upos_previous", "tokens")

# Largest share of an arbitrary combination of effects that changes no fit but moves a part.
UNDETERMINED = 1e-4

COUNTS = ["effects", "n_obs", "n_documents"]

# Bytes of variables in memory at a time; at least one layer.
BYTES = 64e6

# Largest number of rows; with more, a sample of whole documents is decomposed.
MOST_ROWS = 500_000


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
    tags = np.zeros(len(sample.documents), dtype=bool)
    tags[factors["document"][factors["upos"] != TAGS.index(NONE)]] = True
    if tags.any():
        factors["document"] = np.where(tags[factors["document"]], factors["document"], -1)
    return {name: factors[name] for name in EFFECTS}


def layers_of_design(
    sample: Sample, designs: Sequence[Path]
) -> Iterator[tuple[list[int], list[str], np.ndarray]]:
    """Yield blocks of layers with their terms and their values, (layers, 1 + lags, rows)."""
    schema = pq.read_schema(designs[0])
    layers, terms = layers_and_terms(schema)
    terms = ["y", *filter(is_lag, terms)]
    at_once = max(1, int(BYTES // (8 * len(terms) * max(len(sample.rows), 1))))
    for start in range(0, len(layers), at_once):
        block = layers[start : start + at_once]
        names = [f"{layer_name(layer)}.{term}" for layer in block for term in terms]
        values = np.stack([sample.column(designs, name) for name in names])
        yield block, terms, values.reshape(len(block), len(terms), -1)


def decomposed(
    designs: Sequence[Path],
    token_properties: Sequence[Path],
    alpha: float,
    most_rows: int = MOST_ROWS,
) -> Decomposition:
    """Return the coefficients of lags and leads as effects enter, and the change due to each.

    With more than ``most_rows``, all numbers are those of a sample of whole documents.
    """
    sample = sample_of(designs, most_rows)
    factors = factors_of(sample, designs, token_properties)
    with_tags = factors["document"] >= 0
    steps: list[pd.DataFrame] = []
    parts: list[pd.DataFrame] = []
    for layers, terms, values in layers_of_design(sample, designs):
        valid = ~np.isnan(values).any(axis=1) & with_tags
        # Layers nearly always have the same rows; their variables are then solved together.
        masks: dict[bytes, list[int]] = {}
        for place, mask in enumerate(valid):
            masks.setdefault(mask.tobytes(), []).append(place)
        for places in masks.values():
            kept = valid[places[0]]
            numbers = [layers[place] for place in places]
            if not kept.any():
                of_step = product(numbers, [POOLED, *EFFECTS], terms[1:])
                steps.append(pd.DataFrame(of_step, columns=["layer", "step", "term"]))
                of_part = product(numbers, terms[1:], PARTS)
                parts.append(pd.DataFrame(of_part, columns=["layer", "term", "part"]))
                continue
            own = {name: codes[kept] for name, codes in factors.items()}
            variables = values[places][:, :, kept]
            whole = fitted_effects(variables, own, EFFECTS)
            steps.append(coefficients_by_step(variables, own, numbers, terms[1:], alpha, whole))
            parts.append(parts_of_change(variables, own, numbers, terms[1:], whole))
    order = ["layer", "step", "term"]
    table_of_steps = pd.concat(steps, ignore_index=True)
    table_of_steps[COUNTS] = table_of_steps[COUNTS].fillna(0).astype(int)
    table_of_steps["step"] = pd.Categorical(table_of_steps["step"], [POOLED, *EFFECTS])
    table_of_steps = table_of_steps.sort_values(order, kind="stable", ignore_index=True)
    table_of_steps["step"] = table_of_steps["step"].astype(str)
    table_of_steps["sampled"] = bool(sample.end)
    return Decomposition(
        sample.end,
        table_of_steps,
        pd.concat(parts, ignore_index=True).sort_values(
            ["layer", "term"], kind="stable", ignore_index=True
        ),
    )


def fitted_effects(
    values: np.ndarray, factors: Mapping[str, np.ndarray], names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the contribution of each effect to the fit of (layers, variables, rows) values.

    Without effects the fit is the mean.
    """
    if not names:
        return {"": np.broadcast_to(values.mean(axis=2, keepdims=True), values.shape)}
    flat = values.reshape(-1, values.shape[2]).T
    parts = Effects.of([factors[name] for name in names]).fitted(flat)
    return {name: part.T.reshape(values.shape) for name, part in zip(names, parts, strict=True)}


def coefficients_by_step(
    values: np.ndarray,
    factors: Mapping[str, np.ndarray],
    layers: Sequence[int],
    lags: Sequence[str],
    alpha: float,
    whole: Mapping[str, np.ndarray],
) -> pd.DataFrame:
    """Return the coefficients of each step, with errors clustered by document (CR2).

    Parameters
    ----------
    values : (layers, 1 + lags, rows) float64 array
        The outcome and the lags, without NaN.
    whole : mapping of str to array
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
        rank = Effects.of([factors[name] for name in names] or [np.zeros(n)]).rank()
        every = names == EFFECTS
        fitted = whole if every else fitted_effects(values, factors, names)
        left = values - sum(fitted.values())
        # Levels that are nested in clusters cost no degrees of freedom.
        nested = documents - 1 if names else 0
        columns = size - 1 + rank - nested
        for layer, own, about_mean in zip(layers, left, total, strict=True):
            y, x = own[0], own[1:]
            a = x @ x.T
            estimate = error = df = np.full(size - 1, np.nan)
            r_squared = np.nan
            if n > columns + nested and np.linalg.matrix_rank(a, hermitian=True) == size - 1:
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
    whole: Mapping[str, np.ndarray],
) -> pd.DataFrame:
    """Return the contribution of each part to the change of the coefficients.

    The change is that from the pooled regression to the regression with all effects.
    """
    names = list(whole)
    of_tags = Effects.of([factors["upos"], factors["upos_previous"]])
    determined = Effects.of([factors[name] for name in names]).determines(0, UNDETERMINED)
    determined &= of_tags.determines(0, UNDETERMINED)
    rows = []
    for place, layer in enumerate(layers):
        x = values[place, 1:]
        left = values[place] - sum(part[place] for part in whole.values())
        # The effects on y given the lags.
        full = np.linalg.lstsq(left[1:].T, left[0], rcond=None)[0]
        own = {name: part[place, 0] - full @ part[place, 1:] for name, part in whole.items()}
        tokens = np.sum([own[name] for name in names if name != "document"], axis=0)
        upos, previous = (part[:, 0] for part in of_tags.fitted(tokens[:, None]))
        parts = np.stack([own["document"], upos, previous, tokens - upos - previous])
        parts -= parts.mean(axis=1, keepdims=True)
        centred = x - x.mean(axis=1, keepdims=True)
        owed = np.linalg.lstsq(centred.T, parts.T, rcond=None)[0]
        if not determined:
            owed[:] = np.nan
        rows += [
            (layer, lag, part, -owed_to_part)
            for lag, of_lag in zip(lags, owed, strict=True)
            for part, owed_to_part in zip(PARTS, of_lag, strict=True)
        ]
    return pd.DataFrame(rows, columns=["layer", "term", "part", "change"])
