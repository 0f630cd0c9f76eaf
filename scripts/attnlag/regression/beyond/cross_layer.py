"""Regressions of the log norms of one layer on those of another, over all tokens of a corpus.

They are the predictive counterpart of an elasticity: they show how well log a[l,t-k] predicts
log a[m,t], alone and with log a[l,t] held fixed. All pairs of layers come from the cross-products
of one vector per token, w = [1, log a[l,t-k] for all l and k], document by document. The norms are
read twice, first for the sums over all documents and then for the scores of each document, which
clustered errors need. Only the cross-products of a few documents are therefore in memory at a time.
"""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from attnlag.adjustments import columns
from attnlag.adjustments.norms import log_norms
from attnlag.regression.estimation import clustered
from attnlag.regression.estimation.least_squares import WORST_CONDITION
from attnlag.regression.limits import FEWEST_DOCUMENTS

Windows = list[np.ndarray]

# Number of documents whose scores are multiplied by all draws at once.
BLOCK = 64

# The columns of `of_intervened`.
KEYS = ["source_site", "target_site", "target_layer", "lag"]
PREDICTED = ["predicted", "predicted_std_error", "predicted_df"]
NOTHING = pd.DataFrame(columns=[*KEYS, *PREDICTED])


@dataclass
class CrossLayer:
    """Coefficients of pairs of layers."""

    targets: list[int]
    # alone, alone_error, (targets, layers, lags + 1) float array: coefficient of the source at each
    # distance, and its standard error, clustered by document (CR2); NaN if a layer's norms do not
    # vary.
    alone: np.ndarray
    alone_error: np.ndarray
    # given, given_error, (targets, layers, lags + 1) float array: the same with the source layer's
    # norm at the target token held fixed; NaN at distance 0.
    given: np.ndarray
    given_error: np.ndarray
    # documents, rows: numbers of documents and rows of the fits.
    documents: int
    rows: int
    # alone_noise, given_noise, (draws, targets, layers, lags + 1) float array: what the draws of
    # the multipliers add to the estimates, which has the variance of their errors.
    alone_noise: np.ndarray
    given_noise: np.ndarray


def documents_in(paths: Sequence[Path], drop_first: int) -> Iterator[tuple[str, Windows]]:
    """Yield each document of norms files with the log norms of its windows, (layers, tokens)."""
    for path in paths:
        file = pq.ParquetFile(path, pre_buffer=False)
        layers = columns.layers_in(file.schema_arrow)
        name: str | None = None
        windows: dict[int, Windows] = {}
        for group in range(file.num_row_groups):
            table = file.read_row_group(group).to_pandas()
            table = table[table["position"] >= drop_first]
            for document, rows in table.groupby("document", sort=False, observed=True):
                if document != name:
                    if name is not None:
                        yield name, _joined(windows)
                    name, windows = document, {}
                for window, part in rows.groupby("window", sort=False):
                    logs = np.stack([log_norms(part[layer].to_numpy()) for layer in layers])
                    windows.setdefault(window, []).append(logs)
        if name is not None:
            yield name, _joined(windows)


def _joined(windows: dict[int, Windows]) -> Windows:
    return [np.concatenate(parts, axis=1) for parts in windows.values()]


def products(
    sources: Windows, targets: Windows, chosen: Sequence[int], lags: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return the cross-products of a document.

    Rows are the tokens with all lags in their window and all norms finite.

    Parameters
    ----------
    sources, targets : list of (layers, tokens) arrays
        Log norms of the windows of the document, at the site of the sources and at the targets'.

    Returns
    -------
    x : (lags + 1, layers, 2 + 1) array
        For each source and distance, the sums of x, x² and x x₀; x₀ is the source at distance 0.
    xy : (lags + 1, layers, targets) array
    y : (targets, 2) array
        Sums of y, and of y².
    """
    layers = len(sources[0])
    x, xy = np.zeros((lags + 1, layers, 3)), np.zeros((lags + 1, layers, len(chosen)))
    y, rows = np.zeros((len(chosen), 2)), 0
    for source, target in zip(sources, targets, strict=True):
        tokens = source.shape[1] - lags
        if tokens <= 0:
            continue
        shifted = np.stack([source[:, lags - lag : lags - lag + tokens] for lag in range(lags + 1)])
        outcome = target[list(chosen), lags:]
        whole = np.isfinite(shifted).all(axis=(0, 1)) & np.isfinite(outcome).all(axis=0)
        shifted, outcome = shifted[..., whole], outcome[:, whole]
        x += np.stack(
            [shifted.sum(-1), (shifted**2).sum(-1), (shifted * shifted[0]).sum(-1)], axis=-1
        )
        xy += shifted @ outcome.T
        y += np.stack([outcome.sum(-1), (outcome**2).sum(-1)], axis=-1)
        rows += int(whole.sum())
    return x, xy, y, rows


def _moments(
    x: np.ndarray, xy: np.ndarray, y: np.ndarray, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return X'X and X'y of [1, x] and of [1, x, x₀], for every target, source and distance."""
    lags, layers, _ = x.shape
    shape = (y.shape[0], layers, lags)
    s, ss, cross = (np.broadcast_to(x[..., part].T, shape) for part in range(3))
    first, square = (np.broadcast_to(x[0, :, part][:, None], shape) for part in (0, 1))
    n = np.full(shape, float(rows))
    a = np.stack([n, s, first, s, ss, cross, first, cross, square], axis=-1)
    total = np.broadcast_to(y[:, 0][:, None, None], shape)
    own = np.broadcast_to(xy[0].T[:, :, None], shape)
    b = np.stack([total, xy.transpose(2, 1, 0), own], axis=-1)
    return a.reshape(*shape, 3, 3), b


def cross_layer(
    read: Callable[[], Iterator[tuple[str, Windows, Windows]]],
    targets: Sequence[int],
    lags: int,
    multipliers: Callable[[str], np.ndarray] = lambda document: np.zeros(0),
) -> CrossLayer:
    """Regress the log norms of target layers on those of all layers, one source at a time.

    Parameters
    ----------
    read : callable
        Yields, whenever it is called, each document with the log norms of its windows, at the site
        of the sources and at the targets'.
    multipliers : callable
        Returns the multiplier of a document's score in each draw, with mean 0 and variance 1.
    """
    sums: list[np.ndarray] | None = None
    documents = 0
    for _, sources, outcomes in read():
        x, xy, y, count = products(sources, outcomes, targets, lags)
        if not count:
            continue
        documents += 1
        new = [x, xy, y, np.array(count)]
        sums = new if sums is None else [a + b for a, b in zip(sums, new, strict=True)]
    if sums is None:
        empty = np.full((len(targets), 0, lags + 1), np.nan)
        none = empty[None]
        return CrossLayer(list(targets), empty, empty, empty, empty, 0, 0, none, none)
    rows = int(sums[3])
    # Centred by the means for numerical precision.
    centre_x, centre_y = sums[0][0, :, 0] / rows, sums[2][:, 0] / rows

    def centred() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for name, sources, outcomes in read():
            moved = [window - centre_x[:, None] for window in sources]
            full = np.zeros(len(outcomes[0]))
            full[list(targets)] = centre_y
            x, xy, y, count = products(
                moved, [window - full[:, None] for window in outcomes], targets, lags
            )
            if count:
                yield (name, *_moments(x, xy, y, count))

    _, a, b = next(both := centred())
    for _, a_g, b_g in both:
        a, b = a + a_g, b + b_g
    found, noises = [], []
    for size in (2, 3):
        to, estimate = _solved(a[..., :size, :size], b[..., :size])
        across = np.swapaxes(to, -1, -2)
        variance = np.full(estimate.shape[:-1], 0.0 if documents > 1 else np.nan)
        noise: np.ndarray | float = 0.0
        rest = centred()
        while block := list(itertools.islice(rest, BLOCK)):
            scores = np.empty((len(block), *variance.shape))
            for place, (_, a_g, b_g) in enumerate(block):
                own = a_g[..., :size, :size]
                score = b_g[..., :size, None] - own @ estimate[..., None]
                unit = np.nan_to_num(to @ own @ across).reshape(-1, size, size)
                root = clustered.root_of_rest(unit)
                scores[place] = (across @ root.reshape(own.shape) @ to @ score)[..., 1, 0]
            variance += (scores**2).sum(axis=0)
            drawn = np.stack([multipliers(name) for name, *_ in block])
            noise = noise + np.tensordot(drawn, scores, axes=(0, 0))
        found += [estimate[..., 1], np.sqrt(variance)]
        noises.append(np.asarray(noise))
    # At distance 0 the source and the variable held fixed are the same.
    for values in found[2:]:
        values[..., 0] = np.nan
    alone, alone_error, given, given_error = found
    return CrossLayer(
        list(targets), alone, alone_error, given, given_error, documents, rows, noises[0], noises[1]
    )


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
    norms: Mapping[str, Sequence[Path]], source: str, target: str, drop_first: int
) -> Iterator[tuple[str, Windows, Windows]]:
    """Yield each document with the log norms of its windows, at the sources' site and another."""
    first = documents_in(norms[source], drop_first)
    if source == target:
        yield from ((name, windows, windows) for name, windows in first)
        return
    other = documents_in(norms[target], drop_first)
    yield from ((name, one, two) for (name, one), (_, two) in zip(first, other, strict=True))


def of_intervened(
    norms: Mapping[str, Sequence[Path]],
    source: str,
    target: str,
    keys: Iterable[tuple[int, int]],
    documents: Collection[str],
    tokens: int,
    drop_first: int,
) -> pd.DataFrame:
    """Return `Together` for target layers and lags, over the tokens that were intervened on.

    Parameters
    ----------
    norms : mapping of str to sequence of Path
        All shards, by site.
    keys : iterable of (int, int)
        Target layers and lags.
    tokens : int
        Number of tokens of each document, from its beginning.
    """
    pairs = [
        (beginning(one, tokens, drop_first), beginning(two, tokens, drop_first))
        for name, one, two in pairs_in(norms, source, target, drop_first)
        if name in documents
    ]
    rows = [
        (source, target, layer, lag, *astuple(together(pairs, layer, lag))) for layer, lag in keys
    ]
    return pd.DataFrame(rows, columns=NOTHING.columns)


def table(found: CrossLayer) -> pd.DataFrame:
    """Return the coefficients, one row per target layer, source layer and lag."""
    shape = found.alone.shape
    places = np.indices(shape).reshape(3, -1)
    return pd.DataFrame(
        {
            "target_layer": np.array(found.targets, dtype=int)[places[0]],
            "source_layer": places[1],
            "lag": places[2],
            "predictive": found.alone.ravel(),
            "predictive_std_error": found.alone_error.ravel(),
            "predictive_given": found.given.ravel(),
            "predictive_given_std_error": found.given_error.ravel(),
        }
    )


@dataclass
class Together:
    """The sum of the coefficients of all layers before a target, at one distance."""

    # estimate, std_error, df: with CR2 and its degrees of freedom (`clustered`); NaN if the layers
    # are collinear within the documents, or these are too few.
    estimate: float = np.nan
    std_error: float = np.nan
    df: float = np.nan


def beginning(windows: Windows, tokens: int, drop_first: int) -> Windows:
    """Return the log norms at the first tokens of a document, given all without ``drop_first``."""
    kept = []
    for values in windows:
        kept.append(values[:, : max(0, tokens - drop_first)])
        tokens = max(0, tokens - drop_first - values.shape[1])
    return kept


def together(read: Iterable[tuple[Windows, Windows]], target: int, lag: int) -> Together:
    """Regress a layer on all layers before it, a number of tokens before, within documents.

    The sum of the coefficients is the change of the target predicted by the regression if the
    norms of one token grow by the same proportion in all these layers.

    Parameters
    ----------
    read : iterable of (list of arrays, list of arrays)
        The log norms of the windows of each document, at the site of the sources and the target's.
    """
    a, b, rows = [], [], 0
    for sources, outcomes in read:
        x = np.concatenate([window[:target, : window.shape[1] - lag] for window in sources], axis=1)
        y = np.concatenate([window[target, lag:] for window in outcomes])
        x, y = x[:, whole := np.isfinite(x).all(axis=0) & np.isfinite(y)], y[whole]
        if len(y):
            x, y = x - x.mean(axis=1, keepdims=True), y - y.mean()
            a.append(x @ x.T)
            b.append(x @ y)
            rows += len(y)
    if target == 0 or rows <= target + len(a) or len(a) < FEWEST_DOCUMENTS:
        return Together()
    # The sum takes the place of the first coefficient.
    back = np.eye(target)
    back[0, 1:] = -1
    a_g, b_g = back.T @ np.stack(a) @ back, np.stack(b) @ back
    whole_a = a_g.sum(axis=0)
    scale = np.sqrt(np.diagonal(whole_a))
    values = np.linalg.eigvalsh(whole_a / np.outer(scale, scale))
    if not values[-1] <= WORST_CONDITION * values[0]:
        return Together()
    estimate = np.linalg.solve(whole_a, b_g.sum(axis=0))
    covariance, df = clustered.cr2(a_g, b_g - a_g @ estimate)
    return Together(float(estimate[0]), float(np.sqrt(covariance[0, 0])), float(df[0]))
