"""The permutation null against every permutation there is, and against a literal redrawing."""

from itertools import permutations, product

import numpy as np
import pyarrow as pa
import pytest
import statsmodels.api as sm

from attnlag.adjustments.columns import KEYS, layer_name
from attnlag.regression import covariates, permutation
from attnlag.regression.covariates import CorpusFacts
from attnlag.regression.crossproducts import unpacked
from attnlag.regression.specification import Specification


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


FACTS = CorpusFacts(
    log_frequency=np.log([0.1, 0.4, 0.2, 0.3]),
    documents=pa.array(["a", "b", "c"]),
    groups=["x", "y"],
    group_of_document=np.array([0, 1, 1]),
)
SPECIFICATIONS = {
    "lags": Specification(lags=(1, 2)),
    "leads": Specification(lags=(2,), leads=(1,), drop_first=0),
    "covariates": Specification(
        lags=(1,), covariates=("position", "log_frequency", "previous_layer"), knots=(1, 2, 4)
    ),
}


def sums_of(table, specification, draws=3, seed=0, fixed_effects=False, rows=10**6):
    return permutation.accumulate(
        table.to_batches(rows),
        specification,
        FACTS,
        draws=draws,
        seed=seed,
        fixed_effects=fixed_effects,
    )


def literal_products(table, specification, layer, orders, centre, fixed_effects):
    """Return Σ w w' of a layer when the tokens of each document stand in another order.

    ``orders`` has for each document the places of its tokens, dropped ones excluded.
    """
    frame = table.to_pandas()
    logs = np.log(frame[[layer_name(i) for i in range(2)]].to_numpy())
    frequency = FACTS.log_frequency[frame["token_id"]]
    own = logs.copy()
    seen = frequency.copy()
    for places, order in orders:
        own[places], seen[places] = logs[order], frequency[order]
    spline = covariates.position_spline(frame["position"].to_numpy(), specification.knots)
    rows, names = [], []
    for t in range(len(frame)):
        w = [1.0]
        cells = specification.cells
        offsets = [cell.offset for cell in cells.values()]
        first = frame["position"][t] + min(offsets) >= specification.drop_first
        last = t + max(offsets)
        same = last < len(frame) and (
            frame["position"][last] == frame["position"][t] + max(offsets)
        )
        if not (first and same):
            continue
        w += [own[t + cell.offset, layer - cell.layers_before] for cell in cells.values()]
        if "position" in specification.covariates:
            w += spline[:, t].tolist()
        if "log_frequency" in specification.covariates:
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
@pytest.mark.parametrize("kind", SPECIFICATIONS)
def test_the_expectation_is_the_mean_over_all_permutations(kind, fixed_effects):
    specification = SPECIFICATIONS[kind]
    # Two windows of one document, and another document.
    table = norms_table([("a", 4), ("a", 3), ("b", 4)])
    sums = sums_of(table, specification, fixed_effects=fixed_effects)
    positions = table["position"].to_numpy()
    documents = np.array(table["document"].to_pylist())
    kept = [
        np.flatnonzero((positions >= specification.drop_first) & (documents == name))
        for name in "ab"
    ]
    if specification.drop_first == 0:
        # 7! orders are too many: b alone.
        kept = [kept[1]]
        table = table.slice(7)
        kept = [kept[0] - 7]
        sums = sums_of(table, specification, fixed_effects=fixed_effects)
    layer = 1
    total, count = 0, 0
    for orders in product(*(permutations(places) for places in kept)):
        pairs = [(places, np.array(order)) for places, order in zip(kept, orders, strict=True)]
        total = total + literal_products(
            table, specification, layer, pairs, sums.centre[layer], fixed_effects
        )
        count += 1
    expected = total / count
    p = len(expected)
    found = unpacked(sums.products[1, layer], p)
    observed = literal_products(table, specification, layer, [], sums.centre[layer], fixed_effects)
    np.testing.assert_allclose(found[0, 0], expected[0, 0])
    inner = slice(1, None) if fixed_effects else slice(None)
    np.testing.assert_allclose(found[inner, inner], expected[inner, inner], atol=1e-10)
    np.testing.assert_allclose(
        unpacked(sums.products[0, layer], p)[inner, inner], observed[inner, inner], atol=1e-10
    )


def test_draws_are_those_of_the_named_documents():
    specification = SPECIFICATIONS["covariates"]
    table = norms_table([("a", 9), ("a", 6), ("b", 12)])
    sums = sums_of(table, specification, draws=4, seed=3)
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
        expected = literal_products(table, specification, 1, pairs, sums.centre[1], False)
        found = unpacked(sums.products[2 + draw, 1], len(expected))
        np.testing.assert_allclose(found, expected, atol=1e-10)
    # The first layer has no layer before it.
    assert (sums.products[:, 0] == 0).all()


@pytest.mark.parametrize("fixed_effects", [False, True])
@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_batches_and_shards_change_nothing(rows, fixed_effects):
    specification = SPECIFICATIONS["lags"]
    sequences = [("a", 9), ("a", 6), ("b", 12), ("c", 2), ("d", 8)]
    table = norms_table(sequences)
    options = {"fixed_effects": fixed_effects, "draws": 20}
    whole = permutation.null_of(sums_of(table, specification, **options))
    parts = [table.slice(0, 15), table.slice(15)]
    sums = permutation.merged(
        [sums_of(part, specification, rows=rows, **options) for part in parts]
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
    specification = SPECIFICATIONS["lags"]
    whole = permutation.null_of(sums_of(table, specification, draws=20))
    parts = [
        sums_of(table.slice(start, 90), specification, draws=20) for start in range(0, 540, 90)
    ]
    alone = permutation.null_of(permutation.merged(parts))
    np.testing.assert_allclose(alone.draws, whole.draws, rtol=1e-8)


def test_the_observed_coefficients_are_those_of_statsmodels():
    table = norms_table([("a", 30), ("b", 25)], seed=4)
    null = permutation.null_of(sums_of(table, SPECIFICATIONS["lags"]))
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
    sums = sums_of(table, SPECIFICATIONS["lags"])
    # Positions 3 to 11 less the outcomes 5, 6 and 7; and 3 to 8.
    assert sums.products[:, :, 0].tolist() == [[12, 12]] * 5
    dead = table.set_column(4, "layer_00", pa.array([0.0] * 21))
    sums = sums_of(dead, SPECIFICATIONS["lags"])
    assert sums.products[0, :, 0].tolist() == [0, 15]
    null = permutation.null_of(sums)
    assert [s.status for s in null.solutions] == ["0 rows for 3 terms", "ok"]
    tidy = permutation.coefficients(null, [0, 1], alpha=0.05, adjust="holm")
    assert tidy["p_value"].isna().tolist() == [True] * 3 + [False] * 3


def test_differences_between_documents_read_as_dynamics_and_the_null_says_how_much():
    """White noise around document means: a lag predicts well, and so it does in the null."""
    names = [f"d{i}" for i in range(30)]
    level = dict(zip(names, np.random.default_rng(1).normal(size=30), strict=True))
    table = norms_table([(name, 40) for name in names], level=level)
    pooled, within = (
        permutation.null_of(sums_of(table, SPECIFICATIONS["lags"], draws=99, fixed_effects=effects))
        for effects in (False, True)
    )
    tidy = permutation.coefficients(pooled, [0, 1], alpha=0.05, adjust="max-t")
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

    sums = sums_of(norms_table([("a", 9), ("b", 7)]), SPECIFICATIONS["lags"])
    path = tmp_path / "p.parquet"
    record = {"permutations": permutation.record_of(sums)}
    tables.write_table(permutation.to_table(sums), path, record)
    again = permutation.read_sums(path)
    for name, value in vars(sums).items():
        np.testing.assert_array_equal(getattr(again, name), value)
