"""The permutation null against every permutation there is, and against a literal redrawing."""

from itertools import permutations, product

import numpy as np
import pyarrow as pa
import pytest
import statsmodels.api as sm
from designs import design_settings

from attnlag.adjustments.columns import KEYS, layer_name
from attnlag.regression import covariates, design, permutation
from attnlag.regression.crossproducts import unpacked


def norms_table(sequences, layers=2, seed=0, level=None):
    """Return norms of sequences, given as (document, tokens) pairs."""
    random = np.random.default_rng(seed)
    rows = {key: [] for key in KEYS}
    windows = {}
    for document, tokens in sequences:
        window = windows[document] = windows.get(document, -1) + 1
        rows["document"] += [document] * tokens
        rows["window"] += [window] * tokens
        rows["position"] += list(range(tokens))
        rows["token_id"] += random.integers(0, 4, tokens).tolist()
    count = len(rows["window"])
    values = random.normal(size=(layers, count))
    if level is not None:
        values += np.array([level[document] for document in rows["document"]])
    columns = {
        "document": pa.array(rows["document"], pa.string()).dictionary_encode(),
        **{key: pa.array(rows[key], pa.int32()) for key in KEYS[1:]},
        **{layer_name(i): pa.array(np.exp(v)) for i, v in enumerate(values)},
    }
    return pa.table(columns)


FREQUENCY = np.log([0.1, 0.4, 0.2, 0.3])
FACTS = {"log_frequency": FREQUENCY}
DESIGNS = {
    "lags": design_settings(lags=(1, 2)),
    "leads": design_settings(lags=(2,), leads=(1,), drop_first=0),
    "covariates": design_settings(
        lags=(1,),
        covariates=("position", "log_frequency", "previous_layer"),
        position_knots=(1, 2, 4),
    ),
}


def sums_of(table, settings, draws=3, seed=0, fixed_effects=False, rows=10**6):
    return permutation.permuted_products(
        table.to_batches(rows),
        settings,
        FACTS,
        draws=draws,
        seed=seed,
        fixed_effects=fixed_effects,
    )


def literal_products(table, settings, layer, orders, centre, fixed_effects):
    """Return Σ w w' of a layer when the tokens of each document stand in another order.

    ``orders`` has for each document the places of its tokens, dropped ones excluded.
    """
    frame = table.to_pandas()
    logs = np.log(frame[[layer_name(i) for i in range(2)]].to_numpy())
    frequency = FREQUENCY[frame["token_id"]]
    own = logs.copy()
    seen = frequency.copy()
    for places, order in orders:
        own[places], seen[places] = logs[order], frequency[order]
    spline = covariates.position_spline(frame["position"].to_numpy(), settings.position_knots)
    rows, names = [], []
    for t in range(len(frame)):
        w = [1.0]
        cells = design.cells_of(settings)
        offsets = [cell.offset for cell in cells.values()]
        first = frame["position"][t] + min(offsets) >= settings.drop_first
        last = t + max(offsets)
        same = last < len(frame) and (
            frame["position"][last] == frame["position"][t] + max(offsets)
        )
        if not (first and same):
            continue
        w += [own[t + cell.offset, layer - cell.layers_before] for cell in cells.values()]
        if "position" in settings.covariates:
            w += spline[:, t].tolist()
        if "log_frequency" in settings.covariates:
            w.append(seen[t])
        rows.append(np.array(w) - centre)
        names.append(frame["document"][t])
    rows = np.array(rows)
    if fixed_effects:
        names = np.array(names)
        for name in set(names):
            rows[names == name, 1:] -= rows[names == name, 1:].mean(axis=0)
    return rows.T @ rows


@pytest.mark.parametrize("fixed_effects", [False, True])
@pytest.mark.parametrize("kind", DESIGNS)
def test_the_expectation_is_the_mean_over_all_permutations(kind, fixed_effects):
    settings = DESIGNS[kind]
    # Two windows of one document, and another document.
    table = norms_table([("a", 4), ("a", 3), ("b", 4)])
    sums = sums_of(table, settings, fixed_effects=fixed_effects)
    positions = table["position"].to_numpy()
    documents = np.array(table["document"].to_pylist())
    kept = [
        np.flatnonzero((positions >= settings.drop_first) & (documents == name)) for name in "ab"
    ]
    if settings.drop_first == 0:
        # 7! orders are too many: b alone.
        kept = [kept[1]]
        table = table.slice(7)
        kept = [kept[0] - 7]
        sums = sums_of(table, settings, fixed_effects=fixed_effects)
    layer = 1
    total, count = 0, 0
    for orders in product(*(permutations(places) for places in kept)):
        pairs = [(places, np.array(order)) for places, order in zip(kept, orders, strict=True)]
        total = total + literal_products(
            table, settings, layer, pairs, sums.centre[layer], fixed_effects
        )
        count += 1
    expected = total / count
    p = len(expected)
    found = unpacked(sums.products[1, layer], p)
    observed = literal_products(table, settings, layer, [], sums.centre[layer], fixed_effects)
    np.testing.assert_allclose(found[0, 0], expected[0, 0])
    inner = slice(1, None) if fixed_effects else slice(None)
    np.testing.assert_allclose(found[inner, inner], expected[inner, inner], atol=1e-10)
    np.testing.assert_allclose(
        unpacked(sums.products[0, layer], p)[inner, inner], observed[inner, inner], atol=1e-10
    )


def test_draws_are_those_of_the_named_documents():
    settings = DESIGNS["covariates"]
    table = norms_table([("a", 9), ("a", 6), ("b", 12)])
    sums = sums_of(table, settings, draws=4, seed=3)
    positions = table["position"].to_numpy()
    documents = np.array(table["document"].to_pylist())
    for draw in range(4):
        pairs = []
        for name in "ab":
            places = np.flatnonzero(documents == name)
            keys = permutation.keys_of_draws(name, len(places), 4, 3)[draw]
            moves = positions[places] >= 1
            places, keys = places[moves], keys[moves]
            pairs.append((places, places[np.argsort(keys)]))
        expected = literal_products(table, settings, 1, pairs, sums.centre[1], False)
        found = unpacked(sums.products[2 + draw, 1], len(expected))
        np.testing.assert_allclose(found, expected, atol=1e-10)
    # The first layer has no layer before it.
    assert (sums.products[:, 0] == 0).all()


@pytest.mark.parametrize("fixed_effects", [False, True])
@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_batches_and_shards_change_nothing(rows, fixed_effects):
    settings = DESIGNS["lags"]
    sequences = [("a", 9), ("a", 6), ("b", 12), ("c", 2), ("d", 8)]
    table = norms_table(sequences)
    options = {"fixed_effects": fixed_effects, "draws": 20}
    whole = permutation.null_of(sums_of(table, settings, **options))
    parts = [table.slice(0, 15), table.slice(15)]
    sums = permutation.merged_products(
        [sums_of(part, settings, rows=rows, **options) for part in parts]
    )
    null = permutation.null_of(sums)
    for name in ("observed", "expected", "draws"):
        np.testing.assert_allclose(getattr(null, name), getattr(whole, name), rtol=1e-8)
    assert sums.documents.tolist() == [3, 3]


def test_tokens_with_equal_keys_do_not_change_places_with_what_lies_around(monkeypatch):
    drawn = permutation.keys_of_draws
    monkeypatch.setattr(
        permutation, "keys_of_draws", lambda *arguments: np.floor(20 * drawn(*arguments)) / 20
    )
    table = norms_table([(name, 90) for name in "abcdef"])
    settings = DESIGNS["lags"]
    whole = permutation.null_of(sums_of(table, settings, draws=20))
    parts = [sums_of(table.slice(start, 90), settings, draws=20) for start in range(0, 540, 90)]
    alone = permutation.null_of(permutation.merged_products(parts))
    np.testing.assert_allclose(alone.draws, whole.draws, rtol=1e-8)


def test_the_observed_coefficients_are_those_of_statsmodels():
    table = norms_table([("a", 30), ("b", 25)], seed=4)
    null = permutation.null_of(sums_of(table, DESIGNS["lags"]))
    frame = table.to_pandas()
    logs = np.log(frame["layer_01"].to_numpy())
    t = np.flatnonzero(frame["position"] >= 3)
    x = sm.add_constant(np.column_stack([logs[t - 1], logs[t - 2]]))
    np.testing.assert_allclose(null.observed[1], sm.OLS(logs[t], x).fit().params, rtol=1e-9)


def test_tokens_without_a_norm_stay_out_in_all_layers():
    table = norms_table([("a", 12), ("b", 9)])
    broken = table["layer_00"].to_pylist()
    broken[5] = 0.0
    table = table.set_column(4, "layer_00", pa.array(broken))
    sums = sums_of(table, DESIGNS["lags"])
    # Positions 3 to 11 less the outcomes 5, 6 and 7; and 3 to 8.
    assert sums.products[:, :, 0].tolist() == [[12, 12]] * 5
    dead = table.set_column(4, "layer_00", pa.array([0.0] * 21))
    sums = sums_of(dead, DESIGNS["lags"])
    assert sums.products[0, :, 0].tolist() == [0, 15]
    null = permutation.null_of(sums)
    assert [s.status for s in null.solutions] == ["0 rows for 3 terms", "ok"]
    tidy = permutation.null_coefficients(null, [0, 1], alpha=0.05, adjust="holm")
    assert tidy["p_value"].isna().tolist() == [True] * 3 + [False] * 3


def test_differences_between_documents_read_as_dynamics_and_the_null_says_how_much():
    """White noise around document means: a lag predicts well, and so it does in the null."""
    names = [f"d{i}" for i in range(30)]
    level = dict(zip(names, np.random.default_rng(1).normal(size=30), strict=True))
    table = norms_table([(name, 40) for name in names], level=level)
    pooled, within = (
        permutation.null_of(sums_of(table, DESIGNS["lags"], draws=99, fixed_effects=effects))
        for effects in (False, True)
    )
    tidy = permutation.null_coefficients(pooled, [0, 1], alpha=0.05, adjust="max-t")
    lag = tidy[tidy["term"] == "lag_1"]
    assert (lag["estimate"] > 0.25).all()
    assert (lag["p_value"] > 0.01).all()
    assert (lag["conf_low"] < lag["estimate"]).all()
    assert (lag["conf_high"] > lag["estimate"]).all()
    assert (lag["p_adjusted"] >= lag["p_value"] - 1e-12).all()
    np.testing.assert_allclose(pooled.draws.mean(axis=0), pooled.expected, atol=0.02)
    np.testing.assert_allclose(within.draws.mean(axis=0), within.expected, atol=0.02)
    # Demeaning tilts the lags of unordered tokens below 0, by about 1 / T.
    assert (within.expected < 0).all()


def test_sums_survive_their_file(tmp_path):
    from attnlag.storage import tables

    sums = sums_of(norms_table([("a", 9), ("b", 7)]), DESIGNS["lags"])
    path = tmp_path / "p.parquet"
    record = {"permutations": permutation.record_of(sums)}
    tables.write_table(permutation.to_table(sums), path, record)
    again = permutation.read_products(path)
    for name, value in vars(sums).items():
        np.testing.assert_array_equal(getattr(again, name), value)


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("fixed_effects", [True, False])
def test_a_covariate_moves_with_its_token_where_the_catalogue_says_so(
    monkeypatch, moves, fixed_effects
):
    """Against the design of a corpus in which the tokens are exchanged by hand."""
    toy = covariates.TokenCovariate(
        description="a toy",
        terms=("toy_N",),
        moves=moves,
        constant_in_document=False,
        columns=lambda settings, facts: ["toy_1", "toy_2"],
        values=lambda keys, settings, facts: np.stack(
            [np.sqrt(keys["token_id"].to_numpy()), keys["token_id"].to_numpy() == 2]
        ).astype(float),
    )
    monkeypatch.setitem(covariates.CATALOGUE, "toy", toy)
    settings = design_settings(lags=(1,), covariates=("log_frequency", "toy"), position_knots=None)
    table = norms_table([("a", 30), ("b", 25)])
    draws = 5
    sums = sums_of(table, settings, draws=draws, fixed_effects=fixed_effects)
    assert sums.terms == ["y", "lag_1", "log_frequency", "toy_1", "toy_2"]

    for draw in range(draws):
        order = np.arange(table.num_rows)
        for name, start, length in (("a", 0, 30), ("b", 30, 25)):
            keys = permutation.keys_of_draws(name, length, draws, 0)[draw]
            order[start + 1 : start + length] = start + 1 + np.argsort(keys[1:])
        by_hand = table.take(order)
        for key in ("document", "window", "position"):
            by_hand = by_hand.set_column(by_hand.schema.names.index(key), key, table[key])
        (built,) = design.designs(by_hand.to_batches(), settings, design.Counts(), FACTS)
        if not moves:
            (real,) = design.designs(table.to_batches(), settings, design.Counts(), FACTS)
            for column in ("toy_1", "toy_2"):
                place = built.schema.names.index(column)
                built = built.set_column(place, column, real[column])
        names = ["layer_01.y", "layer_01.lag_1", *sums.terms[2:]]
        rows = built.select(names).to_pandas()
        if fixed_effects:
            rows -= rows.groupby(built["document"].to_pandas()).transform("mean")
        else:
            rows -= sums.centre[1, 1:]
        w = np.column_stack([np.ones(len(rows)), rows])
        found = unpacked(sums.products[2 + draw, 1], w.shape[1])
        np.testing.assert_allclose(found[1:, 1:], (w.T @ w)[1:, 1:], atol=1e-9)
    # The expectation is where the draws lie.
    many = sums_of(table, settings, draws=4000, fixed_effects=fixed_effects)
    drawn = many.products[2:, 1]
    away = (drawn.mean(axis=0) - many.products[1, 1]) / (drawn.std(axis=0) / 4000**0.5 + 1e-9)
    assert np.abs(away).max() < 5
