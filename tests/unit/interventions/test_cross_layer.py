"""The regressions across layers against statsmodels, one at a time."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from designs import norms_table
from oracles import cr2, ols

from attnlag.interventions import cross_layer
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


def frame(documents, source, target, lag):
    rows = []
    for number, windows in enumerate(documents):
        for window in windows:
            for t in range(LAGS, window.shape[1]):
                if np.isfinite(window[:, t - LAGS : t + 1]).all():
                    row = window[target, t], window[source, t - lag], window[source, t], number
                    rows.append(row)
    return pd.DataFrame(rows, columns=["y", "x", "own", "document"])


def test_coefficients_and_errors_equal_those_of_statsmodels(documents):
    found = cross_layer.cross_layer(lambda: (("", d, d) for d in documents), [0, 2], LAGS)
    table = found.set_index(["target_layer", "source_layer", "lag"])
    for (target, source, lag), row in table.iterrows():
        data = frame(documents, source, target, lag)
        for name, terms in (("predictive", ["x"]), ("predictive_given", ["x", "own"])):
            if (lag == 0 and name == "predictive_given") or (target == source and lag == 0):
                continue
            fit = sm.OLS(data["y"], sm.add_constant(data[terms])).fit()
            assert row[name] == pytest.approx(fit.params["x"], rel=1e-9)
            codes = data["document"].to_numpy()
            v, _ = cr2(fit.model.endog, fit.model.exog, codes)
            assert row[f"{name}_std_error"] == pytest.approx(np.sqrt(v[1, 1]), rel=1e-9)
    assert np.isnan(table.loc[(2, 0, 0), "predictive_given"])
    assert table.loc[(2, 2, 0), "predictive"] == pytest.approx(1)
    # The shortest document gives no row.
    assert (table["predictive_df"] == 4).all()


def test_the_norms_are_read_from_the_files_of_all_shards(documents, tmp_path):
    record = {"stages": {"tokens": {"shards": 2}}}
    paths = []
    for shard, part in enumerate((documents[:2], documents[2:])):
        # The first token of each sequence is dropped.
        sequences = {
            (f"d{shard}{number}", window): np.pad(logs, [(0, 0), (1, 0)])
            for number, windows in enumerate(part)
            for window, logs in enumerate(windows)
        }
        lengths = {sequence: logs.shape[1] for sequence, logs in sequences.items()}
        norms = np.nan_to_num(np.exp(np.hstack(list(sequences.values()))))
        paths.append(tmp_path / f"{shard:04d}.parquet")
        tables.write_table(norms_table(lengths, norms), paths[-1], record)
    read = partial(cross_layer.pairs_in, {"attention": paths}, "attention", "attention", 1)
    found = cross_layer.cross_layer(read, [2], LAGS)
    expected = cross_layer.cross_layer(lambda: (("", d, d) for d in documents), [2], LAGS)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4, atol=1e-12)
    # Of 15 tokens of a document, 11 are of its first window; one of each window is dropped.
    first, second = next(cross_layer.documents_in(paths, 1, 15))[1]
    for part, whole, used in ((first, documents[0][0], 10), (second, documents[0][1], 3)):
        np.testing.assert_allclose(part, whole[:, :used], rtol=1e-4)
    (short,) = next(cross_layer.documents_in(paths, 1, 5))[1]
    assert short.shape[1] == 4


def test_all_layers_before_a_target_predict_it_together():
    """The sum of their coefficients, its CR2 error and degrees of freedom, by direct matrices."""
    rng = np.random.default_rng(1)
    documents = [[rng.normal(size=(4, size)) + rng.normal()] for size in (12, 20, 9, 30, 16, 25, 8)]
    documents[3] = np.split(documents[3][0], [11], axis=1)
    documents[1][0][2, 5] = np.nan
    x, y, g = [], [], []
    for number, windows in enumerate(documents):
        pairs = [(w[:3, t - 2], w[3, t]) for w in windows for t in range(2, w.shape[1])]
        known = [(a, b) for a, b in pairs if np.isfinite([*a, b]).all()]
        own = np.array([a for a, _ in known]), np.array([b for _, b in known])
        x.append(own[0] - own[0].mean(axis=0))
        y.append(own[1] - own[1].mean())
        g += [number] * len(known)
    x, y, g = np.concatenate(x), np.concatenate(y), np.array(g)
    covariance, (df,) = cr2(y, x, g, [np.ones(3)])
    expected = ols(y, x).sum(), np.sqrt(covariance.sum()), df
    found = cross_layer.together(((d, d) for d in documents), 3, 2)
    assert found == pytest.approx(expected, rel=1e-10)
    # No layer comes before the first, and few documents have no error.
    for pairs, target in ((documents, 0), (documents[:5], 3)):
        assert np.isnan(cross_layer.together(((d, d) for d in pairs), target, 2)).all()


def test_a_layer_that_does_not_vary_predicts_nothing():
    rng = np.random.default_rng(0)
    documents = [[np.stack([np.full(20, 2.0), rng.normal(size=20)])] for _ in range(3)]
    found = cross_layer.cross_layer(lambda: (("", d, d) for d in documents), [1], 1)
    assert found["predictive"].isna().tolist() == [True, True, False, False]


def test_documents_that_are_too_short_give_no_rows():
    found = cross_layer.cross_layer(lambda: iter([("", *[[np.ones((2, 2))]] * 2)]), [1], 4)
    assert found.empty
