"""The permutation control: the coefficients if order within documents means nothing.

The tokens of a document are permuted together with their norms in all layers and with the
covariates that move with their token according to the catalogue, such as the frequency. Other
covariates, such as the position, stay in place. The remaining coefficient of a lag comes from
differences between documents, because the permutation removes dynamics and trends over positions.

If tokens are permuted only within their part of speech, the order of the parts of speech stays, and
the test is for order beyond it.

The permutation tests one hypothesis: the order within documents means nothing, jointly for all
lags and leads of a layer. It is not a null for one lag given another.

A token without a norm in one of the layers, or without a covariate, stays in place, and is no
outcome, lag or lead of a row in any layer. A layer without any norm in a document is ignored here.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from attnlag.quantities import columns
from attnlag.quantities.estimates import level_of
from attnlag.quantities.outcomes import in_batches, outcome_values
from attnlag.regression.design.design import Formula
from attnlag.regression.design.samples import generator_of
from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.inference import multiple_tests
from attnlag.regression.moments.moments import KeptTerms, PreparedMoments
from attnlag.regression.properties import CLASSES, Property, read_property
from attnlag.regression.settings import Errors, PermutationsSettings
from attnlag.regression.terms import lag_places
from attnlag.storage.sums import Sums
from attnlag.storage.tables import read_provenance, runs

# Rows in memory at a time, unless a document has more; and numbers of draws, one for each token,
# unless a single draw has more.
ROWS = 4096
NUMBERS_AT_ONCE = 2**20


@dataclass
class PermutedMoments(Sums):
    """Moments of a shard in the observed order and in each draw.

    Shards have centres of their own: add up the moments of their layers, not these.
    """

    terms: list[str]  # ``y``, then the regressors
    centre: np.ndarray  # (layers, p) array
    # (layers, 1 + draws, p, p) array: observed, then the draws; without the means of documents if
    # these are effects.
    s: np.ndarray
    # (layers, p) array: Σ w² in the observed order, before the means of documents are removed.
    squares: np.ndarray
    documents: np.ndarray  # (layers,) int array: number of documents with rows
    fixed_effects: bool
    within: str = "document"  # or "upos": what tokens are permuted within
    outcome_is_logarithm: bool = True  # whether the outcome is a logarithm
    precision: str = "bfloat16"  # of the norms

    def moments_of_layer(self, place: int) -> PreparedMoments:
        """Return the moments of a layer, whose clusters are the permutations."""
        return PreparedMoments(
            layer=self.layers[place],
            terms=self.terms,
            clusters=["observed", *(f"draw {draw}" for draw in range(1, self.s.shape[1]))],
            centre=self.centre[place],
            products=self.s[place, None],
            documents=int(self.documents[place]),
            outcome_is_logarithm=self.outcome_is_logarithm,
            precision=self.precision,
            above=place,
            squares=self.squares[place] if self.fixed_effects else None,
        )

    def add(
        self, order: int, own_terms: np.ndarray, shared: np.ndarray, document: np.ndarray
    ) -> None:
        """Add the terms of some documents in one order, of which 0 is the observed.

        ``own_terms`` are (terms, layers, rows), NaN where a layer has no row, ``shared`` (shared
        terms, rows), and ``document`` (rows,) numbers of documents.
        """
        usable = ~np.isnan(own_terms[0])
        every = slice(None), *_runs(document)
        for layer in np.flatnonzero(usable.any(axis=1)):
            # A layer nearly always has all rows.
            kept = usable[layer]
            rows, starts, counts = every if kept.all() else (kept, *_runs(document[kept]))
            w = np.ones((1 + len(self.terms), counts.sum()))
            w[1 : 1 + len(own_terms)] = own_terms[:, layer, rows]
            w[1 + len(own_terms) :] = shared[:, rows]
            if not self.documents[layer]:
                # Close enough to the means of all rows for the sums to stay precise.
                self.centre[layer, 1:] = w[1:].mean(axis=1)
            w[1:] -= self.centre[layer, 1:, None]
            if order == 0:
                self.documents[layer] += len(starts)
                self.squares[layer] += (w**2).sum(axis=1)
            if self.fixed_effects:
                w[1:] -= np.repeat(np.add.reduceat(w[1:], starts, axis=1) / counts, counts, axis=1)
            self.s[layer, order] += w @ w.T


def _runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts and the lengths of runs of equal values."""
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    return starts, np.diff(starts, append=len(values))


def keys_by_draw(
    documents: Sequence[str], tokens: Sequence[int], draws: int, seed: int
) -> Iterator[np.ndarray]:
    """Yield random numbers whose ranks permute the tokens of documents, draw by draw.

    They are (tokens,) float32 in [0, 1), one document after another. Those of a document depend on
    its name, its length and the seed, not on its place in the corpus.
    """
    generators = [generator_of(document, seed) for document in documents]
    draws_at_once = max(1, NUMBERS_AT_ONCE // max(sum(tokens), 1))
    for begun in range(0, draws, draws_at_once):
        size = min(draws_at_once, draws - begun)
        keys = [
            generator.random((size, count), dtype=np.float32)
            for generator, count in zip(generators, tokens, strict=True)
        ]
        yield from np.concatenate(keys, axis=1)


def permuted(
    batches: Iterable[pa.RecordBatch],
    formula: Formula,
    settings: PermutationsSettings,
    classes: Property | None = None,
) -> PermutedMoments:
    """Sum the moments of whole documents whose tokens are permuted, within classes if given."""
    with_token = np.array([entry.permuted_with_token for entry in formula.shared.values()], bool)
    terms = [*formula.places, *formula.shared]
    p = 1 + len(terms)
    moments: PermutedMoments | None = None
    for batch in batches:
        layers = columns.layers_in(batch.schema)
        if moments is None:
            moments = PermutedMoments(
                terms=terms,
                layers=[columns.layer_number(layer) for layer in layers],
                centre=np.zeros((len(layers), p)),
                s=np.zeros((len(layers), 1 + settings.draws, p, p)),
                squares=np.zeros((len(layers), p)),
                documents=np.zeros(len(layers), dtype=np.int64),
                fixed_effects=settings.fixed_effects == "document",
                within="document" if classes is None else classes.name,
                outcome_is_logarithm=formula.outcome.logarithm,
            )
        keys = pa.Table.from_batches([batch.select(columns.KEYS)])
        names, starts = runs(batch)
        counts = np.diff(starts, append=batch.num_rows)
        document = np.repeat(np.arange(len(names)), counts)
        position = keys["position"].to_numpy()
        values = np.empty((len(layers), len(batch)))
        for row, name in zip(values, layers, strict=True):
            row[:] = outcome_values(formula.outcome, batch[name].to_numpy(zero_copy_only=False))
        shared = formula.shared_values(keys)
        finite = np.isfinite(values)
        # A layer without any norm in a document would keep all its tokens in place.
        dead = np.maximum.reduceat(finite, starts, axis=1)[:, document] == 0
        moves = (finite | dead).all(axis=0) & ~np.isnan(shared).any(axis=0)
        moves &= position >= formula.settings.drop_first
        # No row has these tokens; a layer without any norm in a document keeps NaN.
        values[:, ~moves] = 0
        rows, *_ = formula.complete(position, shared)
        movable = np.ones(len(rows), dtype=bool)
        for term_place in formula.places.values():
            movable &= moves[rows + term_place.offset]
        rows = rows[movable]
        if not len(rows):
            continue
        pool = document
        if classes is not None:
            class_of_token = classes.values_of(keys).astype(np.int64)
            pool = document * len(CLASSES[classes.name]) + class_of_token
        keys_of_draws = keys_by_draw(names, counts.tolist(), settings.draws, settings.seed)
        permutations = _permutations(np.flatnonzero(moves), pool, keys_of_draws)
        for place, order in enumerate(permutations):
            in_order = np.where(with_token[:, None], shared[:, order], shared)
            own_terms = formula.layer_terms(values.take(order, axis=1), rows)
            all_layers = formula.shared_terms(in_order, rows)
            moments.add(place, own_terms, all_layers, document[rows])
    assert moments is not None, "no batch, not even an empty one"
    return moments


def _permutations(
    moving: np.ndarray, pool: np.ndarray, keys_of_draws: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
    """Yield the tokens in the observed order and in that of each draw, as indices.

    The tokens ``moving`` change places with those of their pool, a document or a class in it.
    """
    order = np.arange(len(pool))
    yield order
    pools = pool[moving].astype(np.float64)
    # The indices of each pool in the text, which receive its tokens in their new order.
    places = moving[np.argsort(pools, kind="stable")]
    for random_keys in keys_of_draws:
        # The sort is stable: equal keys, which occur occasionally with 24 bits, would otherwise be
        # exchanged across the bounds of a pool.
        order[places] = moving[np.argsort(pools + random_keys[moving], kind="stable")]
        yield order


def permute_outcomes(
    outcomes: Path,
    stream: Path | None,
    token_properties: Path | None,
    settings: PermutationsSettings,
    formula: Formula,
) -> PermutedMoments:
    """Sum the moments of the permuted documents of a file of outcomes, such as norms.

    Raise UserError if the properties of tokens are of other tokens than these, or unknown ones.
    """
    classes = None
    if settings.within != "document":
        assert token_properties is not None
        classes = read_property(settings.within, [token_properties])
    batches = in_batches(formula.outcome, outcomes, stream, ROWS, "permutations")
    sums = permuted(batches, formula, settings, classes)
    return replace(sums, precision=read_provenance(outcomes).precision)


def permutations_by_layer(
    shards: Sequence[PermutedMoments], kept: KeptTerms
) -> list[PreparedMoments]:
    """Return the permutations of all shards in each layer, with terms that are sums of theirs.

    They are centred by the overall means of the observed order.
    """
    layers = []
    for place in range(len(shards[0].layers)):
        parts = [shard.moments_of_layer(place) for shard in shards]
        # A shard without rows has no means that could be the centre.
        moments = max(parts, key=lambda part: part.documents)
        # Removing the means of documents removes the centre too.
        if not moments.has_fixed_effects:
            parts = [part.recentred(moments.centre) for part in parts]
        s = np.zeros_like(moments.products)
        documents = 0
        squares = None
        if moments.has_fixed_effects:
            squares = np.zeros(moments.p)
        for part in parts:
            s += part.products
            documents += part.documents
            if squares is not None and part.squares is not None:
                squares += part.squares
        moments = replace(moments, products=s, documents=documents, squares=squares)
        if not moments.has_fixed_effects:
            observed = replace(moments, products=moments.products[:, :1])
            moments = moments.recentred(observed.mean())
        layers.append(moments.with_terms(kept))
    return layers


def order_test(layers: Sequence[PreparedMoments], settings: Errors) -> pd.DataFrame:
    """Test in every layer that the order of tokens within documents means nothing.

    The statistic is W = (b - m)' S⁻¹ (b - m) for the coefficients b of all lags and leads, where m
    and S are the mean and the covariance over the observed order and all draws. Because these
    include the observed order, p = #{W ≥ W_observed} / (1 + draws) is exact. The p-values are
    corrected over the layers by the step-down maximum of W (Westfall and Young 1993), which loses
    no power although p cannot be below 1 / (1 + draws), or by the Benjamini-Hochberg procedure.

    The table has a row per layer and term; W and p-values are those of the layer.
    """
    names, permutations = estimates_by_permutation(layers)
    lags = lag_places(names)
    fitted = np.isfinite(permutations[0]).all(axis=1)
    # A draw may make a layer collinear.
    permutations = permutations[np.isfinite(permutations[:, fitted]).all(axis=(1, 2))]
    statistic = np.full(permutations.shape[:2], np.nan)
    for layer in np.flatnonzero(fitted):
        statistic[:, layer] = _wald(permutations[:, layer, lags])
    as_large = statistic >= statistic[0] * (1 - 1e-9)
    p_value = np.where(fitted, as_large.mean(axis=0), np.nan)
    p_adjusted = np.full(len(fitted), np.nan)
    if settings.adjust == "holm":
        # Holm would multiply p-values of at least 1 / (1 + draws) by the number of layers.
        p_adjusted[fitted] = step_down(statistic[0, fitted], statistic[1:, fitted])
    else:
        p_adjusted = multiple_tests.adjusted_p_values(pd.Series(p_value), settings.adjust)
    low, high = np.full((2, *permutations.shape[1:]), np.nan)
    ends = [settings.alpha / 2, 1 - settings.alpha / 2]
    low[fitted], high[fitted] = np.quantile(permutations[1:, fitted], ends, axis=0)
    terms = len(names)
    return pd.DataFrame(
        {
            "layer": np.repeat([moments.layer for moments in layers], terms),
            "term": names * len(layers),
            "permuted_mean": permutations[1:].mean(axis=0).reshape(-1),
            "permuted_low": low.reshape(-1),
            "permuted_high": high.reshape(-1),
            "level": level_of(settings.alpha),
            "permutation_wald": np.repeat(statistic[0], terms),
            "order_p_value": np.repeat(p_value, terms),
            "order_p_adjusted": np.repeat(p_adjusted, terms),
            "permutations": len(permutations) - 1,
        }
    )


def step_down(t: np.ndarray, drawn_t: np.ndarray) -> np.ndarray:
    """Return step-down p-values of statistics, given (draws, tests) ones under the null."""
    order = np.argsort(-t, kind="stable")
    # The maximum over each test and all tests with smaller statistics.
    tail = np.maximum.accumulate(drawn_t[:, order[::-1]], axis=1)[:, ::-1]
    exceed = (tail >= t[order]).sum(axis=0)
    p_values = np.empty(len(t))
    p_values[order] = np.maximum.accumulate((1 + exceed) / (1 + len(drawn_t)))
    return p_values


def estimates_by_permutation(layers: Sequence[PreparedMoments]) -> tuple[list[str], np.ndarray]:
    """Return the terms, and the coefficients in each order, (1 + draws, layers, K).

    The observed order is first. Coefficients are NaN if a layer cannot be fitted.
    """
    names = layers[0].names
    estimates = np.full((len(layers[0].clusters), len(layers), len(names)), np.nan)
    for place, moments in enumerate(layers):
        # Each order is a cluster by itself, and each regression uses one of them.
        observed = replace(moments, clusters=moments.clusters[:1], products=moments.products[:, :1])
        estimates[:, place] = solve(observed).estimates(moments.products)
    return names, estimates


def _wald(estimates: np.ndarray) -> np.ndarray:
    """Return the squared Mahalanobis distance of (permutations, lags) estimates from their mean."""
    deviations = estimates - estimates.mean(axis=0)
    inverse = np.linalg.pinv(deviations.T @ deviations / (len(deviations) - 1), hermitian=True)
    return np.einsum("ij,jk,ik->i", deviations, inverse, deviations)
