"""Regressions of the log norms of one layer on those of another, over all tokens of a corpus.

They are the predictive counterpart of an elasticity: they show how well log a[l,t-k] predicts
log a[m,t], alone and with log a[l,t] held fixed. All pairs of layers come from the cross-products
of one vector per token, w = [1, log a[l,t-k] for all l and k], document by document. The norms are
read twice, first for the sums over all documents and then for the scores of each document, which
clustered errors need. Only the cross-products of a few documents are therefore in memory at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attnlag.quantities import columns
from attnlag.quantities.outcomes import log_norms
from attnlag.regression.estimation import clustered
from attnlag.regression.estimation.least_squares import WORST_CONDITION
from attnlag.regression.limits import FEWEST_DOCUMENTS
from attnlag.storage import tables

Windows = list[np.ndarray]

# The columns of a table of `together`.
TARGET_KEYS = ["source_site", "target_site", "target_layer", "lag"]
PREDICTION = [*TARGET_KEYS, "predicted", "predicted_std_error", "predicted_df"]

# The columns of `cross_layer`.
PREDICTIVE = [
    f"predictive{condition}{error}" for condition in ("", "_given") for error in ("", "_std_error")
]
PREDICTIVE_KEYS = ["target_layer", "source_layer", "lag"]


def documents_in(
    paths: Sequence[Path], drop_first: int, tokens: int | None = None
) -> Iterator[tuple[str, Windows]]:
    """Yield each document of norms files with the log norms of its windows, (layers, tokens).

    At most the given number of tokens of a document is read, from its beginning.
    """
    for path in paths:
        for rows in tables.documents(path, "norms"):
            layers = columns.layers_in(rows.schema)
            values = log_norms(np.stack([rows[layer].to_numpy() for layer in layers]))
            position = rows["position"].to_numpy()
            names, starts = tables.runs(rows)
            for name, start, stop in zip(names, starts, [*starts[1:], None], strict=True):
                # A window begins with its first token.
                begins = np.flatnonzero(position[start:stop][:tokens] == 0)
                windows = np.split(values[:, start:stop][:, :tokens], begins[1:], axis=1)
                yield name, [window[:, drop_first:] for window in windows]


def moments(
    sources: Windows, targets: Windows, target_layers: Sequence[int], lags: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return X'X and X'y of a document; X is [1, x, x₀], x₀ being the source at distance 0.

    Rows are the tokens with all lags in their window and all norms finite, given the log norms of
    the windows at the site of the sources and at the targets'. The arrays are (layers, lags + 1, 3,
    3) and (targets, layers, lags + 1, 3).
    """
    layers = len(sources[0])
    a = np.zeros((layers, lags + 1, 3, 3))
    b = np.zeros((len(target_layers), *a.shape[:3]))
    for source, target in zip(sources, targets, strict=True):
        tokens = source.shape[1] - lags
        if tokens <= 0:
            continue
        shifted = np.stack(
            [source[:, lags - lag : lags - lag + tokens] for lag in range(lags + 1)], axis=1
        )
        y = target[list(target_layers), lags:]
        usable = np.isfinite(shifted).all(axis=(0, 1)) & np.isfinite(y).all(axis=0)
        for layer, of_layer in enumerate(shifted):
            x = of_layer[:, usable]
            x = np.stack([np.ones_like(x), x, np.broadcast_to(x[0], x.shape)], axis=1)
            a[layer] += x @ x.swapaxes(1, 2)
            b[:, layer] += np.moveaxis(x @ y[:, usable].T, -1, 0)
    return a, b


def cross_layer(
    read: Callable[[], Iterator[tuple[str, Windows, Windows]]],
    targets: Sequence[int],
    lags: int,
) -> pd.DataFrame:
    """Regress the log norms of target layers on those of all layers, one source at a time.

    ``read`` yields, whenever it is called, each document with the log norms of its windows, at the
    site of the sources and at the targets'. The table has a row per target layer, source layer and
    lag: `PREDICTIVE`, the coefficient alone and with the source layer's norm at the target token
    held fixed (NaN at distance 0), with their errors (CR2), NaN if a layer's norms do not vary; and
    ``predictive_df``, the number of documents less one.
    """
    # Centred near the means, those of the first document, for numerical precision.
    centres = []
    for _, *both_sites in islice(read(), 1):
        for windows in both_sites:
            values = np.concatenate(windows, axis=1)
            centres.append(np.nansum(values, axis=1, keepdims=True) / max(values.shape[1], 1))

    def every_document() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for _, *both_sites in read():
            sources, outcomes = (
                [window - centre for window in windows]
                for windows, centre in zip(both_sites, centres, strict=True)
            )
            a_g, b_g = moments(sources, outcomes, targets, lags)
            if a_g.any():
                yield a_g, b_g

    a: Any = 0.0
    b: Any = 0.0
    documents = 0
    for a_g, b_g in every_document():
        a, b, documents = a + a_g, b + b_g, documents + 1
    if not documents:
        a, b = np.zeros((0, lags + 1, 3, 3)), np.zeros((len(targets), 0, lags + 1, 3))
    solutions = [_solved(a[..., :size, :size], b[..., :size]) for size in (2, 3)]
    variances = [np.full(b.shape[:-1], 0.0 if documents > 1 else np.nan)] * 2
    for a_g, b_g in every_document():
        for kind, solution in enumerate(solutions):
            variances[kind] = variances[kind] + _score(a_g, b_g, *solution) ** 2
    values = np.stack(
        [
            of_kind
            for (_, estimate), variance in zip(solutions, variances, strict=True)
            for of_kind in (estimate[..., 1], np.sqrt(variance))
        ]
    )
    keys = np.indices(values.shape[1:]).reshape(3, -1)
    keys[0] = np.array(targets)[keys[0]]
    table = pd.DataFrame(keys.T, columns=PREDICTIVE_KEYS)
    table[PREDICTIVE] = values.reshape(4, -1).T
    return table.assign(predictive_df=documents - 1)


def _score(a: np.ndarray, b: np.ndarray, to: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Return what a document adds to the errors of the sources' coefficients (CR2)."""
    size = to.shape[-1]
    a, across = a[..., :size, :size], np.swapaxes(to, -1, -2)
    score = b[..., :size, None] - a @ estimate[..., None]
    unit = np.nan_to_num(to @ a @ across).reshape(-1, size, size)
    root = clustered.cr2_adjustment(unit).reshape(a.shape)
    return (across @ root @ to @ score)[..., 1, 0]


def _solved(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return T with T'T = A⁻¹, and solutions; NaN if the regressors are collinear."""
    scale = np.sqrt(np.maximum(np.einsum("...ii->...i", a), np.finfo(float).tiny))
    unit = a / scale[..., :, None] / scale[..., None, :]
    sound = np.linalg.eigvalsh(unit)[..., 0] > 1e-10
    safe = np.where(sound[..., None, None], unit, np.eye(a.shape[-1]))
    to = np.linalg.inv(np.linalg.cholesky(safe)) / scale[..., None, :]
    to = np.where(sound[..., None, None], to, np.nan)
    return to, (np.swapaxes(to, -1, -2) @ to @ b[..., None])[..., 0]


def pairs_in(
    norms: Mapping[str, Sequence[Path]],
    source: str,
    target: str,
    drop_first: int,
    tokens: int | None = None,
) -> Iterator[tuple[str, Windows, Windows]]:
    """Yield each document with the log norms of its windows, at the sources' site and another."""
    sources = documents_in(norms[source], drop_first, tokens)
    if source == target:
        yield from ((name, windows, windows) for name, windows in sources)
        return
    targets = documents_in(norms[target], drop_first, tokens)
    for (name, windows), (_, outcomes) in zip(sources, targets, strict=True):
        yield name, windows, outcomes


def together(
    documents: Iterable[tuple[Windows, Windows]], target: int, lag: int
) -> tuple[float, float, float]:
    """Regress a layer on all layers before it, a number of tokens before, within documents.

    Return the sum of the coefficients, its standard error (CR2) and its degrees of freedom; NaN if
    the layers are collinear within the documents, or these are too few. The sum is the change of
    the target predicted by the regression if the norms of one token grow by the same proportion in
    all these layers. Documents are pairs as in `pairs_in`.
    """
    a, b, rows = [], [], 0
    for sources, outcomes in documents:
        # A window may be shorter than the lag.
        ends = [max(window.shape[1] - lag, 0) for window in sources]
        before = [window[:target, :end] for window, end in zip(sources, ends, strict=True)]
        x = np.concatenate(before, axis=1)
        y = np.concatenate([window[target, lag:] for window in outcomes])
        usable = np.isfinite(x).all(axis=0) & np.isfinite(y)
        x, y = x[:, usable], y[usable]
        if len(y):
            x, y = x - x.mean(axis=1, keepdims=True), y - y.mean()
            a.append(x @ x.T)
            b.append(x @ y)
            rows += len(y)
    if target == 0 or rows <= target + len(a) or len(a) < FEWEST_DOCUMENTS:
        return np.nan, np.nan, np.nan
    # The sum takes the place of the first coefficient.
    back = np.eye(target)
    back[0, 1:] = -1
    a_g, b_g = back.T @ np.stack(a) @ back, np.stack(b) @ back
    total = a_g.sum(axis=0)
    scale = np.sqrt(np.diagonal(total))
    values = np.linalg.eigvalsh(total / np.outer(scale, scale))
    if not values[-1] <= WORST_CONDITION * values[0]:
        return np.nan, np.nan, np.nan
    estimate = np.linalg.solve(total, b_g.sum(axis=0))
    covariance, df = clustered.cr2_of_rows(a_g, b_g - a_g @ estimate)
    return float(estimate[0]), float(np.sqrt(covariance[0, 0])), float(df[0])
