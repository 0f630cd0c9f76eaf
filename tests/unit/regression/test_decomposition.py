"""Removing effects of many levels in steps, against dummies in statsmodels."""

from itertools import compress

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from designs import changed, design_of, design_settings
from numpy.testing import assert_allclose
from oracles import cr2, dummies_of, lags_of, ols
from scipy import stats

from attnlag.errors import UserError
from attnlag.quantities.columns import KEYS
from attnlag.regression.design import samples
from attnlag.regression.slopes import absorbing, decomposition
from attnlag.regression.slopes.absorbing import Effects
from attnlag.regression.slopes.decomposition import EFFECTS, POOLED
from attnlag.storage import tables

LEADS = ["lead_1", "lead_3"]


def written(tokens, folder, number):
    """Write the design and the properties of a shard; return both, and the rows of each layer.

    The first token of a sequence gives a row, and has none before it. A norm of the second layer is
    zero, and so are all of the last one.
    """
    own = pc.is_in(tokens[0]["document"], pa.array([f"d{5 * number + i}" for i in range(5)]))
    table = tokens[0].filter(own).unify_dictionaries().combine_chunks().select([*KEYS, "upos"])
    frame = table.to_pandas().astype({"document": str}).rename(columns={"token_id": "token"})
    level, random = frame["token"] / 9 + (frame["upos"] == "VERB"), np.random.default_rng(number)
    norms = np.exp(level.to_numpy() + random.normal(size=(4, len(frame))))
    norms[1, 30] = norms[3] = 0
    paths = [folder / f"{kind}_{number}.parquet" for kind in ("design", "properties")]
    of_layers = {f"layer_{layer:02d}": values for layer, values in enumerate(norms)}
    settings = design_settings(leads=(1, 3), drop_first=0)
    design = design_of(changed(table.drop_columns("upos"), of_layers), settings)
    for each, path in zip((design, table), paths, strict=True):
        pq.write_table(each, path)
    sequence = [frame["document"], frame["window"]]
    for name in ("upos", "token"):
        before = frame.groupby(sequence)[name].shift()
        frame[f"{name}_previous"] = before.astype(object).fillna("none")
    logs = np.log(np.where(norms > 0, norms, np.nan))
    rows = [lags_of(pd.Series(values), sequence, leads=(1, 3)).join(frame) for values in logs]
    return *paths, [of_layer.dropna() for of_layer in rows]


@pytest.fixture
def shards(tokens, tmp_path):
    """Return the designs of two shards, their properties, and the rows of each layer."""
    *paths, rows = zip(*(written(tokens, tmp_path, number) for number in (0, 1)), strict=True)
    return *paths, [pd.concat(parts, ignore_index=True) for parts in zip(*rows, strict=True)]


def by_step(rows, layer=0):
    """Return the coefficients of each step in some rows of a layer."""
    factors = {name: pd.factorize(rows[name])[0] for name in EFFECTS}
    values = rows[["y", *LEADS]].to_numpy().T
    return decomposition.coefficients_by_step(values[None], factors, [layer], LEADS, 0.05)


@pytest.mark.parametrize("entered", range(len(EFFECTS) + 1))
def test_each_step_is_the_regression_with_dummies(shards, entered):
    """The tokens before tell their parts of speech."""
    data = shards[2][0]
    data["upos_previous"] = pd.factorize(data["token_previous"])[0] % 4
    names = EFFECTS[:entered]
    # The dummies of the parts of speech before are sums of those of the tokens before.
    told = [name for name in names if not (name == "upos_previous" and entered == 5)]
    levels = [dummies_of(pd.factorize(data[name])[0])[:, 1:] for name in told]
    x = np.column_stack([data[LEADS], np.ones(len(data)), *levels])
    y = data["y"].to_numpy()
    estimate = ols(y, x)
    found = by_step(data)
    assert found["step"].unique().tolist() == [POOLED, *EFFECTS]
    rows = found[found["step"] == (names[-1] if names else POOLED)].set_index("term")
    assert_allclose(rows.loc[LEADS, "estimate"], estimate[:2], atol=1e-8)
    assert_allclose(rows["r_squared"], 1 - np.var(y - x @ estimate) / np.var(y), atol=1e-9)
    v, (df,) = cr2(y, x, data["document"], [np.eye(len(estimate))[0]])
    # Only the number of effects across documents counts, and not their leverage.
    close = 1e-7 if entered < 2 else 0.2
    row = rows.loc["lead_1"]
    assert row["std_error"] == pytest.approx(np.sqrt(v[0, 0]), rel=close)
    times = stats.t.ppf(0.975, df)
    assert row["conf_high"] - row["estimate"] == pytest.approx(times * row["std_error"], rel=close)


def test_effects_that_do_not_converge_are_told_in_a_sentence(monkeypatch):
    """Documents that share one token each with the next form a chain, the slowest of graphs."""
    monkeypatch.setattr(absorbing, "MAX_STEPS", 50)
    document = np.repeat(np.arange(200), 2)
    token = (np.arange(400) + 1) // 2
    values = np.random.default_rng(0).normal(size=(400, 2))
    said = r"2 factors \(401 levels\) did not converge: after 50 steps .* off by .* expected 1e-10"
    with pytest.raises(UserError, match=said):
        Effects([document, token]).residuals(values)


def test_a_disconnected_graph_of_levels_has_the_rank_of_its_dummies():
    one = np.array([0, 0, 1, 1, 2, 2, 2])
    two = np.array([5, 6, 6, 5, 8, 9, 9])
    dummies = np.hstack([dummies_of(one), dummies_of(two)])
    assert Effects([one, two]).rank() == np.linalg.matrix_rank(dummies)
    # A factor that another one tells adds nothing.
    assert Effects([one, two, two > 7]).rank() == np.linalg.matrix_rank(dummies)
    three = [0, 1, 1, 2, 0, 1, 2]
    with_three = np.hstack([dummies, dummies_of(three)])
    assert Effects([one, two, np.array(three)]).rank() == np.linalg.matrix_rank(with_three)
    values = np.random.default_rng(0).normal(size=(7, 3))
    left = values - dummies @ ols(values, dummies)
    assert Effects([one, two]).residuals(values) == pytest.approx(left, abs=1e-8)


def test_effects_of_tokens_are_removed_over_all_shards_in_layers_with_rows(shards, monkeypatch):
    """The whole computation from files, against that of the rows of each layer."""
    designs, properties, frames = shards
    found, _ = decomposition.decomposed(designs, properties, 0.05)
    assert found["layer"].is_monotonic_increasing
    whole = found.set_index(["layer", "step", "term"])
    for layer, rows in enumerate(frames[:3]):
        expected = by_step(rows, layer).set_index(["layer", "step", "term"])
        assert whole.loc[[layer]].index.equals(expected.index)
        pd.testing.assert_frame_equal(whole.loc[[layer], expected.columns], expected, rtol=1e-8)
        assert (expected[["n_obs", "n_documents"]] == [len(rows), 10]).all(axis=None)
    dead = found[found["layer"] == 3]
    assert found.groupby("layer")["estimate"].count().tolist() == [12, 12, 12, 0]
    assert (dead[decomposition.STEP_COUNTS] == 0).all(axis=None)
    assert len(dead) == 12
    # However many layers are in memory at once.
    monkeypatch.setattr(decomposition, "VARIABLES_BYTES", 1)
    one, _ = decomposition.decomposed(designs, properties, 0.05)
    pd.testing.assert_frame_equal(one, found, rtol=1e-9)


def test_beyond_a_number_of_rows_a_sample_of_whole_documents_is_decomposed(
    shards, tmp_path, monkeypatch
):
    """The numbers are those of a design that holds the sampled documents alone."""
    monkeypatch.setattr(samples, "MIN_SAMPLED", 3)
    designs, properties, _ = shards
    rows = tables.row_count(designs)
    found, sample_end = decomposition.decomposed(designs, properties, 0.05, most_rows=rows // 2)
    assert found["sampled"].all()
    names = [f"d{number}" for number in range(10)]
    kept = list(compress(names, samples.in_sample(names, sample_end)))
    alone = [
        samples.copied(paths, kept, tmp_path / kind)
        for kind, paths in (("designs", designs), ("properties", properties))
    ]
    assert tables.row_count(alone[0]) <= rows // 2
    expected, _ = decomposition.decomposed(*alone, 0.05)
    assert 3 <= expected["n_documents"].max() < 10
    pd.testing.assert_frame_equal(
        found.drop(columns="sampled"), expected.drop(columns="sampled"), rtol=1e-9
    )


def test_documents_are_sampled_without_reading_a_column_whole(tmp_path):
    names, rows = pa.array([f"d{i}" for i in range(100)]), 400_000
    codes = np.repeat(np.arange(100, dtype=np.int32), rows // 100)
    table = pa.table({"document": pa.DictionaryArray.from_arrays(codes, names)})
    pq.write_table(table, tmp_path / "0000.parquet", row_group_size=rows // 4)
    pool, default = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    sample = samples.Sample([tmp_path / "0000.parquet"], most=rows * 6 // 10)
    pa.set_memory_pool(default)
    assert (len(sample.documents), len(sample.rows)) == (60, rows * 6 // 10)
    assert 0 < pool.max_memory() < codes.nbytes


def test_documents_without_parts_of_speech_are_left_out(shards):
    designs, properties, frames = shards
    whole = pq.read_table(properties[1])
    untagged = np.isin(whole["document"].to_pylist(), ["d6", "d8"])
    tags = np.where(untagged, "none", whole["upos"].to_pylist())
    pq.write_table(changed(whole, {"upos": tags}), properties[1])
    found, _ = decomposition.decomposed(designs, properties, 0.05)
    rows = frames[0][~frames[0]["document"].isin(["d6", "d8"])]
    own, expected = found[found["layer"] == 0], by_step(rows)
    pd.testing.assert_frame_equal(own[expected.columns], expected, rtol=1e-8)
    assert set(found["n_documents"]) == {8, 0}
    # Without any parts of speech, all documents stay.
    for path in properties:
        table = pq.read_table(path)
        pq.write_table(changed(table, {"upos": ["none"] * len(table)}), path)
    found, _ = decomposition.decomposed(designs, properties, 0.05)
    assert set(found["n_documents"]) == {10, 0}


def test_without_more_rows_than_effects_there_are_no_coefficients():
    random = np.random.default_rng(1)
    nothing = np.zeros(12, int)
    factors = dict.fromkeys(EFFECTS, nothing) | {
        "document": np.repeat([0, 1, 2], 4),
        # One of eight tokens is in all three documents: ten effects, two lags, twelve rows.
        "token": np.array([0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 1, 2]),
    }
    values = random.normal(size=(1, 3, 12))
    found = decomposition.coefficients_by_step(values, factors, [0], LEADS, 0.05)
    assert found["effects"].tolist() == [1, 1] + [3] * 6 + [10] * 4
    assert found["estimate"].isna().tolist() == [False] * 8 + [True] * 4
    assert found["std_error"].isna().tolist() == [False] * 8 + [True] * 4
