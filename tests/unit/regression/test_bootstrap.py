"""Bootstraps from cross-products against fits to the redrawn rows."""

from itertools import product

import numpy as np
import pytest
import statsmodels.api as sm
from designs import changed, clustered, columns_of, design_table, shard_of, stack_of
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attnlag.regression.estimation import least_squares, regress, stacks
from attnlag.regression.inference import bootstrap

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
    expected = [np.bincount(drawn, minlength=documents) for drawn in taken]
    np.testing.assert_array_equal(weights, expected)


@pytest.mark.parametrize("mean", [1.0, 1000.0])
@pytest.mark.parametrize("effects", [False, True])
def test_errors_of_draws_equal_those_of_fits_to_the_redrawn_rows(mean, effects):
    table = design_table(LENGTHS, 2, mean=mean, missing=0.1)
    stack = stack_of(table, fixed_effects=effects)
    weights = next(bootstrap.weights_of_draws(7, 6, 3)).astype(int)
    found = bootstrap.drawn(stack, least_squares.solve_all(stack), 6, 3)
    for layer in range(2):
        y, x, codes = columns_of(table, layer)
        if effects:
            # The means of documents are taken out; the level of all of them stays as a constant.
            means = [[part[codes == code].mean(axis=0) for code in codes] for part in (y, x)]
            y, x = y - means[0], np.column_stack([x[:, 0], (x - means[1])[:, 1:]])
        for draw, weight in enumerate(weights):
            # A document that is drawn twice is there twice, as two clusters.
            copies = [code for code in range(7) for _ in range(weight[code])]
            rows = [np.flatnonzero(codes == code) for code in copies]
            clusters = np.repeat(np.arange(len(copies)), [len(part) for part in rows])
            rows = np.concatenate(rows)
            oracle = sm.OLS(y[rows], x[rows]).fit(**clustered(clusters))
            terms = slice(1 if effects else 0, None)
            np.testing.assert_allclose(
                found.estimates[draw, layer], oracle.params[terms], rtol=1e-7
            )
            np.testing.assert_allclose(found.errors[draw, layer], oracle.bse[terms], rtol=1e-6)


@pytest.mark.parametrize("effects_of_tokens", [0, 40])
def test_a_draw_of_every_document_once_has_the_reported_errors(effects_of_tokens):
    """Effects of tokens cost degrees of freedom in draws as in the fit."""
    stack = stack_of(design_table(LENGTHS, 2), halves=True, fixed_effects=True)
    stack.absorbed = effects_of_tokens
    solutions = least_squares.solve_all(stack)
    once = bootstrap.weighted(stack, solutions, np.ones((1, 7)), with_errors=True)
    for layer, fit in enumerate(regress.fit(stack, "cluster-crv1", 5, solutions)):
        np.testing.assert_allclose(once.estimates[0, layer], fit.estimate, rtol=1e-9)
        np.testing.assert_allclose(
            once.errors[0, layer], np.sqrt(np.diag(fit.covariance)), rtol=1e-9
        )


def test_blocks_and_shards_change_no_draw(monkeypatch):
    table = design_table(LENGTHS, 2)
    whole = stack_of(table)
    ends = np.cumsum([0, *LENGTHS])
    parts = [table.slice(ends[a], ends[b] - ends[a]) for a, b in ((0, 3), (3, 7))]
    split = stacks.stacked([shard_of(part) for part in parts])
    one = bootstrap.drawn(whole, least_squares.solve_all(whole), 50, 1)
    for numbers in (20, 200):
        monkeypatch.setattr(bootstrap, "NUMBERS_AT_ONCE", numbers)
        solutions = least_squares.solve_all(split)
        other = bootstrap.drawn(split, solutions, 50, 1)
        np.testing.assert_allclose(other.estimates, one.estimates, rtol=1e-9)
        np.testing.assert_allclose(other.errors, one.errors, rtol=1e-7)
        alone = bootstrap.drawn(split, solutions, 50, 1, with_errors=False).estimates
        np.testing.assert_array_equal(alone, other.estimates)


def test_a_draw_that_cannot_be_fitted_has_no_estimates():
    table = changed(design_table([20] * 7, 1), {"layer_00.lag_2": np.repeat(np.eye(7)[3], 20)})
    stack = stack_of(table)
    found = bootstrap.drawn(stack, least_squares.solve_all(stack), 40, 0).estimates
    weights = np.concatenate(list(bootstrap.weights_of_draws(7, 40, 0)))
    assert (np.isnan(found[:, 0, 1]) == (weights[:, 3] == 0)).all()


def test_joint_p_values_follow_romano_and_wolf():
    stack = stack_of(design_table(np.random.default_rng(2).integers(5, 40, 30).tolist(), 5))
    solutions = least_squares.solve_all(stack)
    fits = regress.fit(stack, "cluster", 5, solutions)
    draws = bootstrap.drawn(stack, solutions, 300, 0)
    # Makes some layers insignificant, so that the steps differ.
    for layer, fit in enumerate(fits):
        shift = fit.estimate * (1 - 0.2 * layer) - 0.06 * layer
        draws.estimates[:, layer] -= shift
        fit.estimate = fit.estimate - shift
    found = bootstrap.joint(fits, stack, draws, 0.1)
    assert found.draws == 300
    for place, term in enumerate(["intercept", "lag_1", "lag_2"]):
        errors = [np.sqrt(fit.covariance[place, place]) for fit in fits]
        # Errors of draws are CRV1's, at the scale of the reported ones.
        scale = [e / fit.crv1_errors[place] for e, fit in zip(errors, fits, strict=True)]
        t = np.array([abs(f.estimate[place] / e) for f, e in zip(fits, errors, strict=True)])
        drawn = np.stack(
            [
                np.abs(draws.estimates[:, layer, place] - fits[layer].estimate[place])
                / (scale[layer] * draws.errors[:, layer, place])
                for layer in range(5)
            ]
        )
        largest = np.sort(drawn.max(axis=0))
        critical = found.critical_values[term]
        assert (largest > critical).mean() <= 0.1 <= (largest >= critical).mean()
        left, before, expected = set(range(5)), 0.0, {}
        while left:
            layer = max(left, key=lambda i: t[i])
            reached = (drawn[sorted(left)].max(axis=0) >= t[layer]).sum()
            before = expected[layer] = max(before, (1 + reached) / 301)
            left.remove(layer)
        np.testing.assert_allclose(
            found.p_adjusted.xs(term, level="term"), [expected[i] for i in range(5)]
        )
        assert len(set(expected.values())) > 1


def test_layers_that_are_not_fitted_are_left_out_of_the_joint_tests():
    constant = {f"layer_{layer:02d}.y": np.full(160, 2.5) for layer in range(3)}
    stack = stack_of(changed(design_table([20] * 8, 3), {"layer_01.y": constant["layer_01.y"]}))
    solutions = least_squares.solve_all(stack)
    fits = regress.fit(stack, "cluster", 5, solutions)
    draws = bootstrap.drawn(stack, solutions, 100, 0)
    found = bootstrap.joint(fits, stack, draws, 0.05)
    assert found.draws == 100
    assert found.p_adjusted.xs(1, level="layer").isna().all()
    assert found.p_adjusted.xs(2, level="layer").notna().all()
    # Without any fitted layer there is nothing to test, and no median.
    flat = stack_of(changed(design_table([20] * 8, 3), constant))
    solutions = least_squares.solve_all(flat)
    fits = regress.fit(flat, "cluster", 5, solutions)
    draws = bootstrap.drawn(flat, solutions, 20, 0)
    found = bootstrap.joint(fits, flat, draws, 0.05)
    assert found.draws == 0
    assert found.p_adjusted.isna().all()
    assert np.isnan(list(found.critical_values.values())).all()
    assert bootstrap.medians_over_layers(fits, flat, draws, 0.05).isna().all(axis=None)


def test_the_median_over_layers_has_an_interval_that_contains_both_of_its_draws():
    stack = stack_of(design_table(LENGTHS, 5))
    solutions = least_squares.solve_all(stack)
    fits = regress.fit(stack, "cluster", 5, solutions)
    draws = bootstrap.drawn(stack, solutions, 60, 0)
    # A draw that some layer could not be fitted in does not count.
    draws.estimates[7, 3] = np.nan
    found = bootstrap.medians_over_layers(fits, stack, draws, 0.2)
    for place, term in enumerate(["intercept", "lag_1", "lag_2"]):
        estimates = sorted(fit.estimate[place] for fit in fits)
        medians = np.sort(np.median(np.delete(draws.estimates, 7, axis=0)[:, :, place], axis=1))
        # The 10th and 90th percentiles of 59 draws are at places 5.8 and 52.2, counted from 0.
        low = medians[5] + 0.8 * (medians[6] - medians[5])
        high = medians[52] + 0.2 * (medians[53] - medians[52])
        expected = {
            "median": estimates[2],
            # The union of the percentile interval and the basic one, its reflection.
            "conf_low": min(low, 2 * estimates[2] - high),
            "conf_high": max(high, 2 * estimates[2] - low),
            "lowest": estimates[0],
            "highest": estimates[4],
        }
        assert found.loc[term].to_dict() == pytest.approx(expected, rel=1e-12)
    none = bootstrap.drawn(stack, solutions, 0, 0)
    found = bootstrap.medians_over_layers(fits, stack, none, 0.2)
    assert found.isna().any().tolist() == [False, True, True, False, False]


def test_medians_of_the_jackknife_vary_as_it_does():
    """With one layer, intervals of the median are those of CRV3."""
    stack = stack_of(design_table(LENGTHS, 1))
    fits = regress.fit(stack, "cluster-jackknife", 5)
    documents = len(stack.clusters)
    options = {"alpha": 0.05, "seed": 0}
    names = least_squares.names_of(stack)
    found = bootstrap.medians_of_jackknife(fits, names, documents, draws=4000, **options)
    assert found.index.tolist() == ["lag_1", "lag_2"]
    reach = (found["median_high"] - found["median_low"]) / 2
    errors = np.sqrt(np.diag(fits[0].covariance))[1:]
    np.testing.assert_allclose(found["median"], fits[0].estimate[1:])
    np.testing.assert_allclose(reach / errors, stats.t.ppf(0.975, documents - 1), rtol=0.1)
    none = bootstrap.medians_of_jackknife(fits, names, documents, draws=0, **options)
    assert none.isna().any().tolist() == [False, True, True]


def wild_oracle(y, x, codes, place, value, multipliers):
    """Return |t| and its draws, by regressions of redrawn outcomes."""
    others = [column for column in range(x.shape[1]) if column != place]
    moved = y - value * x[:, place]
    restricted = sm.OLS(moved, x[:, others]).fit()
    fitted, residual = restricted.fittedvalues + value * x[:, place], restricted.resid

    def t(outcome):
        fit = sm.OLS(outcome, x).fit(**clustered(codes))
        return abs((fit.params[place] - value) / fit.bse[place])

    return t(y), np.array([t(fitted + residual * v[codes]) for v in multipliers])


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_the_wild_bootstrap_equals_fits_to_redrawn_outcomes(value, monkeypatch):
    table = design_table(LENGTHS, 1, mean=20.0)
    stack = stack_of(table)
    (solution,) = least_squares.solve_all(stack)
    y, x, codes = columns_of(table, 0)
    blocks, complete = bootstrap.multipliers(7, 60, 0)
    assert not complete
    t, drawn = wild_oracle(y, x, codes, 1, value, np.concatenate(list(blocks)))
    found = bootstrap.wild_p_values(stack, 0, solution, 60, 0, {"lag_1": value})
    assert found[1] == pytest.approx((1 + (drawn >= t).sum()) / 61, abs=1e-12)

    monkeypatch.setattr(bootstrap, "FEWEST_FOR_SIGNS", 0)
    every = np.array(list(product([-1.0, 1.0], repeat=7)))
    t, drawn = wild_oracle(y, x, codes, 1, value, every)
    found = bootstrap.wild_p_values(stack, 0, solution, 999, 0, {"lag_1": value})
    assert np.isnan(found[0])
    assert found[1] == pytest.approx((drawn >= t * (1 - 1e-9)).mean(), abs=1e-12)


def test_multipliers_have_mean_0_and_variance_1(monkeypatch):
    for clusters in (8, 40):
        blocks, complete = bootstrap.multipliers(clusters, 20_000, 0)
        v = np.concatenate(list(blocks))
        assert not complete
        assert v.shape == (20_000, clusters)
        assert abs(v.mean()) < 0.1
        assert abs(v.var() - 1) < 0.1
        assert len(np.unique(v)) == (2 if clusters == 40 else 6)
        monkeypatch.setattr(bootstrap, "NUMBERS_AT_ONCE", 1000)
        blocks = list(bootstrap.multipliers(clusters, 20_000, 0)[0])
        assert all(block.size <= 1000 for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), v)
        monkeypatch.undo()
    blocks, complete = bootstrap.multipliers(12, 5000, 0)
    every = np.concatenate(list(blocks))
    assert complete
    assert len(np.unique(every, axis=0)) == len(every) == 4096
