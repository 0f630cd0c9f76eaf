"""The regressions across layers against statsmodels, one at a time."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from designs import effects_table, norms_table
from oracles import cr2, ols
from stage_settings import ELASTICITIES

from attnlag.interventions import cross_layer, effect_tables
from attnlag.storage import tables

LAYERS, LAGS = 3, 2


@pytest.fixture(scope="module")
def documents():
    """Log norms of six documents in windows of unequal lengths, related to those before."""
    rng = np.random.default_rng(4)
    found = []
    for size in (30, 12, 50, 2, 21, 40):
        noise = rng.normal(size=(LAYERS, size)) + rng.normal(size=(LAYERS, 1))
        noise[1:, 1:] += 0.6 * noise[:-1, :-1]
        found.append(np.split(noise + 5, [size // 3], axis=1))
    # A norm of zero: its rows are left out.
    found[0][1][1, 4] = np.nan
    return found


def rows_of(documents):
    """Return log norms by document, window and token, a column for each layer, and their shift."""
    windows = {
        (d, w): pd.DataFrame(a.T) for d, ws in enumerate(documents) for w, a in enumerate(ws)
    }
    rows = pd.concat(windows, names=["document", "window"])
    return rows, rows.groupby(["document", "window"]).shift


def found_in(documents, targets, lags=LAGS):
    return cross_layer.cross_layer(lambda: (("", d, d) for d in documents), targets, lags)


def test_coefficients_and_errors_equal_those_of_statsmodels(documents):
    rows, shifted = rows_of(documents)
    usable = pd.concat([shifted(lag) for lag in range(LAGS + 1)], axis=1).notna().all(axis=1)
    table = found_in(documents, [0, 2]).set_index(["target_layer", "source_layer", "lag"])
    for (target, source, lag), row in table.iterrows():
        both = {"x": shifted(lag)[source], "own": rows[source]}
        x, y = pd.DataFrame(both)[usable], rows.loc[usable, target]
        for name, terms in (("predictive", ["x"]), ("predictive_given", ["x", "own"])):
            if (lag == 0 and name == "predictive_given") or (target == source and lag == 0):
                continue
            fit = sm.OLS(y, sm.add_constant(x[terms])).fit()
            assert row[name] == pytest.approx(fit.params["x"], rel=1e-9)
            v, _ = cr2(fit.model.endog, fit.model.exog, y.index.get_level_values("document"))
            assert row[f"{name}_std_error"] == pytest.approx(np.sqrt(v[1, 1]), rel=1e-9)
    assert np.isnan(table.loc[(2, 0, 0), "predictive_given"])
    assert table.loc[(2, 2, 0), "predictive"] == pytest.approx(1)
    # The shortest document gives no row.
    assert (table["predictive_df"] == 4).all()


def test_the_norms_are_read_from_the_files_of_all_shards(documents, tmp_path):
    paths = [tmp_path / name for name in ("0000.parquet", "0001.parquet")]
    for path, part in zip(paths, (documents[:2], documents[2:]), strict=True):
        # The first token of each sequence is dropped.
        sequences = {
            (f"{path.stem} {number}", window): np.pad(logs, [(0, 0), (1, 0)])
            for number, windows in enumerate(part)
            for window, logs in enumerate(windows)
        }
        lengths = {sequence: logs.shape[1] for sequence, logs in sequences.items()}
        norms = np.nan_to_num(np.exp(np.hstack(list(sequences.values()))))
        record = {"stages": {"tokens": {"shards": 2}}}
        tables.write_table(norms_table(lengths, norms), path, record)
    read = partial(cross_layer.pairs_in, {"attention": paths}, "attention", "attention", 1)
    found = cross_layer.cross_layer(read, [2], LAGS)
    pd.testing.assert_frame_equal(found, found_in(documents, [2]), rtol=1e-4, atol=1e-12)
    # Of 15 tokens of a document, 11 are of its first window; one of each window is dropped.
    for tokens, lengths in ((15, [10, 3]), (5, [4])):
        _, windows = next(cross_layer.documents_in(paths, 1, tokens))
        for part, whole, used in zip(windows, documents[0][: len(lengths)], lengths, strict=True):
            np.testing.assert_allclose(part, whole[:, :used], rtol=1e-4)
    # Effects in all documents are predicted by their first tokens; those in five, by too few.
    names = [name for name, _ in cross_layer.documents_in(paths, 1)]
    predicted = []
    for used in (names, names[1:]):
        rows = [(name, source, 2, 1, 5, 0.1) for name in used for source in (0, 1)]
        effects = effects_table(rows).assign(upos=None)
        made = effect_tables.tables_of(effects, 15, {"attention": paths}, {}, ELASTICITIES)
        predicted += made["total_effects"]["predicted"].tolist()
    beginnings = [(windows, windows) for _, windows in cross_layer.documents_in(paths, 1, 15)]
    expected = cross_layer.together(beginnings, 2, 1)[0]
    assert predicted == pytest.approx([expected, np.nan], nan_ok=True)


def test_all_layers_before_a_target_predict_it_together():
    """The sum of their coefficients, its CR2 error and degrees of freedom, by direct matrices."""
    rng = np.random.default_rng(1)
    documents = [[rng.normal(size=(4, size)) + rng.normal()] for size in (12, 20, 9, 30, 16, 25, 8)]
    documents[3] = np.split(documents[3][0], [11], axis=1)
    documents[1][0][2, 5] = np.nan
    rows, shifted = rows_of(documents)
    both = shifted(2)[[0, 1, 2]].assign(y=rows[3]).dropna()
    within = (both - both.groupby("document").transform("mean")).to_numpy()
    x, y = within[:, :3], within[:, 3]
    covariance, (df,) = cr2(y, x, both.index.get_level_values("document"), [np.ones(3)])
    expected = ols(y, x).sum(), np.sqrt(covariance.sum()), df
    found = cross_layer.together(((d, d) for d in documents), 3, 2)
    assert found == pytest.approx(expected, rel=1e-10)
    # No layer comes before the first, and few documents have no error.
    for pairs, target in ((documents, 0), (documents[:5], 3)):
        assert np.isnan(cross_layer.together(((d, d) for d in pairs), target, 2)).all()
    # Windows that are shorter than the lag give no rows.
    short = [[window[:, :2] for window in windows] for windows in documents]
    assert np.isnan(cross_layer.together(((d, d) for d in short), 3, 3)).all()


def test_what_does_not_vary_predicts_nothing_and_what_is_too_short_gives_no_rows():
    rng = np.random.default_rng(0)
    documents = [[np.stack([np.full(20, 2.0), rng.normal(size=20)])] for _ in range(3)]
    assert found_in(documents, [1], 1)["predictive"].isna().tolist() == [True, True, False, False]
    assert found_in([[np.ones((2, 2))]], [1], 4).empty
