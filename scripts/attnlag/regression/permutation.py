"""The permutation control: what the coefficients are when order within documents means nothing.

Tokens of a document are exchanged with one another, with their norms in all layers and with the
covariates that the catalogue says move with their token, such as the frequency; the others, such
as the position, stay. What is left of a lag's coefficient then is what differences between
documents make: dynamics are gone, and so is any trend over positions.

This tests one hypothesis, that the order within documents means nothing, of all lags and leads of a
layer together. It is no null for one lag given another.

A token without a norm in one of the layers is not exchanged, and the rows that it touches are left
out in all layers; a layer without any norm in a document does not count for this.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.adjustments import columns
from attnlag.adjustments.norms import regressed
from attnlag.adjustments.outcomes import OUTCOMES
from attnlag.regression import bootstrap, covariates, design, least_squares, results
from attnlag.regression.crossproducts import Stack, common_centre, packed_size, recentred, runs
from attnlag.regression.settings import DesignSettings
from attnlag.regression.terms import is_lag
from attnlag.storage.tables import read_provenance

# Number of the draw that stands for the order that the documents have.
OBSERVED = -1


@dataclass
class PermutedProducts:
    """Cross-products of a shard in the order that it has and in each draw.

    Attributes
    ----------
    terms : list of str
        ``y``, then the regressors.
    layers : list of int
    centre : (layers, p) array
    products : (1 + draws, layers, packed) array
        Observed, then the draws; the means of documents are out if they are effects.
    root_squares : (layers, p) array
        Square root of Σ w² in the observed order, before the means of documents are taken out.
    documents : (layers,) int array
        Documents that give rows.
    fixed_effects : bool
    of_logs : bool
        Whether the outcome is a logarithm.
    """

    terms: list[str]
    layers: list[int]
    centre: np.ndarray
    products: np.ndarray
    root_squares: np.ndarray
    documents: np.ndarray
    fixed_effects: bool
    of_logs: bool = True


def whole_documents(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield the same rows, cut where a document begins; one that goes on waits for its end."""
    waiting: list[pa.RecordBatch] = []
    last = None
    for batch in batches:
        names, starts = runs(batch)
        # The first document of this batch may have begun in the one before.
        new = starts if names[0] != last else starts[1:]
        if waiting and len(new):
            yield pa.Table.from_batches([*waiting, batch.slice(0, new[0])])
            waiting = []
        waiting.append(batch.slice(new[0]) if len(new) and last is not None else batch)
        last = names[-1]
    if waiting:
        yield pa.Table.from_batches(waiting)


def keys_of_draws(document: str, tokens: int, draws: int, seed: int) -> np.ndarray:
    """Return random numbers whose order is that of the tokens: (draws, tokens) float32 in [0, 1).

    They depend on the document's name, its length and the seed, not on its place in a corpus.
    """
    digest = hashlib.sha256(f"{seed} {document}".encode(errors="surrogatepass")).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    return random.random((draws, tokens), dtype=np.float32)


@dataclass
class _Tokens:
    """Consecutive whole documents.

    Attributes
    ----------
    values : (variables, tokens) array
        Centred: log norms of each layer, then the covariates that move with their token.
    document : (tokens,) int array
        From 0, in order.
    names : list of str
    moves : (tokens,) bool array
        Tokens that are exchanged with others.
    rows : (rows,) int array
        Outcomes.
    fixed : (terms, rows) array
        Centred covariates that stay in their place.
    """

    values: np.ndarray
    document: np.ndarray
    names: list[str]
    moves: np.ndarray
    rows: np.ndarray
    fixed: np.ndarray


def _sources(
    settings: DesignSettings, shared: Mapping[str, bool], layer: int
) -> list[tuple[int | None, int]]:
    """Return the variable of each term of a layer, and how many tokens after the outcome it is.

    Covariates that move with their tokens are counted from the last variable, -1. A covariate that
    stays in its place is no variable, but None.
    """
    cells = design.cells_of(settings).values()
    sources: list[tuple[int | None, int]] = [(layer - c.layers_before, c.offset) for c in cells]
    left = sum(shared.values())
    for moves in shared.values():
        sources.append((-left if moves else None, 0))
        left -= moves
    return sources


def permuted_products(
    batches: Iterable[pa.RecordBatch],
    settings: DesignSettings,
    facts: Mapping[str, Any],
    *,
    draws: int,
    seed: int,
    fixed_effects: bool,
) -> PermutedProducts:
    """Sum the cross-products of permuted documents.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Norms in corpus order.
    settings : DesignSettings
    facts : mapping
        From ``covariates.read_facts``.
    draws, seed : int
    fixed_effects : bool
        Take the means of each document out.
    """
    cells = design.cells_of(settings)
    first = max(cell.layers_before for cell in cells.values())
    shared = covariates.shared_terms(settings, facts)
    terms = [*cells, *shared]
    p = 1 + len(terms)
    sums: PermutedProducts | None = None
    centres: tuple[np.ndarray, np.ndarray] | None = None
    for table in whole_documents(batches):
        layers = columns.layers_in(table.schema)
        if sums is None:
            numbers = [columns.layer_number(layer) for layer in layers]
            shape = (1 + draws, len(layers), packed_size(p))
            sums = PermutedProducts(
                terms=terms,
                layers=numbers,
                centre=np.zeros((len(layers), p)),
                products=np.zeros(shape),
                root_squares=np.zeros((len(layers), p)),
                documents=np.zeros(len(layers), dtype=np.int64),
                fixed_effects=fixed_effects,
                of_logs=OUTCOMES[settings.outcome].logarithm,
            )
        tokens, centres = _tokens(table, layers, settings, facts, centres)
        if not len(tokens.rows):
            continue
        keys = np.concatenate(
            [
                keys_of_draws(name, count, draws, seed)
                for name, count in zip(tokens.names, np.bincount(tokens.document), strict=True)
            ],
            axis=1,
        )
        # Nearly always the same tokens move in all layers: they are put in order once.
        orders: dict[bytes, np.ndarray] = {}
        # Layers without the layer before them that a term needs stay empty.
        for index in range(first, len(layers)):
            sources = _sources(settings, shared, index)
            stays = iter(centres[1])
            sums.centre[index, 1:] = [
                next(stays) if place is None else centres[0][place] for place, _ in sources
            ]
            _add(sums, index, tokens, sources, keys, orders)
    if sums is None:
        raise ValueError("no batch, not even an empty one")
    sums.root_squares = np.sqrt(sums.root_squares)
    return sums


def _tokens(
    table: pa.Table,
    layers: Sequence[str],
    settings: DesignSettings,
    facts: Mapping[str, Any],
    centres: tuple[np.ndarray, np.ndarray] | None,
) -> tuple[_Tokens, tuple[np.ndarray, np.ndarray]]:
    """Return the documents of a table, centred, and the centres: those given, or its own means."""
    keys = table.select(columns.KEYS).unify_dictionaries().combine_chunks()
    outcome = OUTCOMES[settings.outcome]
    values = np.stack([regressed(outcome, table[layer].to_numpy()) for layer in layers])
    names, starts = runs(keys.to_batches()[0])
    document = np.repeat(np.arange(len(names)), np.diff(starts, append=table.num_rows))
    position = keys["position"].to_numpy()
    known = np.isfinite(values)
    # A layer that has no norm in a document would keep all its tokens from moving.
    dead = np.maximum.reduceat(known, starts, axis=1)[:, document] == 0
    moves = (known | dead).all(axis=0) & (position >= settings.drop_first)
    values[:, ~moves] = np.nan

    rows = design.outcome_rows(position, settings)
    needed = {cell.offset for cell in design.needed_cells(settings)}
    rows = rows[np.all([moves[rows + offset] for offset in needed], axis=0)]
    shared = covariates.shared_values(keys, settings, facts)
    with_token = np.array(list(covariates.shared_terms(settings, facts).values()), dtype=bool)
    values = np.concatenate([values, shared[with_token]])
    fixed = shared[~with_token][:, rows]
    if centres is None:
        live = np.isfinite(values)
        counts = np.maximum(live.sum(axis=1), 1)
        means = np.where(live, values, 0).sum(axis=1) / counts
        centres = means, fixed.mean(axis=1) if len(rows) else np.zeros(len(fixed))
    values -= centres[0][:, None]
    return _Tokens(values, document, names, moves, rows, fixed - centres[1][:, None]), centres


def _add(
    sums: PermutedProducts,
    index: int,
    tokens: _Tokens,
    sources: Sequence[tuple[int | None, int]],
    keys: np.ndarray,
    orders: dict[bytes, np.ndarray],
) -> None:
    """Add documents to one layer's sums; orders of the tokens that move are kept for the next."""
    used = sorted({place for place, _ in sources if place is not None})
    # A layer without norms in a document has no rows there.
    has_norms = np.isfinite(tokens.values[used]).all(axis=0)
    kept = has_norms[tokens.rows]
    rows, fixed = tokens.rows[kept], tokens.fixed[:, kept]
    if not len(rows):
        return
    starts = np.flatnonzero(np.diff(tokens.document[rows], prepend=-1))
    counts = np.diff(starts, append=len(rows))
    p = 1 + len(sources)

    def w_of(values: np.ndarray) -> np.ndarray:
        """Return w, (p, rows), when the tokens have these values."""
        w = np.ones((p, len(rows)))
        stays = iter(fixed)
        for row, (place, offset) in zip(w[1:], sources, strict=True):
            row[:] = next(stays) if place is None else values[place][rows + offset]
        return w

    def products_of(w: np.ndarray) -> np.ndarray:
        """Return the packed sums of w w', all documents together."""
        if sums.fixed_effects:
            w[1:] -= np.repeat(np.add.reduceat(w[1:], starts, axis=1) / counts, counts, axis=1)
        return (w @ w.T)[np.triu_indices(p)]

    observed = w_of(tokens.values)
    sums.documents[index] += len(starts)
    sums.root_squares[index] += (observed**2).sum(axis=1)
    sums.products[0, index] += products_of(observed)
    moving = np.flatnonzero(tokens.moves & has_norms)
    if moving.tobytes() not in orders:
        document = tokens.document[moving].astype(np.float64)
        # Stable: equal keys, which 24 bits have now and then, would otherwise change places with
        # what lies around the document.
        found = [np.argsort(document + key, kind="stable") for key in keys[:, moving]]
        orders[moving.tobytes()] = np.array(found, dtype=np.int32)
    permuted = tokens.values.copy()
    for draw, order in enumerate(orders[moving.tobytes()]):
        for place in used:
            permuted[place, moving] = tokens.values[place, moving[order]]
        sums.products[1 + draw, index] += products_of(w_of(permuted))


def to_table(sums: PermutedProducts) -> pa.Table:
    """Return the sums as a table: a row per draw and layer.

    Draw -1 is the order that the documents have.
    """
    draws, layers, packed = sums.products.shape
    numbers = np.arange(OBSERVED, draws + OBSERVED, dtype=np.int32)
    return pa.table(
        {
            "draw": pa.array(np.repeat(numbers, layers)),
            "layer": pa.array(np.tile(np.array(sums.layers, np.int32), draws)),
            "products": pa.FixedSizeListArray.from_arrays(
                pa.array(sums.products.reshape(-1)), packed
            ),
        }
    )


def record_of(sums: PermutedProducts) -> dict[str, Any]:
    """Return what a file's provenance needs besides the table."""
    return {
        "terms": sums.terms,
        "layers": sums.layers,
        "centre": sums.centre.tolist(),
        "root_squares": sums.root_squares.tolist(),
        "documents": sums.documents.tolist(),
        "fixed_effects": sums.fixed_effects,
        "of_logs": sums.of_logs,
    }


def read_products(path: str | Path) -> PermutedProducts:
    """Read one shard's cross-products."""
    record = read_provenance(path)["permutations"]
    flat = pq.read_table(path)["products"].combine_chunks().flatten().to_numpy()
    p = 1 + len(record["terms"])
    products = flat.reshape(-1, len(record["layers"]), packed_size(p))
    return PermutedProducts(
        terms=record["terms"],
        layers=record["layers"],
        centre=np.array(record["centre"]),
        products=products,
        root_squares=np.array(record["root_squares"]),
        documents=np.array(record["documents"]),
        fixed_effects=record["fixed_effects"],
        of_logs=record["of_logs"],
    )


def merged_products(parts: Sequence[PermutedProducts]) -> PermutedProducts:
    """Return the sums over all shards, centred by the overall means of each layer."""
    first = parts[0]
    p = 1 + len(first.terms)
    centre = first.centre
    if not first.fixed_effects:
        sums = [part.products[0, :, :p] for part in parts]
        centre = common_centre(sums, [part.centre for part in parts])
    moved = [
        # Where the means of documents are out, the centre is too.
        part.products if first.fixed_effects else recentred(part.products, centre - part.centre)
        for part in parts
    ]
    return PermutedProducts(
        terms=first.terms,
        layers=first.layers,
        centre=centre,
        products=np.sum(moved, axis=0),
        root_squares=np.sqrt(np.sum([part.root_squares**2 for part in parts], axis=0)),
        documents=np.sum([part.documents for part in parts], axis=0),
        fixed_effects=first.fixed_effects,
        of_logs=first.of_logs,
    )


@dataclass
class OrderTest:
    """The coefficients of permuted documents, and the test that order means nothing.

    Attributes
    ----------
    coefficients : pandas.DataFrame
        A row per layer and term: ``permuted_mean``, and ``permuted_low`` and ``permuted_high``,
        which hold 1 - alpha of the draws.
    layers : pandas.DataFrame
        A row per layer: ``order_statistic``, ``order_p_value`` and ``order_p_adjusted``.
    draws : int
    """

    coefficients: pd.DataFrame
    layers: pd.DataFrame
    draws: int


def order_test(sums: PermutedProducts, *, alpha: float, adjust: str) -> OrderTest:
    """Test in every layer that the order of tokens within documents means nothing.

    The statistic is W = (b - m)' S⁻¹ (b - m) for the coefficients b of all lags and leads, with m
    and S the mean and the covariance over the observed order and all draws: one hypothesis, one
    number. The observed order counts among them, so that p = #{W ≥ W_observed} / (1 + draws) is
    exact. Over the layers p-values are corrected by the maximum of W over the layers, step-down
    (Westfall and Young 1993), which costs no power where p cannot be small; or by the
    Benjamini-Hochberg procedure.

    Parameters
    ----------
    sums : PermutedProducts
        Of all shards.
    alpha : float
    adjust : str
        Correction over the layers.
    """
    names, found = estimates_of_orders(sums)
    lags = [place for place, name in enumerate(names) if is_lag(name)]
    fitted = np.isfinite(found[0]).all(axis=1)
    # A draw may leave a layer collinear.
    found = found[np.isfinite(found[:, fitted]).all(axis=(1, 2))]
    statistic = np.full(found.shape[:2], np.nan)
    for layer in np.flatnonzero(fitted):
        statistic[:, layer] = _wald(found[:, layer, lags])
    draws = len(found) - 1
    p_value = np.where(fitted, (statistic >= statistic[0] * (1 - 1e-9)).sum(axis=0), np.nan)
    p_value /= 1 + draws
    p_adjusted = np.full(len(fitted), np.nan)
    if adjust in ("holm", "max-t"):
        # Holm would multiply p-values of at least 1 / (1 + draws) by the number of layers.
        p_adjusted[fitted] = bootstrap.step_down(statistic[0, fitted], statistic[1:, fitted])
    else:
        p_adjusted = results.adjusted(pd.Series(p_value), adjust)
    low, high = np.full((2, *found.shape[1:]), np.nan)
    low[fitted], high[fitted] = np.quantile(found[1:, fitted], [alpha / 2, 1 - alpha / 2], axis=0)
    coefficients = pd.DataFrame(
        {
            "layer": np.repeat(np.array(sums.layers), len(names)),
            "term": names * len(sums.layers),
            "permuted_mean": found[1:].mean(axis=0).reshape(-1),
            "permuted_low": low.reshape(-1),
            "permuted_high": high.reshape(-1),
        }
    )
    layers = pd.DataFrame(
        {
            "layer": sums.layers,
            "order_statistic": statistic[0],
            "order_p_value": p_value,
            "order_p_adjusted": p_adjusted,
        }
    )
    return OrderTest(coefficients, layers, draws)


def estimates_of_orders(sums: PermutedProducts) -> tuple[list[str], np.ndarray]:
    """Return the terms, and the coefficients in the observed order and in each draw.

    Returns
    -------
    names : list of str
    estimates : (1 + draws, layers, K) array
        NaN where a layer cannot be fitted.
    """
    # Every order is a cluster of its own, that alone counts.
    stack = Stack(
        terms=sums.terms,
        layers=sums.layers,
        clusters=[],
        products=sums.products.transpose(1, 0, 2)[:, None],
        centre=sums.centre,
        totals=sums.products[0][:, None],
        root_squares=sums.root_squares,
        documents=sums.documents,
        fixed_effects=sums.fixed_effects,
        of_logs=sums.of_logs,
    )
    solutions = least_squares.solve_all(stack)
    estimates = bootstrap.weighted(stack, solutions, np.eye(len(sums.products)))
    return least_squares.names_of(stack), estimates


def _wald(estimates: np.ndarray) -> np.ndarray:
    """Return the distance of each of several estimates, (orders, lags), from their mean, squared.

    The distance is in units of their covariance.
    """
    apart = estimates - estimates.mean(axis=0)
    inverse = np.linalg.pinv(apart.T @ apart / (len(apart) - 1), hermitian=True)
    return np.einsum("ij,jk,ik->i", apart, inverse, apart)
