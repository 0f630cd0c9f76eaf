"""The permutation control against literal permutations, and the test of no effect of order."""

from functools import partial

import designs
import numpy as np
import pytest
from designs import changed, corpus_of, design_of, design_settings
from fits import assert_alike, orders_joined, orders_of, sums_of
from numpy.testing import assert_allclose
from scipy.spatial import distance
from scipy.stats import false_discovery_control

from attnlag.quantities.columns import KEYS
from attnlag.regression.design import covariates
from attnlag.regression.design.properties import Property
from attnlag.regression.inference import permutation
from attnlag.regression.settings import Errors
from attnlag.storage import tables

LAGS = design_settings(lags=(1, 2))
EFFECTS = pytest.mark.parametrize("fixed_effects", ["none", "document"])


def norms_table(lengths):
    """Return norms of sequences without structure, given the length of each."""
    random = np.random.default_rng(0)
    tokens = sum(lengths.values())
    values = np.exp(random.normal(size=(2, tokens)))
    return designs.norms_table(lengths, values, random.integers(0, 4, tokens))


def order_test(orders, **settings):
    return permutation.order_test(orders, Errors(**settings))


def test_within_classes_tokens_keep_the_order_of_the_classes():
    """If norms depend on the class alone, permutations within classes change nothing."""
    table = norms_table({("a", 0): 30, ("a", 1): 12, ("b", 0): 25})
    classes = np.random.default_rng(1).integers(0, 3, table.num_rows)
    table = changed(table, {"layer_00": np.exp(classes), "layer_01": np.exp(2.0 * classes)})
    starts = {("a", 0): 0, ("a", 1): 30, ("b", 0): 42}
    kinds = Property("upos", starts, classes.astype(float))
    sums = sums_of(table, LAGS, rows=20, draws=5, classes=kinds)
    assert sums.within == "upos"
    observed, *drawn = sums.s.swapaxes(0, 1)
    assert all(np.allclose(one, observed, atol=1e-9) for one in drawn)
    free = sums_of(table, LAGS, rows=20, draws=5)
    observed, *drawn = free.s.swapaxes(0, 1)
    assert not any(np.allclose(one, observed, atol=1e-3) for one in drawn)


@EFFECTS
@pytest.mark.parametrize("rows", [1, 1000])
def test_batches_and_shards_change_nothing(rows, fixed_effects):
    lengths = {("a", 0): 9, ("a", 1): 6, ("b", 0): 12, ("c", 0): 2, ("d", 0): 8}
    table = norms_table(lengths)
    options = {"fixed_effects": fixed_effects, "draws": 20}
    alone = sums_of(table, LAGS, **options)
    _, whole = permutation.estimates_of_orders(orders_joined([alone]))
    parts = [table.slice(0, 15), table.slice(15)]
    shards = [sums_of(part, LAGS, rows=rows, **options) for part in parts]
    orders = orders_joined(shards)
    _, found = permutation.estimates_of_orders(orders)
    assert_allclose(found, whole, rtol=1e-8)
    assert [layer.documents for layer in orders] == [3, 3]
    for layer in orders:
        # They are about the means of the observed order over all shards.
        assert_allclose(layer.s[0, 0, 0, 1:], 0, atol=1e-12)
    # A first shard of documents too short for a row has no means.
    behind = orders_joined([sums_of(table.slice(27, 2), LAGS, **options), *shards])
    assert_alike(behind, orders, "s")
    for one, two in zip(orders_joined([alone]), orders_joined([alone, alone]), strict=True):
        assert_allclose(two.s, 2 * one.s, atol=1e-10)
        if fixed_effects == "document":
            assert_allclose(two.squares, 2 * one.squares)


def test_moments_of_orders_are_read_back_as_they_were_written(tmp_path):
    path, sums = tmp_path / "0000.parquet", sums_of(norms_table({("a", 0): 12}), LAGS)
    sums.of_logs, sums.within = False, "upos"
    record = tables.provenance({}, "permutations", {}, permutations=sums.facts())
    tables.write_table(sums.to_table(layer=sums.layers), path, record)
    again = permutation.read(path)
    assert_alike([again], [sums])
    assert not again.of_layer(1).of_logs


def test_tokens_with_equal_keys_stay_in_their_document(monkeypatch):
    drawn = permutation.keys_of_draws
    monkeypatch.setattr(
        permutation, "keys_of_draws", lambda *arguments: np.floor(20 * drawn(*arguments)) / 20
    )
    table = norms_table({(name, 0): 90 for name in "abcdef"})
    _, whole = permutation.estimates_of_orders(orders_of(table, LAGS, draws=20))
    parts = [sums_of(table.slice(start, 90), LAGS, draws=20) for start in range(0, 540, 90)]
    _, alone = permutation.estimates_of_orders(orders_joined(parts))
    assert_allclose(alone, whole, rtol=1e-8)


def test_tokens_without_a_norm_are_excluded_in_all_layers():
    table = norms_table({("a", 0): 12, ("b", 0): 9})
    broken = np.where(np.arange(21) == 5, 0, table["layer_00"].to_numpy())
    table = changed(table, {"layer_00": broken})
    sums = sums_of(table, LAGS)
    # Positions 3 to 11 less the outcomes 5, 6 and 7; and 3 to 8.
    assert sums.s[:, :, 0, 0].tolist() == [[12] * 4] * 2
    sums = sums_of(changed(table, {"layer_00": np.zeros(21)}), LAGS)
    assert sums.s[:, 0, 0, 0].tolist() == [0, 15]
    test = order_test(orders_joined([sums]))
    for column in ("order_p_value", "permuted_low"):
        assert test[column].isna().tolist() == [True] * 3 + [False] * 3


def test_the_control_shows_how_much_of_a_lag_comes_from_document_means():
    """In white noise around document means a lag predicts well in any order."""
    table = corpus_of(level=1.0)
    pooled, within = (
        order_test(orders_of(table, LAGS, draws=99, fixed_effects=effects))
        for effects in ("none", "document")
    )
    lag = pooled.query("term == 'lag_1'")
    assert (lag["permuted_mean"] > 0.25).all()
    assert (lag["permuted_low"] < lag["permuted_mean"]).all()
    assert (lag["permuted_high"] > lag["permuted_mean"]).all()
    for test in (pooled, within):
        assert (test["order_p_value"] > 0.01).all()
        assert (test["order_p_adjusted"] >= test["order_p_value"]).all()
    # Demeaning tilts the lags of unordered tokens below 0, by about 1 / T.
    lag = within.query("term == 'lag_1'")
    assert_allclose(lag["permuted_mean"], -1 / 37, atol=0.01)


def test_the_joint_test_of_two_lags_detects_an_effect_of_order():
    for dynamics in ((0.3, 0.0), (0.0, 0.3)):
        test = order_test(orders_of(corpus_of(dynamics=dynamics), LAGS, draws=99))
        assert set(test["order_p_value"]) == set(test["order_p_adjusted"]) == {0.01}
        assert set(test["permutations"]) == {99}


def test_the_statistic_is_the_mahalanobis_distance_over_all_orders():
    sums = orders_of(corpus_of(documents=6), LAGS, draws=49)
    names, found = permutation.estimates_of_orders(sums)
    assert names == ["intercept", "lag_1", "lag_2"]
    test = order_test(sums, alpha=0.1, adjust="benjamini-hochberg")
    # Mean and range are those of the draws, without the order that the documents have.
    draws = found[1:].reshape(49, -1)
    bounds = test[["permuted_low", "permuted_mean", "permuted_high"]].to_numpy().T
    expected = np.percentile(draws, 5, axis=0), draws.mean(axis=0), np.percentile(draws, 95, axis=0)
    assert_allclose(bounds, expected)
    for layer in range(2):
        lags = found[:, layer, 1:]
        inverse = np.linalg.inv(np.cov(lags.T))
        distances = [distance.mahalanobis(one, lags.mean(axis=0), inverse) ** 2 for one in lags]
        row = test[test["layer"] == layer].iloc[0]
        assert_allclose(row["permutation_wald"], distances[0])
        assert row["order_p_value"] == pytest.approx(np.mean(np.array(distances) >= distances[0]))
    of_layers = test.drop_duplicates("layer")
    adjusted = false_discovery_control(of_layers["order_p_value"])
    assert_allclose(of_layers["order_p_adjusted"], adjusted)


TWO = {("a", 0): 30, ("b", 0): 25}


def by_hand(table, known, draws):
    """Yield the order of tokens in each draw, and the table in this order; keys stay in place."""
    document = np.array(table["document"].to_pylist())
    for draw in range(draws):
        order = np.arange(table.num_rows)
        for name in "ab":
            own = document == name
            keys = permutation.keys_of_draws(name, own.sum(), draws, 0)[draw]
            order[own & known] = np.flatnonzero(own & known)[np.argsort(keys[known[own]])]
        yield order, changed(table.take(order), {key: table[key] for key in KEYS[:3]})


def test_tokens_that_lack_a_covariate_are_neither_permuted_nor_used():
    table, surprisal = norms_table(TWO), np.random.default_rng(2).random(55)
    surprisal[[0, 6, 30, 36]] = np.nan

    def facts_in(order):
        return {"surprisal": Property("surprisal", {("a", 0): 0, ("b", 0): 30}, surprisal[order])}

    settings = design_settings(lags=(1,), covariates=("surprisal",), drop_first=0)
    sums, known = sums_of(table, settings, facts_in(slice(None))), np.isfinite(surprisal)
    # A norm of zero is no outcome and no lag.
    silent = changed(table, {"layer_01": np.where(known, table["layer_01"], 0.0)})
    for draw, (order, permuted) in enumerate(by_hand(silent, known, 3)):
        built = design_of(permuted, settings, facts_in(order))
        rows = built.select(["layer_01.y", "layer_01.lag_1", "surprisal"]).to_pandas().dropna()
        w = np.insert(rows.to_numpy(), 0, 1, axis=1) - sums.centre[1]
        assert len(w) == 55 - 2 * 4
        assert_allclose(sums.s[1, 1 + draw], w.T @ w, atol=1e-10)


def set_toy(monkeypatch, columns, moves=True):
    """Add a covariate whose columns are functions of the numbers of tokens."""
    toy = covariates.Covariate(
        description="a toy",
        terms=("toy_N",),
        permuted_with_token=moves,
        columns=lambda lookup: list(columns),
        values=lambda keys, lookup: np.stack(
            [of_ids(keys["token_id"].to_numpy()) for of_ids in columns.values()]
        ).astype(float),
    )
    monkeypatch.setitem(covariates.CATALOGUE, "toy", toy)


def test_products_of_merged_terms_equal_those_of_one_term(monkeypatch):
    """The terms are dummies of classes that are merged."""
    table = norms_table(TWO)
    settings = design_settings(lags=(1,), covariates=("toy",))

    def dummies_of(**columns):
        parts = {name: partial(np.isin, test_elements=ids) for name, ids in columns.items()}
        set_toy(monkeypatch, parts)
        return sums_of(table, settings, fixed_effects="document")

    apart = dummies_of(toy_1=[1], toy_2=[2], toy_3=[3])
    expected = dummies_of(toy_2=[2], toy_other=[1, 3])
    parts = {"y": ["y"], "lag_1": ["lag_1"], "toy_2": ["toy_2"], "toy_other": ["toy_1", "toy_3"]}
    merged, of_one = permutation.orders_by_layer([apart], parts), orders_joined([expected])
    assert_alike(merged, of_one, "terms", "s", "centre", rtol=1e-7, atol=1e-10)
    for one, other in zip(merged, of_one, strict=True):
        # The size of a sum of disjoint dummies is about that of its parts together.
        assert_allclose(one.squares[:4], other.squares[:4])
        assert_allclose(one.squares[4], other.squares[4], rtol=1)


@EFFECTS
@pytest.mark.parametrize("moves", [True, False])
def test_a_covariate_moves_with_its_token_if_the_catalogue_says_so(
    monkeypatch, moves, fixed_effects
):
    """The oracle is the design of a corpus whose tokens are permuted by hand."""
    set_toy(monkeypatch, {"toy_1": np.sqrt, "toy_2": lambda ids: ids == 2}, moves)
    names = ("previous_layer", "log_frequency", "toy")
    settings = design_settings(lags=(1,), covariates=names)
    table = norms_table(TWO)
    sums = sums_of(table, settings, draws=5, fixed_effects=fixed_effects)
    of_layers = ["y", "lag_1", "previous_layer", "previous_layer_lag_1"]
    assert sums.terms == [*of_layers, "log_frequency", "toy_1", "toy_2"]
    # The first layer has no layer before it.
    assert (sums.s[0] == 0).all()
    for draw, (_, permuted) in enumerate(by_hand(table, table["position"].to_numpy() > 0, 5)):
        built = design_of(permuted, settings)
        if not moves:
            real = design_of(table, settings)
            built = changed(built, {name: real[name] for name in ("toy_1", "toy_2")})
        rows = built.select([*(f"layer_01.{term}" for term in of_layers), *sums.terms[4:]])
        rows = rows.to_pandas()
        if fixed_effects == "document":
            rows -= rows.groupby(built["document"].to_pandas()).transform("mean")
        else:
            rows -= sums.centre[1, 1:]
        assert_allclose(sums.s[1, 1 + draw][1:, 1:], rows.T @ rows, atol=1e-9)
