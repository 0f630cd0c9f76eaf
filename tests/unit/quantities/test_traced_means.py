"""Means over tokens of what adjustments are written by, and their lags, one document at a time."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from designs import HEADS, norms_table
from fits import lags_of_norms
from oracles import mean_of

from attnlag.quantities import traced_means
from attnlag.quantities.traced_tables import SOURCE_CLASSES, TARGETS
from attnlag.regression.slopes import lags_of_parts

LENGTHS = (30, 24, 41, 19, 33, 27, 38)
LAYERS = (3, 7)


def rows_of(seed):
    """Return rows of two layers, by token: a document's cosines and effects resemble each other."""
    random = np.random.default_rng(seed)
    names = [f"d{number}" for number in range(len(LENGTHS))]
    keys = norms_table({(name, 0): n for name, n in zip(names, LENGTHS, strict=True)})
    rows = keys.to_pandas().merge(pd.DataFrame({"layer": LAYERS}), how="cross")
    columns = [*traced_means.SOURCE_NAMES, *(f"attention_{name}" for name in SOURCE_CLASSES)]
    columns += [*TARGETS, *(f"{name}_control" for name in TARGETS)]
    of_document = random.normal(size=(len(names), len(columns)))[pd.factorize(rows["document"])[0]]
    values = of_document + random.normal(size=of_document.shape) + rows[["layer"]].to_numpy()
    values[random.random(values.shape) < 0.02] = np.nan
    norms = np.exp(random.normal(size=(len(rows), 3)).cumsum(axis=0) / 20)
    values = np.hstack([values, norms]).astype(np.float32)
    rows = rows.join(pd.DataFrame(values, columns=[*columns, *lags_of_parts.NORMS.values()]))
    # Documents come in the order of the corpus, not of their names.
    order = pd.CategoricalDtype(names[::-1])
    rows["document"] = rows["document"].astype(str).astype(order)
    return rows.sort_values("document", kind="stable", ignore_index=True)


@pytest.fixture(scope="module")
def rows():
    return rows_of(0)


@pytest.fixture(scope="module")
def random():
    return rows_of(1)


def used(rows, values, layer):
    """Return the values of a layer that are known, without first tokens, and their documents."""
    kept = (rows["layer"] == layer) & (rows["position"] >= 1) & values.notna()
    return values[kept].astype(float), rows.loc[kept, "document"].astype(str)


def check(row, rows, values, name="mean"):
    values, documents = used(rows, values, row["layer"])
    expected = mean_of(values, documents, 0.1)
    expected[name] = expected.pop("mean")
    assert row[list(expected)].to_dict() == pytest.approx(expected, rel=1e-9)
    assert (row["tokens"], row["documents"]) == (len(values), documents.nunique())
    return values


def test_shares_are_means_clustered_by_document(rows, random):
    table = traced_means.shares(rows, random, 1, 0.1)
    assert table["layer"].tolist() == np.repeat(LAYERS, len(traced_means.SOURCE_NAMES)).tolist()
    assert table["source"].tolist() == traced_means.SOURCE_NAMES * 2
    for _, row in table.iterrows():
        source = row["source"]
        values = check(row, rows, rows[source])
        assert row["median"] == pytest.approx(values.median())
        untrained = used(random, random[source], row["layer"])[0].mean()
        assert row["untrained"] == pytest.approx(untrained)
        if source in SOURCE_CLASSES:
            attention = used(rows, rows[f"attention_{source}"], row["layer"])[0].mean()
            assert row["attention"] == pytest.approx(attention)
    assert table.loc[table["source"] == "bias", "attention"].isna().all()
    assert traced_means.shares(rows, None, 1, 0.1)["untrained"].isna().all()
    assert traced_means.shares(rows[:0], None, 1, 0.1).empty


def test_effects_on_targets_are_less_those_on_targets_of_another_place(rows, random):
    table = traced_means.readout(rows, random, 1, 0.1)
    apart = table[table["target"] == traced_means.NEXT_LESS_OWN]
    own, other = (rows[name] - rows[f"{name}_control"] for name in ("own", "next"))
    for _, row in apart.iterrows():
        check(row, rows, other - own, "difference")
        # The interval at the level of the p-value ends at zero.
        same = traced_means.readout(rows, random, 1, row["p_value"]).loc[row.name]
        assert min(abs(same["conf_low"]), abs(same["conf_high"])) == pytest.approx(0, abs=1e-9)
    for _, row in table.drop(apart.index).iterrows():
        effect, control = rows[row["target"]], rows[f"{row['target']}_control"]
        check(row, rows, effect - control, "difference")
        for name, values in (("mean", effect), ("control", control)):
            values = values.where(effect.notna() & control.notna())
            expected = used(rows, values, row["layer"])[0].mean()
            assert row[name] == pytest.approx(expected)
        untrained = random[row["target"]] - random[f"{row['target']}_control"]
        expected = used(random, untrained, row["layer"])[0].mean()
        assert row["untrained"] == pytest.approx(expected)


def test_lags_of_what_is_written_are_those_of_its_log_norms(rows, random):
    """Each part of a layer is regressed as if it were a layer."""
    table = lags_of_parts.fit_sources(rows, random, HEADS)
    cells = list(product(lags_of_parts.NORMS, LAYERS))
    assert [*zip(table["part"], table["layer"], strict=True)][::2] == cells

    def like_layers(own):
        layers = dict(iter(own.groupby("layer")))
        norms = [layers[layer][lags_of_parts.NORMS[part]] for part, layer in cells]
        return lags_of_norms(layers[LAYERS[0]]["document"], norms)

    expected = like_layers(rows).drop(columns=["layer", "rows"])
    pd.testing.assert_frame_equal(table[expected.columns], expected, rtol=1e-6)
    assert table["untrained"].to_numpy() == pytest.approx(like_layers(random)["estimate"])
