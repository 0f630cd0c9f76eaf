"""The permutation control: the coefficients if order within documents means nothing.

The tokens of a document are permuted together with their norms in all layers and with the
covariates that move with their token according to the catalogue, such as the frequency. Other
covariates, such as the position, stay in place. The remaining coefficient of a lag comes from
differences between documents, because the permutation removes dynamics and trends over positions.

If tokens are permuted only within their part of speech, the order of the parts of speech stays, and
the test is for order beyond it.

The permutation tests one hypothesis: the order within documents means nothing, jointly for all
lags and leads of a layer. It is not a null for one lag given another.

A token without a norm in one of the layers, or without a covariate, stays in place, and the rows
that use it are left out in all layers. A layer without any norm in a document is ignored here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.quantities import columns
from attnlag.quantities.catalogue import OUTCOMES
from attnlag.quantities.norms import in_batches, regressed
from attnlag.regression.design import covariates, design
from attnlag.regression.design.properties import CLASSES, Property, read_property
from attnlag.regression.estimation import merging
from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.estimation.moments import Moments
from attnlag.regression.estimation.sampling import generator_of
from attnlag.regression.inference import results
from attnlag.regression.settings import DesignSettings, PermutationsSettings
from attnlag.regression.terms import is_lag
from attnlag.storage.sums import Sums
from attnlag.storage.tables import read_provenance, runs

# Rows in memory at a time; each token has a number in each draw.
ROWS = 4096


@dataclass
class PermutedMoments(Sums):
    """Moments of a shard in the observed order and in each draw."""

    # ``y``, then the regressors.
    terms: list[str]
    layers: list[int]
    # (layers, p) array
    centre: np.ndarray
    # (layers, 1 + draws, p, p) array: observed, then the draws; the means of documents are out if
    # they are effects.
    s: np.ndarray
    # (layers, p) array: Σ w² in the observed order, before the means of documents are removed.
    squares: np.ndarray
    # (layers,) int array: number of documents with rows.
    documents: np.ndarray
    fixed_effects: bool
    # {"document", "upos"}: unit within which tokens are permuted: a document, or a part of speech
    # in it.
    within: str = "document"
    # Whether the outcome is a logarithm.
    of_logs: bool = True

    equal = ("centre",)

    def of_layer(self, place: int) -> Moments:
        """Return the moments of a layer, whose clusters are the orders."""
        return Moments(
            layer=self.layers[place],
            terms=self.terms,
            clusters=["observed", *(f"draw {draw}" for draw in range(1, self.s.shape[1]))],
            centre=self.centre[place],
            s=self.s[place, None],
            documents=int(self.documents[place]),
            of_logs=self.of_logs,
            above=place,
            squares=self.squares[place] if self.fixed_effects else None,
        )


def keys_of_draws(document: str, tokens: int, draws: int, seed: int) -> np.ndarray:
    """Return random numbers whose ranks permute the tokens: (draws, tokens) float32 in [0, 1).

    They depend on the document's name, its length and the seed, not on its place in the corpus.
    """
    return generator_of(document, seed).random((draws, tokens), dtype=np.float32)


@dataclass
class _Tokens:
    """Consecutive whole documents."""

    # (layers, tokens) array: log norms; 0 if the token is in no row, NaN in a layer without norms
    # in the document.
    values: np.ndarray
    # (shared terms, tokens) array: covariates.
    shared: np.ndarray
    # (tokens,) int array: number of the document, from 0, in order.
    document: np.ndarray
    names: list[str]
    # (tokens,) int array: number of the set within which a token is permuted: a document, or a
    # class in it.
    pool: np.ndarray
    # Indices of the tokens that are permuted.
    moving: np.ndarray
    # (rows,) int array: indices of the outcomes.
    rows: np.ndarray

    def orders(self, draws: int, seed: int) -> Iterator[np.ndarray]:
        """Yield the indices of the tokens that move to the indices ``moving``, draw by draw."""
        counts = np.bincount(self.document)
        keys = np.concatenate(
            [
                keys_of_draws(name, count, draws, seed)
                for name, count in zip(self.names, counts, strict=True)
            ],
            axis=1,
        )[:, self.moving]
        pool = self.pool[self.moving].astype(np.float64)
        # The indices of each pool in the text, which receive its tokens in their new order.
        places = np.argsort(pool, kind="stable")
        order = np.empty_like(self.moving)
        for key in keys:
            # The sort is stable: equal keys, which occur occasionally with 24 bits, would otherwise
            # be exchanged across the bounds of a pool.
            order[places] = self.moving[np.argsort(pool + key, kind="stable")]
            yield order


def permuted(
    batches: Iterable[pa.RecordBatch],
    settings: DesignSettings,
    facts: Mapping[str, Any],
    *,
    draws: int,
    seed: int,
    fixed_effects: bool,
    classes: Property | None = None,
) -> PermutedMoments:
    """Sum the moments of documents whose tokens are permuted, within classes if given."""
    shared = covariates.shared_terms(settings, facts)
    with_token = np.array([entry.moves for entry in shared.values()], dtype=bool)
    offsets = np.array([entry.offset for entry in shared.values()], dtype=np.int64)
    terms = [*design.cells_of(settings), *shared]
    p = 1 + len(terms)
    sums: PermutedMoments | None = None
    empty = True
    for table in design.whole_sequences(batches, documents=True):
        layers = columns.layers_in(table.schema)
        if sums is None:
            numbers = [columns.layer_number(layer) for layer in layers]
            sums = PermutedMoments(
                terms=terms,
                layers=numbers,
                centre=np.zeros((len(layers), p)),
                s=np.zeros((len(layers), 1 + draws, p, p)),
                squares=np.zeros((len(layers), p)),
                documents=np.zeros(len(layers), dtype=np.int64),
                fixed_effects=fixed_effects,
                within="document" if classes is None else classes.name,
                of_logs=OUTCOMES[settings.outcome].logarithm,
            )
        tokens = _tokens(table, layers, settings, facts, classes)
        if not len(tokens.rows):
            continue
        document, rows = tokens.document[tokens.rows], tokens.rows
        # Covariates may belong to a token near the outcome.
        places = np.arange(len(offsets))[:, None], rows + offsets[:, None]
        lagged = design.layer_terms(tokens.values, rows, settings)
        if empty:
            sums.centre[:, 1:] = _means(lagged, tokens.shared[places])
            empty = False
        _add(sums, 0, lagged, tokens.shared[places], document)
        values, moved = tokens.values.copy(), tokens.shared.copy()
        for draw, order in enumerate(tokens.orders(draws, seed)):
            values[:, tokens.moving] = tokens.values.take(order, axis=1)
            moved[np.ix_(with_token, tokens.moving)] = tokens.shared[np.ix_(with_token, order)]
            lagged = design.layer_terms(values, rows, settings)
            _add(sums, 1 + draw, lagged, moved[places], document)
    if sums is None:
        raise ValueError("no batch, not even an empty one")
    return sums


def of_norms(
    norms: Path,
    stream: Path | None,
    token_properties: Path | None,
    settings: PermutationsSettings,
    facts: Mapping[str, Any],
) -> PermutedMoments:
    """Sum the moments of the permuted documents of a file of norms."""
    outcome, classes = OUTCOMES[settings.design.outcome], None
    if settings.within != "document":
        assert token_properties is not None
        classes = read_property(settings.within, [token_properties])
    return permuted(
        in_batches(outcome, norms, stream, ROWS, "permutations"),
        settings.design,
        facts,
        draws=settings.draws,
        seed=settings.seed,
        fixed_effects=settings.fixed_effects == "document",
        classes=classes,
    )


def _tokens(
    table: pa.Table,
    layers: Sequence[str],
    settings: DesignSettings,
    facts: Mapping[str, Any],
    classes: Property | None,
) -> _Tokens:
    """Return the documents of a table."""
    keys = table.select(columns.KEYS).unify_dictionaries().combine_chunks()
    outcome = OUTCOMES[settings.outcome]
    values = np.stack([regressed(outcome, table[layer].to_numpy()) for layer in layers])
    names, starts = runs(keys.to_batches()[0])
    document = np.repeat(np.arange(len(names)), np.diff(starts, append=table.num_rows))
    position = keys["position"].to_numpy()
    finite = np.isfinite(values)
    # A layer without any norm in a document would keep all its tokens in place.
    dead = np.maximum.reduceat(finite, starts, axis=1)[:, document] == 0
    moves = (finite | dead).all(axis=0) & (position >= settings.drop_first)
    shared = covariates.shared_values(keys, settings, facts)
    moves &= ~np.isnan(shared).any(axis=0)
    values[:, ~moves] = 0
    rows = design.outcome_rows(position, settings)
    needed = {cell.offset for cell in design.cells_of(settings).values()}
    needed |= {entry.offset for entry in covariates.shared_terms(settings, facts).values()}
    rows = rows[position[rows] + min(needed) >= 0]
    rows = rows[np.all([moves[rows + offset] for offset in needed], axis=0)]
    pool = document
    if classes is not None:
        pool = document * len(CLASSES[classes.name]) + classes.of(keys).astype(np.int64)
    return _Tokens(values, shared, document, names, pool, np.flatnonzero(moves), rows)


def _means(lagged: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """Return the means of the terms, (layers, terms); 0 if a layer has none.

    They are close enough to the means of all rows for the sums to stay precise.
    """
    finite = np.isfinite(lagged)
    means = np.where(finite, lagged, 0).sum(axis=2) / np.maximum(finite.sum(axis=2), 1)
    of_shared = np.broadcast_to(shared.mean(axis=1)[:, None], (len(shared), lagged.shape[1]))
    return np.concatenate([means, of_shared]).T


def _add(
    sums: PermutedMoments, place: int, lagged: np.ndarray, shared: np.ndarray, document: np.ndarray
) -> None:
    """Add the design of some documents in one order to the sums; order 0 is the observed."""
    usable = ~np.isnan(lagged[0])
    p = 1 + len(lagged) + len(shared)
    every = slice(None), *_runs(document)
    for layer in np.flatnonzero(usable.any(axis=1)):
        # A layer nearly always has all rows.
        has_row = usable[layer]
        kept_rows, starts, counts = every if has_row.all() else (has_row, *_runs(document[has_row]))
        w = np.ones((p, counts.sum()))
        w[1 : 1 + len(lagged)] = lagged[:, layer, kept_rows]
        w[1 + len(lagged) :] = shared[:, kept_rows]
        w[1:] -= sums.centre[layer, 1:, None]
        if place == 0:
            sums.documents[layer] += len(starts)
            sums.squares[layer] += (w**2).sum(axis=1)
        if sums.fixed_effects:
            w[1:] -= np.repeat(np.add.reduceat(w[1:], starts, axis=1) / counts, counts, axis=1)
        sums.s[layer, place] += w @ w.T


def _runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts and the lengths of runs of equal values."""
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    return starts, np.diff(starts, append=len(values))


def read(path: str | Path) -> PermutedMoments:
    """Read one shard's moments."""
    return PermutedMoments.from_table(pq.read_table(path), **read_provenance(path)["permutations"])


def joined(shards: Sequence[PermutedMoments], sums: merging.TermSums) -> list[Moments]:
    """Return the orders of all shards in each layer, with terms that are sums of theirs.

    They are centred by the overall means of the observed order.
    """
    layers = []
    for place in range(len(shards[0].layers)):
        parts = [shard.of_layer(place) for shard in shards]
        # A shard without rows has no means that could be the centre.
        moments = max(parts, key=lambda part: part.documents)
        # Removing the means of documents removes the centre too.
        if not moments.within:
            parts = [part.recentred(moments.centre) for part in parts]
        moments = replace(
            moments,
            s=reduce(add, (part.s for part in parts)),
            documents=sum(part.documents for part in parts),
            squares=reduce(add, (part.squares for part in parts)) if moments.within else None,
        )
        if not moments.within:
            moments = moments.recentred(_observed(moments).centred().centre)
        layers.append(merging.merged(moments, sums))
    return layers


@dataclass
class OrderTest:
    """The coefficients of permuted documents, and the test that order means nothing."""

    # A row per layer and term: ``permuted_mean``, and ``permuted_low`` and ``permuted_high``, which
    # hold 1 - alpha of the draws.
    coefficients: pd.DataFrame
    # A row per layer: ``permutation_wald``, ``order_p_value`` and ``order_p_adjusted``.
    layers: pd.DataFrame
    draws: int
    # {"document", "upos"}: unit within which tokens were permuted.
    within: str = "document"


def order_test(
    layers: Sequence[Moments], *, alpha: float, adjust: str, within: str = "document"
) -> OrderTest:
    """Test in every layer that the order of tokens within documents means nothing.

    The statistic is W = (b - m)' S⁻¹ (b - m) for the coefficients b of all lags and leads, where m
    and S are the mean and the covariance over the observed order and all draws. Because these
    include the observed order, p = #{W ≥ W_observed} / (1 + draws) is exact. The p-values are
    corrected over the layers by the step-down maximum of W (Westfall and Young 1993), which loses
    no power although p cannot be below 1 / (1 + draws), or by the Benjamini-Hochberg procedure.
    """
    names, orders = estimates_of_orders(layers)
    numbers = [moments.layer for moments in layers]
    lags = [place for place, name in enumerate(names) if is_lag(name)]
    fitted = np.isfinite(orders[0]).all(axis=1)
    # A draw may make a layer collinear.
    orders = orders[np.isfinite(orders[:, fitted]).all(axis=(1, 2))]
    statistic = np.full(orders.shape[:2], np.nan)
    for layer in np.flatnonzero(fitted):
        statistic[:, layer] = _wald(orders[:, layer, lags])
    draws = len(orders) - 1
    p_value = np.where(fitted, (statistic >= statistic[0] * (1 - 1e-9)).sum(axis=0), np.nan)
    p_value /= 1 + draws
    p_adjusted = np.full(len(fitted), np.nan)
    if adjust == "holm":
        # Holm would multiply p-values of at least 1 / (1 + draws) by the number of layers.
        p_adjusted[fitted] = step_down(statistic[0, fitted], statistic[1:, fitted])
    else:
        p_adjusted = results.adjusted(pd.Series(p_value), adjust)
    low, high = np.full((2, *orders.shape[1:]), np.nan)
    low[fitted], high[fitted] = np.quantile(orders[1:, fitted], [alpha / 2, 1 - alpha / 2], axis=0)
    coefficients = pd.DataFrame(
        {
            "layer": np.repeat(np.array(numbers), len(names)),
            "term": names * len(numbers),
            "permuted_mean": orders[1:].mean(axis=0).reshape(-1),
            "permuted_low": low.reshape(-1),
            "permuted_high": high.reshape(-1),
        }
    )
    by_layer = pd.DataFrame(
        {
            "layer": numbers,
            "permutation_wald": statistic[0],
            "order_p_value": p_value,
            "order_p_adjusted": p_adjusted,
        }
    )
    return OrderTest(coefficients, by_layer, draws, within)


def step_down(t: np.ndarray, drawn_t: np.ndarray) -> np.ndarray:
    """Return step-down p-values of several tests (Westfall and Young 1993).

    ``t`` has the absolute statistics, (tests,), and ``drawn_t`` those drawn under the null, (draws,
    tests).
    """
    order = np.argsort(-t, kind="stable")
    # The maximum over each test and all tests with smaller statistics.
    tail = np.maximum.accumulate(drawn_t[:, order[::-1]], axis=1)[:, ::-1]
    exceed = (tail >= t[order]).sum(axis=0)
    p_values = np.empty(len(t))
    p_values[order] = np.maximum.accumulate((1 + exceed) / (1 + len(drawn_t)))
    return p_values


def estimates_of_orders(layers: Sequence[Moments]) -> tuple[list[str], np.ndarray]:
    """Return the terms, and the coefficients in each order, (1 + draws, layers, K).

    The observed order is first. Coefficients are NaN if a layer cannot be fitted.
    """
    names = layers[0].names
    estimates = np.full((len(layers[0].clusters), len(layers), len(names)), np.nan)
    for place, moments in enumerate(layers):
        # Each order is a cluster by itself, and each regression uses one of them.
        solution = solve(_observed(moments))
        if solution.status == "ok":
            a, b, _ = solution.equations(moments.s)
            estimates[:, place] = solution.coefficients(solution.solved(a, b)[0])
    return names, estimates


def _observed(moments: Moments) -> Moments:
    return replace(moments, clusters=moments.clusters[:1], s=moments.s[:, :1])


def _wald(estimates: np.ndarray) -> np.ndarray:
    """Return the squared Mahalanobis distance of estimates, (orders, lags), from their mean."""
    apart = estimates - estimates.mean(axis=0)
    inverse = np.linalg.pinv(apart.T @ apart / (len(apart) - 1), hermitian=True)
    return np.einsum("ij,jk,ik->i", apart, inverse, apart)
