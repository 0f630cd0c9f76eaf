"""Regressions of every kind in one run, against pandas and statsmodels on the norms alone."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import statsmodels.api as sm
import torch
from described import undescribed
from in_memory import assert_equal_tables, measured_again
from planning import plan
from programs import planned, run_program
from projects import SEVERAL, write_several

import attnlag
from attnlag.model.random_weights import drawn_model
from attnlag.regression.inference import permutation
from attnlag.storage import tables

BASE = "results/tiny/small"
SITE = f"{BASE}/attention"
SEQUENCE = ["document", "window"]
CLOSE = {"rtol": 1e-8, "atol": 1e-10}


def table(project, regression, name="coefficients"):
    return pd.read_parquet(project.folder / f"{SITE}/{regression}/{name}.parquet")


def of_layer(coefficients, layer):
    return coefficients[coefficients["layer"] == layer].set_index("term")


def all_norms(project):
    """Return the norms of all shards, with their logs and without the first tokens."""
    paths = sorted(project.folder.glob(f"{SITE}/norms/*.parquet"))
    norms = pd.concat([pq.read_table(path).to_pandas() for path in paths], ignore_index=True)
    norms["document"] = norms["document"].astype(str)
    for layer in ("layer_00", "layer_01"):
        norms[layer] = np.log(norms[layer].astype(np.float64)).where(norms["position"] >= 1)
    return norms


@pytest.fixture(scope="module")
def project(several_once):
    return several_once[0]


@pytest.fixture(scope="module")
def norms(project):
    return all_norms(project)


def shifted(norms, layer, by):
    return norms.groupby(SEQUENCE)[layer].shift(by)


def spline(position, knots):
    """Return Harrell's restricted cubic spline of log(1 + position), a column per term."""
    x, t = np.log(1 + position), np.log(1 + np.array(knots))
    k = len(t)

    def cube(knot):
        return np.where(x > knot, x - knot, 0) ** 3

    columns = {"position_1": x}
    for j in range(k - 2):
        bent = cube(t[j])
        bent = bent - cube(t[k - 2]) * (t[k - 1] - t[j]) / (t[k - 1] - t[k - 2])
        bent = bent + cube(t[k - 1]) * (t[k - 2] - t[j]) / (t[k - 1] - t[k - 2])
        columns[f"position_{j + 2}"] = bent / (t[k - 1] - t[0]) ** 2
    return columns


def rows_of(norms, layer, lags=(), leads=()):
    """Return outcome and predictors of a layer in whole rows, beside document and window."""
    columns = {"y": norms[layer]}
    columns |= {f"lag_{lag}": shifted(norms, layer, lag) for lag in lags}
    columns |= {f"lead_{lead}": shifted(norms, layer, -lead) for lead in leads}
    return norms[[*SEQUENCE, "position", "token_id"]].assign(**columns).dropna()


def rich_rows(project, norms):
    """Return the rows of the last layer with every covariate, as its definition has it."""
    previous = {
        "previous_layer": norms["layer_00"],
        "previous_layer_lag_1": shifted(norms, "layer_00", 1),
    }
    rows = rows_of(norms, "layer_01", lags=(1, 2, 5)).join(pd.DataFrame(previous))
    rows = rows.assign(**spline(rows["position"], SEVERAL["rich"]["position_knots"]))
    tokens = pd.concat(
        [pd.read_parquet(path) for path in (project.folder / BASE / "tokens").iterdir()]
    )
    share = tokens["input_ids"].explode().value_counts(normalize=True)
    group = pd.read_parquet(project.folder / "results/corpora/small.parquet")
    group = group.set_index("document")["group"].astype(str)
    return rows.assign(
        log_frequency=np.log(rows["token_id"].map(share).astype(float)),
        group_odd=(rows["document"].map(group) == "odd").astype(float),
    )


def ols(rows):
    x = rows.drop(columns=[*SEQUENCE, "position", "token_id", "y"])
    return sm.OLS(rows["y"], sm.add_constant(x.rename(columns=str), has_constant="add")).fit()


def with_dummies(rows):
    """Return the coefficients of a regression with a dummy for each document, dummies left out."""
    names = [name for name in rows if name.startswith(("lag_", "position_"))]
    dummies = pd.get_dummies(rows["document"], dtype=float)
    result = sm.OLS(rows["y"], pd.concat([rows[names], dummies], axis=1)).fit()
    return result.params[names]


def half_panel(rows):
    """Return 2 b - (b of the first halves + b of the second halves) / 2 for lags, and the rest."""
    place = rows.groupby("document").cumcount()
    size = rows.groupby("document")["y"].transform("size")
    first = place < (size + 1) // 2
    halves = (with_dummies(rows[first]) + with_dummies(rows[~first])) / 2
    lags = (2 * with_dummies(rows) - halves)[["lag_1", "lag_2"]]
    # The other terms are solved anew, given these.
    remainder = rows.assign(y=rows["y"] - rows[lags.index] @ lags).drop(columns=lags.index)
    return pd.concat([lags, with_dummies(remainder)])


def jackknifed(estimate, rows):
    """Return standard errors from the estimates without each document (CRV3)."""
    full, documents = estimate(rows), rows["document"].unique()
    change = [estimate(rows[rows["document"] != name]) - full for name in documents]
    g = len(documents)
    return np.sqrt((g - 1) / g * (np.array(change) ** 2).sum(axis=0))


def test_every_covariate_matches_its_literal_definition(project, norms):
    """The oracle is least squares on literally built columns, and a literal jackknife."""
    rows = rich_rows(project, norms)
    oracle = ols(rows)
    mine = of_layer(table(project, "rich"), 1)
    assert list(mine.index) == [
        "intercept",
        "lag_1",
        "lag_2",
        "lag_5",
        "previous_layer",
        "previous_layer_lag_1",
        *("position_1", "position_2", "position_3"),
        "log_frequency",
        "group_odd",
    ]
    expected = oracle.params.rename({"const": "intercept"})
    np.testing.assert_allclose(mine["estimate"], expected[mine.index], **CLOSE)
    errors = jackknifed(lambda rows: ols(rows).params, rows)
    errors = pd.Series(errors, index=expected.index)
    np.testing.assert_allclose(mine["std_error"], errors[mine.index], rtol=1e-7)
    assert (mine["df"] == 7).all()
    fits = table(project, "rich", "fits").set_index("layer")
    assert fits.loc[1, "n_obs"] == len(rows)
    np.testing.assert_allclose(fits.loc[1, "r_squared"], oracle.rsquared, rtol=1e-9)


@pytest.mark.parametrize("layer", [0, 1])
def test_the_half_panel_estimate_matches_its_literal_definition(project, norms, layer):
    rows = rows_of(norms, f"layer_0{layer}", lags=(1, 2))
    rows = rows.assign(**spline(rows["position"], SEVERAL["within"]["position_knots"]))
    mine = of_layer(table(project, "within"), layer)
    expected = half_panel(rows)
    np.testing.assert_allclose(mine["estimate"], expected[mine.index], **CLOSE)
    np.testing.assert_allclose(mine["std_error"], jackknifed(half_panel, rows), rtol=1e-7)
    np.testing.assert_allclose(mine["uncorrected"], with_dummies(rows)[mine.index], **CLOSE)


@pytest.mark.parametrize("layer", [0, 1])
def test_leads_are_the_tokens_after(project, norms, layer):
    lead = ols(rows_of(norms, f"layer_0{layer}", leads=(1, 2))).params
    mine = of_layer(table(project, "lead"), layer)
    assert list(mine.index) == ["intercept", "lead_1", "lead_2"]
    np.testing.assert_allclose(mine["estimate"], lead, **CLOSE)


def relative_rows(norms, stream):
    """Return outcome and predictors of the last layer, logs of |adjustment| / |stream|."""
    ratios = norms.assign(
        **{
            name: np.log(norms[name].astype(np.float64) / stream[name].astype(np.float64))
            for name in ("layer_00", "layer_01")
        }
    )
    ratios.loc[ratios["position"] < 1, ["layer_00", "layer_01"]] = np.nan
    previous = {
        "previous_layer": ratios["layer_00"],
        "previous_layer_lag_1": shifted(ratios, "layer_00", 1),
    }
    return rows_of(ratios, "layer_01", lags=(1, 2)).join(pd.DataFrame(previous))


def read(paths):
    tables = pd.concat([pq.read_table(path).to_pandas() for path in paths], ignore_index=True)
    return tables.assign(document=tables["document"].astype(str))


def test_relative_norms_are_norms_over_the_stream(project):
    """This holds for outcome, lags and the layer before, in the regression and both controls."""
    norms = read(sorted(project.folder.glob(f"{SITE}/norms/*.parquet")))
    stream = read(sorted((project.folder / BASE / "stream").glob("0*.parquet")))
    keys = [*SEQUENCE, "position", "token_id"]
    pd.testing.assert_frame_equal(norms[keys], stream[keys])
    rows = relative_rows(norms, stream)
    mine = of_layer(table(project, "relative"), 1)
    oracle = ols(rows).params.rename({"const": "intercept"})
    np.testing.assert_allclose(mine["estimate"], oracle[mine.index], **CLOSE)
    # Far from those of the norms themselves.
    of_norms = relative_rows(norms, stream.assign(layer_00=1.0, layer_01=1.0))
    assert np.abs(ols(of_norms).params["lag_1"] - oracle["lag_1"]) > 1e-3

    untrained = [project.folder / SITE, project.folder / BASE / "stream"]
    untrained = [read([folder / "random_weights.parquet"]) for folder in untrained]
    expected = ols(relative_rows(*untrained)).params[["lag_1", "lag_2"]]
    controls = of_layer(table(project, "relative", "controls"), 1)
    np.testing.assert_allclose(controls["random_weights"], expected, **CLOSE)

    # The observed order among the permutations is the same regression.
    paths = sorted((project.folder / SITE / "relative" / "permutations").glob("*.parquet"))
    names, estimates = permutation.estimates_of_orders(
        permutation.merged_products([permutation.read_products(path) for path in paths])
    )
    lags = [names.index("lag_1"), names.index("lag_2")]
    np.testing.assert_allclose(estimates[0, 1, lags], oracle[["lag_1", "lag_2"]], **CLOSE)


def test_texts_name_relative_norms_as_relative(project):
    folder = project.folder / SITE / "relative"
    assert "log relative norms" in (folder / "findings.txt").read_text()
    assert "log relative norm" in (folder / "summary" / "layer_01.txt").read_text()
    other = (project.folder / SITE / "notebook" / "findings.txt").read_text()
    assert "relative" not in other


def test_the_control_of_permuted_order_has_its_draws_and_p_values(project):
    controls = table(project, "notebook", "controls")
    assert set(controls["permutations"]) == {19}
    # One of nineteen draws and one for the order itself: twentieths.
    assert np.allclose(controls["order_p_value"] * 20 % 1, 0)
    assert (controls["permuted_low"] < controls["permuted_high"]).all()


@pytest.mark.parametrize("layer", [0, 1])
def test_the_control_of_random_weights_is_the_regression_of_its_norms(project, layer):
    norms = pq.read_table(project.folder / SITE / "random_weights.parquet").to_pandas()
    norms["document"] = norms["document"].astype(str)
    assert norms["document"].nunique() == 6
    name = f"layer_0{layer}"
    norms[name] = np.log(norms[name].astype(np.float64)).where(norms["position"] >= 1)
    oracle = ols(rows_of(norms, name, lags=(1, 2)))
    mine = of_layer(table(project, "notebook", "controls"), layer)
    expected = oracle.params[["lag_1", "lag_2"]]
    np.testing.assert_allclose(mine["random_weights"], expected, **CLOSE)
    np.testing.assert_allclose(mine["random_weights_r_squared"], oracle.rsquared)
    # All documents of the control, after training.
    documents = norms["document"].unique()
    trained = all_norms(project)
    oracle = ols(rows_of(trained[trained["document"].isin(documents)], name, lags=(1, 2)))
    np.testing.assert_allclose(mine["trained"], oracle.params[["lag_1", "lag_2"]], **CLOSE)
    np.testing.assert_allclose(mine["trained_r_squared"], oracle.rsquared)
    text = (project.folder / SITE / "notebook" / "findings.txt").read_text()
    assert "(the same 6 documents, neither corrected for bias)" in text
    assert "depend on the order of tokens in" in text


def test_scales_of_random_weights_that_are_the_models_own_are_left_out(project):
    """GPT-2 is drawn at transformers' default, and by depth, as it is."""
    for scale in ("default", "by-depth"):
        path = project.folder / SITE / f"random_weights_{scale}.parquet"
        assert pq.read_metadata(path).num_rows == 0
        draw = tables.read_provenance(path)["draw"]
        assert (draw["scale"], draw["left_out"]) == (scale, "the same as own")
    before = table(project, "within", "before_training").set_index(["scale", "quantity"])
    assert before["before"].notna().tolist() == [True] * 4 + [False] * 8
    assert set(before.loc["own", "origin"]) == {"config"}
    lines = (project.folder / SITE / "within" / "findings.txt").read_text()
    assert "transformers' left out: the same as own; by depth left out" in lines


def test_random_weights_are_those_of_a_new_model(project):
    """The attention outputs come from a hook on the model of that seed, sequence by sequence."""
    model = drawn_model(project.folder / "data/models/tiny", 0).base_model.eval()
    added = []
    for block in model.h:
        block.attn.register_forward_hook(lambda module, args, out: added.append(out[0]))
    norms = pq.read_table(project.folder / SITE / "random_weights.parquet").to_pandas()
    for _, rows in norms.groupby(SEQUENCE, observed=True, sort=False):
        added.clear()
        with torch.inference_mode():
            model(input_ids=torch.from_numpy(rows["token_id"].to_numpy(np.int64))[None])
        for layer, vectors in enumerate(added):
            expected = torch.linalg.vector_norm(vectors[0].double(), dim=-1).numpy()
            np.testing.assert_allclose(rows[f"layer_0{layer}"], expected, rtol=1e-5)


def test_every_file_and_column_is_described(project):
    assert list(undescribed(project.folder)) == []


def test_the_lack_of_a_layer_before_the_first_is_not_a_failure(several_once, tmp_path):
    project, printed = several_once
    fits = table(project, "rich", "fits")
    assert fits["status"].tolist() == ["there is no layer before it", "ok"]
    assert fits["n_obs"][0] == fits["n_dropped"][0] == 0
    assert table(project, "rich").query("layer == 0")["estimate"].isna().all()
    text = (project.folder / SITE / "rich" / "summary" / "layer_00.txt").read_text()
    assert "Not fitted: there is no layer before it" in text
    copy = project.copy(tmp_path / "project")
    _, check = planned(plan(copy.folder, ("results/layers_fitted.txt",)).commands["check_fits"])
    assert run_program(copy.folder, *check).status == 0
    lines = (copy.folder / "results/layers_fitted.txt").read_text().splitlines()
    assert "tiny, small, attention, rich: 1 of 2 layers fitted" in lines
    assert [line.split(": ")[1] for line in lines].count("2 of 2 layers fitted") == 3
    assert "error:" not in printed


@pytest.mark.parametrize("regression", SEVERAL)
def test_medians_state_their_intervals_and_draws(project, regression):
    coefficients = table(project, regression).dropna(subset=["estimate"])
    medians = table(project, regression, "medians").set_index("term")
    assert set(medians.index) == set(coefficients["term"])
    for term, rows in coefficients.groupby("term"):
        of_term = medians.loc[term]
        assert of_term["median"] == pytest.approx(rows["estimate"].median(), rel=1e-9)
        assert of_term["conf_low"] < of_term["median"] < of_term["conf_high"]
    assert medians["draws"].between(190, 200).all()
    assert (medians["clusters"] == 8).all()


@pytest.mark.parametrize("regression", SEVERAL)
def test_the_table_of_influence_names_every_document(project, norms, regression):
    influence = table(project, regression, "influence")
    terms = set(table(project, regression)["term"])
    assert set(influence["term"]) == {term for term in terms if term.startswith(("lag_", "lead_"))}
    of_term = influence[influence["layer"] == 1].groupby("term")
    for _, rows in of_term:
        assert sorted(rows["document"]) == sorted(norms["document"].unique())
        assert rows["change"].abs().is_monotonic_decreasing
    fits = table(project, regression, "fits").set_index("layer")
    assert (of_term["n_obs"].sum() == fits.loc[1, "n_obs"]).all()
    csv = pd.read_csv(project.folder / SITE / regression / "influence.csv")
    pd.testing.assert_frame_equal(csv, influence, check_dtype=False)


def test_one_shard_and_one_core_change_no_number(project, norms, fresh):
    write_several(fresh, shards=1)
    # The model's own threads change its numbers by rounding: two again.
    fresh.run(f"{SITE}/norms/0000.parquet")
    within = f"{SITE}/within/coefficients.parquet"
    fresh.run("--cores", "1", within, f"{BASE}/token_counts.parquet")
    pd.testing.assert_frame_equal(all_norms(fresh), norms, check_exact=True)
    pd.testing.assert_frame_equal(
        table(fresh, "within"), table(project, "within"), rtol=1e-9, atol=1e-9
    )
    # Counted and named, not summed; the record of token counts tells the number of shards.
    corpora = [made.results("corpora/*.parquet") for made in (fresh, project)]
    assert corpora[0] == corpora[1]
    path = f"{BASE}/token_counts.parquet"
    counts = [pq.read_table(made.folder / path) for made in (fresh, project)]
    assert counts[0].equals(counts[1])


def test_the_library_gives_the_tables_of_the_run(project):
    measured = measured_again(project, max_length=40, batch_tokens=1)
    asked = {name: project.config[name] for name in ("controls", "inference")}
    for name, regression in SEVERAL.items():
        assert_equal_tables(attnlag.fit(measured, **asked, **regression), project, name)
