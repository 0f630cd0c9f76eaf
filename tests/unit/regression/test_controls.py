"""The controls of a regression: random weights, and the table of all of them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from designs import FACTS, changed, corpus_of, design_of
from fits import fit_settings, fitted, moments_of, sums_of
from numpy.testing import assert_allclose
from scipy import stats

from attnlag.regression.design.design import Formula
from attnlag.regression.estimation import crossproducts
from attnlag.regression.inference import controls, fitting
from attnlag.regression.settings import DesignSettings
from attnlag.storage import tables

FORMULA = Formula(DesignSettings(lags=[1, 2]), FACTS)


@pytest.fixture
def norms(tmp_path):
    """Return a file of norms of 12 documents in two layers, and the design of their regression."""
    table = corpus_of(level=0.5, dynamics=(0.6, 0.1), documents=12, tokens=25)
    return written(tmp_path, table, "own")


def written(folder, table, scale, **facts):
    """Write norms of random weights at a scale, and return their file."""
    path = folder / f"{scale}.parquet"
    draw = {"scale": scale, "initializer_range": 0.04, "origin": "stated", **facts}
    record = {"model": {"name": "m"}, "corpus": {"name": "c"}, "stages": {}, "draw": draw}
    tables.write_table(table, path, record)
    return path


def controlled(paths, trained, **settings):
    """Return the coefficients of the files of scales, and the comparison of scales."""
    layers = moments_of(design_of(pq.read_table(trained), FORMULA.settings), halves=True)
    untrained = controls.untrained(FORMULA, paths)
    return controls.random_weights(untrained, fit_settings(**settings), layers)


def fits_of(norms, documents, **options):
    """Return the fit of each layer in some documents."""
    design = design_of(pq.read_table(norms), FORMULA.settings)
    own = pc.is_in(design["document"], pa.array(documents, pa.string()))
    return fitted(design.filter(own), "nonrobust", **options)


LAGS = ["lag_1", "lag_2"]


@pytest.mark.parametrize("effects", ["none", "document"])
@pytest.mark.parametrize("correction", ["none", "half-panel"])
def test_both_models_are_fitted_to_the_documents_of_the_control_without_correction(
    norms, tmp_path, effects, correction
):
    """The control has 5 of the 12 documents; halves of the trained model are not used."""
    some = [f"d{i}" for i in range(5)]
    other = corpus_of(dynamics=(0.3, 0.2), documents=12, tokens=25, seed=7)
    control = written(tmp_path, other.filter(pc.field("document").isin(some)), "by-depth")
    options = {"fixed_effects": effects, "bias_correction": correction}
    found, _ = controlled([control], norms, **options)
    assert set(found["random_weights_documents"]) == {5}
    for column, path in (("random_weights", control), ("trained", norms)):
        for layer, fit in enumerate(fits_of(path, some, effects=effects == "document")):
            own = found[found["layer"] == layer].set_index("term").loc[LAGS]
            assert_allclose(own[column], fit.estimate[-2:])
            assert_allclose(own[f"{column}_sum"], fit.estimate[-2:].sum())
            assert_allclose(own[f"{column}_r_squared"], fit.goodness["r_squared"])


def test_scales_are_compared_with_the_trained_model_by_the_jackknife(tmp_path):
    """Each document is left out of both models in turn, which are fitted anew."""
    scales = {"own": (0.6, 0.1), "default": (0.2, 0.0)}
    paths = [
        written(tmp_path, corpus_of(dynamics=dynamics, documents=8, seed=seed), scale)
        for seed, (scale, dynamics) in enumerate(scales.items())
    ]
    trained = written(tmp_path, corpus_of(dynamics=(0.3, 0.1), documents=8, seed=9), "trained")
    table, compared = controlled(paths, trained)
    assert list(table.columns[2:5]) == ["random_weights", "random_weights_default", "trained"]
    names = [f"d{i}" for i in range(8)]

    def means_of(path, documents):
        """Return the means of lags 1 and 2 over the layers, and their sum."""
        lags = np.mean([fit.estimate[1:] for fit in fits_of(path, documents)], axis=0)
        return np.append(lags, lags.sum())

    for path, scale in zip(paths, scales, strict=True):
        rows = compared[compared["scale"] == scale].set_index("quantity")
        assert rows.index.tolist() == ["lag_1", "lag_2", "lags_summed", "r_squared"]
        apart, *without = (
            means_of(path, kept) - means_of(trained, kept)
            for kept in [names, *([*filter(name.__ne__, names)] for name in names)]
        )
        # Unlike CRV3, about the mean of these.
        error = np.sqrt(7 * np.var(without, axis=0))
        reach = stats.t.ppf(0.975, 7) * error
        found = rows.loc[[*LAGS, "lags_summed"]]
        assert (found["df"] == 7).all()
        columns = ["difference", "std_error", "conf_low", "conf_high"]
        expected = np.stack([apart, error, apart - reach, apart + reach])
        assert_allclose(found[columns].T, expected, rtol=1e-6)
    # A scale that was left out has no numbers, and too few documents have no interval.
    empty = corpus_of(documents=8).slice(0, 0)
    left_out = written(tmp_path, empty, "by-depth", left_out="the same as own")
    _, compared = controlled([paths[0], left_out], trained)
    rows = compared[compared["scale"] == "by-depth"]
    assert rows["before"].isna().all()
    assert set(rows["left_out"]) == {"the same as own"}
    few = written(tmp_path, corpus_of(documents=5), "own")
    _, compared = controlled([few], trained)
    assert compared["difference"].notna().sum() == 3
    assert compared[["std_error", "conf_low", "conf_high"]].isna().all(axis=None)


def test_a_layer_without_rows_or_of_constant_norms_has_no_coefficient(norms, tmp_path):
    whole = pq.read_table(norms)
    whole = changed(whole, {"layer_00": np.full(whole.num_rows, 8.0)})
    found, _ = controlled([written(tmp_path, whole, "default")], norms)
    for column in ("random_weights", "random_weights_r_squared", "random_weights_sum"):
        assert found[column].isna().tolist() == [True] * 3 + [False] * 3
    # If all documents are too short, no layer has one either.
    short = written(tmp_path, corpus_of(documents=3, tokens=3), "default")
    found, _ = controlled([short], norms)
    assert found["term"].tolist() == ["intercept", *LAGS] * 2
    assert found[["random_weights", "random_weights_r_squared"]].isna().all(axis=None)
    assert set(found["random_weights_documents"]) == {0}


def test_the_table_lists_each_lag_beside_its_controls(norms, tmp_path):
    """The same norms serve as those of the untrained model."""
    files = [tmp_path / "crossproducts.parquet"], [tmp_path / "design.parquet"]
    crossproducts.of_norms(norms, None, files[1][0], files[0][0], FORMULA, halves=False)
    fitted = fitting.fit_regression(
        *files,
        {f"d{i}": "one" for i in range(12)},
        fit_settings(),
        orders=[sums_of(pq.read_table(norms), FORMULA.settings, draws=19)],
        untrained=controls.untrained(FORMULA, [norms]),
    )
    table, lags = fitted.controls, fitted.coefficients.query("term != 'intercept'")
    pd.testing.assert_frame_equal(
        table[["layer", "term", "estimate"]],
        lags[["layer", "term", "estimate"]].reset_index(drop=True),
    )
    assert table["r_squared"].tolist() == np.repeat(fitted.goodness["r_squared"], 2).tolist()
    for column in ("random_weights", "trained"):
        assert_allclose(table[column], table["estimate"])
    assert table.notna().all(axis=None)
    assert (table[["permutations", "permuted_within"]] == [19, "document"]).all(axis=None)
