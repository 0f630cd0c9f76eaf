"""The bootstrap from cross-products against fits to the redrawn rows."""

import numpy as np
import pytest
from designs import changed, design_table
from fits import drawn, fits_of, fitted, layers_of
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from attnlag.regression.inference import bootstrap
from attnlag.regression.settings import BootstrapSettings

LENGTHS = [30, 12, 25, 8, 14, 40, 9]


@given(
    documents=st.integers(1, 9),
    draws=st.integers(1, 40),
    seed=st.integers(0, 2**32),
    block=st.integers(1, 100),
)
def test_weights_count_the_documents_of_each_draw_in_any_block(documents, draws, seed, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "NUMBERS_AT_ONCE", block)
        blocks = list(bootstrap.weights_of_draws(documents, draws, seed))
    assert all(part.size <= max(block, documents) for part in blocks)
    weights = np.concatenate(blocks)
    # By the generator that the draws are seeded with.
    taken = np.random.default_rng(seed).integers(documents, size=(draws, documents))
    expected = [np.bincount(one, minlength=documents) for one in taken]
    assert_array_equal(weights, expected)


@pytest.mark.parametrize("mean", [1.0, 1000.0])
@pytest.mark.parametrize("effects", [False, True])
def test_draws_equal_fits_to_the_redrawn_rows(mean, effects, monkeypatch):
    # Three blocks of two draws.
    monkeypatch.setattr(bootstrap, "NUMBERS_AT_ONCE", 14)
    table = design_table(LENGTHS, 2, mean=mean, missing=0.1)
    found = drawn(layers_of(table, effects=effects), 6, 3)
    codes = table["document"].to_pandas().cat.codes
    for draw, weight in enumerate(np.concatenate(list(bootstrap.weights_of_draws(7, 6, 3)))):
        # A document that is drawn twice is there twice.
        rows = table.take(np.repeat(np.arange(len(table)), weight.astype(int)[codes]))
        oracle = fitted(rows, "nonrobust", effects=effects)
        assert_allclose(found[draw], [fit.estimate for fit in oracle])


def test_a_draw_that_cannot_be_fitted_has_no_estimates():
    table = changed(design_table([20] * 7, 1), {"layer_00.lag_2": np.repeat(np.eye(7)[3], 20)})
    layers = layers_of(table)
    found = drawn(layers, 40, 0)
    weights = np.concatenate(list(bootstrap.weights_of_draws(7, 40, 0)))
    assert (np.isnan(found[:, 0, 1]) == (weights[:, 3] == 0)).all()


def test_the_median_over_layers_has_an_interval_that_contains_both_of_its_draws():
    layers = layers_of(design_table(LENGTHS, 5))
    fits = fits_of(layers)
    draws = drawn(layers, 60, 0)
    # A draw that some layer could not be fitted in does not count.
    draws[7, 3] = np.nan
    found = bootstrap.medians_over_layers(fits, draws, 0.2).set_index("term")
    for place, term in enumerate(["intercept", "lag_1", "lag_2"]):
        estimates = sorted(fit.estimate[place] for fit in fits)
        medians = np.sort(np.median(np.delete(draws, 7, axis=0)[:, :, place], axis=1))
        # The 10th and 90th percentiles of 59 draws are at places 5.8 and 52.2, counted from 0.
        low = medians[5] + 0.8 * (medians[6] - medians[5])
        high = medians[52] + 0.2 * (medians[53] - medians[52])
        expected = {
            "median": estimates[2],
            "std_error": medians.std(ddof=1),
            # The union of the percentile interval and the basic one, its reflection.
            "conf_low": min(low, 2 * estimates[2] - high),
            "conf_high": max(high, 2 * estimates[2] - low),
            "lowest": estimates[0],
            "highest": estimates[4],
            "draws": 59,
            "clusters": 7,
        }
        assert found.loc[term].to_dict() == pytest.approx(expected, rel=1e-12)
    none = drawn(layers, 0, 0)
    found = bootstrap.medians_over_layers(fits, none, 0.2)
    assert set(found.columns[found.isna().any()]) == {"std_error", "conf_low", "conf_high"}


def test_medians_are_over_the_layers_that_are_fitted():
    for flat, draws_used in (([1], 20), ([0, 1, 2], 0)):
        constant = {f"layer_0{layer}.y": np.full(160, 2.5) for layer in flat}
        layers = layers_of(changed(design_table([20] * 8, 3), constant))
        found = bootstrap.medians_over_layers(fits_of(layers), drawn(layers, 20, 0), 0.05)
        assert (found["draws"] == draws_used).all()
        assert found["median"].isna().all() == (draws_used == 0)


def test_medians_of_the_jackknife_vary_as_it_does():
    """With one layer, intervals of the median are those of CRV3, at any level."""
    layers = layers_of(design_table(LENGTHS, 1))
    fits = fits_of(layers, "cluster-jackknife")
    documents = len(layers[0].clusters)
    errors = np.sqrt(np.diag(fits[0].covariance))[1:]
    for alpha in (0.05, 0.4):
        settings = BootstrapSettings(alpha=2 * alpha, bootstrap=20_000)
        found = bootstrap.medians_of_jackknife(fits, documents, settings, subsets=2)
        assert found.index.tolist() == ["lag_1", "lag_2"]
        reach = (found["median_high"] - found["median_low"]) / 2
        assert_allclose(found["median"], fits[0].estimate[1:])
        times = stats.t.ppf(1 - alpha / 2, documents - 1)
        assert_allclose(reach / errors, times, rtol=0.06)
    none = bootstrap.medians_of_jackknife(fits, documents, BootstrapSettings(bootstrap=0))
    assert none.isna().any().tolist() == [False, True, True]
