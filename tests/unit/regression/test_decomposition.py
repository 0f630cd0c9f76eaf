"""Effects of many levels taken out, and what they change, against dummies in statsmodels."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from attnlag.regression import decomposition
from attnlag.regression.absorbing import Effects
from attnlag.regression.decomposition import EFFECTS, PARTS, POOLED

LAGS = ["lag_1", "lag_2"]


@pytest.fixture(scope="module")
def data():
    """Return rows of documents whose tokens have effects of their own, and their factors."""
    random = np.random.default_rng(5)
    n = 900
    token = random.integers(0, 25, n)
    upos = np.where(random.random(n) < 0.9, token % 4, random.integers(0, 4, n))
    frame = pd.DataFrame({"document": random.integers(0, 12, n), "token": token, "upos": upos})
    frame["token_previous"] = random.integers(0, 25, n)
    frame["upos_previous"] = frame["token_previous"] % 4
    level = random.normal(size=25)
    frame["lag_1"] = random.normal(size=n) + level[token] + frame["document"] / 6
    frame["lag_2"] = random.normal(size=n) + 0.3 * frame["lag_1"]
    frame["y"] = 0.3 * frame["lag_1"] + level[token] + 0.2 * upos + random.normal(size=n)
    return frame


def arrays(data):
    return data[["y", "lag_1", "lag_2"]].to_numpy().T[None], {
        n: data[n].to_numpy() for n in EFFECTS
    }


def whole(data):
    return decomposition.fitted_effects(*arrays(data), EFFECTS)


def formula(names):
    return " + ".join(["y ~ lag_1 + lag_2", *(f"C({name})" for name in names)])


@pytest.mark.parametrize("entered", range(len(EFFECTS) + 1))
def test_each_step_is_the_regression_with_dummies(data, entered):
    names = EFFECTS[:entered]
    # The dummies of the parts of speech before are sums of those of the tokens before.
    told = [name for name in names if not (name == "upos_previous" and entered == 5)]
    plain = smf.ols(formula(told), data).fit()
    found = decomposition.coefficients_by_step(*arrays(data), [7], LAGS, 0.05, whole(data))
    rows = found[found["step"] == (names[-1] if names else POOLED)].set_index("term")
    for lag in LAGS:
        assert rows.loc[lag, "estimate"] == pytest.approx(plain.params[lag], abs=1e-8)
    assert rows["r_squared"].iloc[0] == pytest.approx(plain.rsquared, abs=1e-9)
    groups = {"groups": data["document"]}
    clustered = smf.ols(formula(told), data).fit(cov_type="cluster", cov_kwds=groups)
    # Levels nested in the clusters cost no degree of freedom here.
    nested = 11 if names else 0
    n, k = len(data), len(plain.params)
    scale = np.sqrt((n - k) / (n - k + nested))
    assert rows.loc["lag_1", "std_error"] == pytest.approx(clustered.bse["lag_1"] * scale, rel=1e-7)


def test_the_parts_add_up_to_the_change_and_are_gelbachs(data):
    values, factors = arrays(data)
    parts = decomposition.parts_of_change(values, factors, [0], LAGS, whole(data))
    told = [name for name in EFFECTS if name != "upos_previous"]
    full, base = smf.ols(formula(told), data).fit(), smf.ols(formula([]), data).fit()
    for lag in LAGS:
        change = full.params[lag] - base.params[lag]
        assert parts.loc[parts["term"] == lag, "change"].sum() == pytest.approx(change, abs=1e-8)
    # Gelbach's own two steps: the effects of the full regression, regressed on the lags.
    names = full.model.exog_names
    of_set = {
        name: full.model.exog[:, places] @ full.params.to_numpy()[places]
        for name in told
        if (places := [i for i, other in enumerate(names) if other.startswith(f"C({name})")])
    }
    own = parts[parts["term"] == "lag_1"].set_index("part")["change"]
    for members, effect in (
        (["document"], of_set["document"]),
        (["upos", "token"], of_set["upos"] + of_set["token"]),
        (["upos_previous", "token_previous"], of_set["token_previous"]),
    ):
        owed = smf.ols("h ~ lag_1 + lag_2", data.assign(h=effect)).fit().params["lag_1"]
        assert own[members].sum() == pytest.approx(-owed, abs=1e-7)
    both = of_set["upos"] + of_set["token"]
    means = pd.Series(both).groupby(data["upos"]).transform("mean")
    owed = smf.ols("h ~ lag_1 + lag_2", data.assign(h=means)).fit().params["lag_1"]
    assert own["upos"] == pytest.approx(-owed, abs=1e-7)
    assert list(own.index) == list(PARTS)


def test_parts_of_a_graph_that_does_not_hang_together_are_counted():
    one = np.array([0, 0, 1, 1, 2, 2, 2])
    two = np.array([5, 6, 6, 5, 8, 9, 9])
    dummies = pd.get_dummies(pd.DataFrame({"a": one, "b": two}).astype(str)).to_numpy(float)
    assert Effects.of([one, two]).rank() == np.linalg.matrix_rank(dummies)
    values = np.random.default_rng(0).normal(size=(7, 3))
    left = values - dummies @ np.linalg.lstsq(dummies, values, rcond=None)[0]
    assert Effects.of([one, two]).absorbed(values) == pytest.approx(left, abs=1e-8)
