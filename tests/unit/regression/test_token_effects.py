"""Removing effects of tokens from a design, against the regression with all dummies."""

import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import statsmodels.formula.api as smf
from designs import changed, cr2_by_matrices, design_of, norms_table, shard_of

from attnlag.adjustments import columns
from attnlag.regression.design import covariates
from attnlag.regression.estimation import (
    crossproducts,
    merging,
    regress,
    sampling,
    stacks,
    token_effects,
)
from attnlag.regression.inference import fitting
from attnlag.regression.settings import BuildDesignSettings, DesignSettings, RegressionSettings
from attnlag.report.explorer import contents
from attnlag.report.regression_tables import RegressionTables
from attnlag.storage import tables


@pytest.mark.parametrize("effects", [("token",), ("token", "previous_token")])
def test_coefficients_and_errors_equal_those_with_all_dummies(tokens, effects, tmp_path):
    table, path = tokens
    design = design_of(tokens, lags=(1, 2))
    # One layer drops a row: both do without it.
    gap = np.arange(design.num_rows) == 37
    for name in ("layer_00.y", "layer_00.lag_1", "layer_00.lag_2"):
        design = changed(design, {name: pa.array(design[name].to_numpy(), mask=gap)})
    # Two shards, which share tokens.
    cut = int(np.flatnonzero(design["document"].to_pandas().to_numpy() == "d14")[0])
    halves = [design.slice(0, cut), design.slice(cut)]
    paths = [tmp_path / f"{number}.parquet" for number in range(2)]
    for half, file in zip(halves, paths, strict=True):
        pq.write_table(half.unify_dictionaries().combine_chunks(), file)
    solved, facts = token_effects.solved(paths, [path], effects)
    known = token_effects.tokens_of([path])
    left = pa.concat_tables([token_effects.without_effects(half, known, solved) for half in halves])
    shard = shard_of(left.unify_dictionaries().combine_chunks())
    shard.absorbed = facts["absorbed"]
    stack = stacks.stacked([shard], fixed_effects=True)
    cr2, fit = (regress.fit(stack, one, 2)[1] for one in ("cluster", "cluster-crv1"))

    frame = table.to_pandas()
    before = frame.groupby(["document", "window"], observed=True)["token_id"].shift()
    keys = ["document", "window", "position"]
    rows = design.to_pandas().merge(frame.assign(previous_token=before)[[*keys, "previous_token"]])
    rows = rows[~gap].rename(columns=lambda name: name.replace("layer_01.", ""))
    rows = rows.rename(columns={"token_id": "token"})
    terms = " + ".join(f"C({name})" for name in effects)
    expected = smf.ols(f"y ~ lag_1 + lag_2 + C(document) + {terms}", rows)
    codes = rows["document"].astype("category").cat.codes
    clustered = expected.fit(cov_type="cluster", cov_kwds={"groups": codes})
    assert fit.n_obs == len(rows)
    assert fit.estimate == pytest.approx(clustered.params[["lag_1", "lag_2"]].to_numpy(), abs=1e-8)
    # Documents are nested in the clusters.
    n, k = len(rows), len(clustered.params)
    scale = np.sqrt((n - k) / (n - k + 29))
    errors = np.sqrt(np.diag(fit.covariance))
    assert errors == pytest.approx(scale * clustered.bse[["lag_1", "lag_2"]].to_numpy(), rel=1e-7)
    # CR2 knows the leverage of the effects only by their number, here as if they were many.
    many = regress.fit(dataclasses.replace(stack, absorbed=300), "cluster", 2)[1]
    left = len(rows) - 30  # rows but for a mean of each document
    ratio = np.diag(many.covariance) / np.diag(cr2.covariance)
    absorbed = facts["absorbed"]
    assert ratio == pytest.approx((left - absorbed) / (left - 300))
    v, _ = cr2_by_matrices(expected.endog, expected.exog, codes.to_numpy(), [])
    names = [expected.exog_names.index(f"lag_{lag}") for lag in (1, 2)]
    exact = np.sqrt(np.diag(v)[names])
    assert np.sqrt(np.diag(cr2.covariance)) == pytest.approx(exact, rel=0.1)
    assert fit.sigma == pytest.approx(np.sqrt(expected.fit().mse_resid), rel=1e-8)


def test_beyond_a_number_of_rows_effects_are_those_of_a_sample_of_documents(
    tokens,
    tmp_path,
    monkeypatch,
):
    monkeypatch.setattr(sampling, "FEWEST_DOCUMENTS", 3)
    _, path = tokens
    design = design_of(tokens, lags=(1, 2)).unify_dictionaries().combine_chunks()
    names = np.array(design["document"].to_pylist())
    cut = int(np.flatnonzero(names == "d14")[0])
    paths = [tmp_path / f"{number}.parquet" for number in range(3)]
    for half, file in zip((design.slice(0, cut), design.slice(cut)), paths, strict=False):
        pq.write_table(half.unify_dictionaries().combine_chunks(), file)
    most = design.num_rows // 2
    effects = ("token", "previous_token")
    found, facts = token_effects.solved(paths[:2], [path], effects, most)
    documents = sorted(set(names))
    inside = sampling.in_sample(documents, facts["sample_end"])
    chosen = np.isin(names, np.array(documents)[inside])
    assert 0.3 * design.num_rows < chosen.sum() <= most
    # The same as from a design that holds these documents alone, in another order.
    pieces = [design.filter(names == name) for name in reversed(np.array(documents)[inside])]
    alone = pa.concat_tables(pieces).unify_dictionaries().combine_chunks()
    pq.write_table(alone, paths[2])
    expected, same = token_effects.solved([paths[2]], [path], effects)
    assert (facts["absorbed"], same["sample_end"]) == (same["absorbed"], "")
    known = token_effects.tokens_of([path])
    left = token_effects.without_effects(design, known, found, facts["sample_end"]).to_pandas()
    own = token_effects.without_effects(alone, known, expected).to_pandas()
    values = [name for name in left if name.endswith((".y", ".lag_1", ".lag_2"))]
    assert left.loc[~chosen, values].isna().all(axis=None)

    def within(frame):
        return frame[values] - frame.groupby("document", observed=True)[values].transform("mean")

    keys = ["document", "window", "position"]
    first, other = (
        frame.sort_values(keys, key=lambda c: c.astype(str)) for frame in (left[chosen], own)
    )
    np.testing.assert_allclose(within(first), within(other), atol=1e-8)


def test_the_place_before_a_text_has_a_level_of_its_own(tokens):
    _, path = tokens
    keys = norms_table({("d0", 0): 1, ("d0", 1): 2})
    known = token_effects.tokens_of([path])
    levels = token_effects.levels_of(keys, known, ["previous_token"])
    told = pd.read_parquet(path).query("document == 'd0' and window == 1")["token_id"]
    assert levels["previous_token"].tolist() == [-1, -1, told.iloc[0]]


@pytest.mark.parametrize("effects", [[], ["token"]])
def test_residuals_in_the_explorer_are_those_of_the_fit(
    tokens,
    effects,
    tmp_path,
    monkeypatch,
):
    """The oracle is statsmodels, with rare parts of speech merged and a dummy for each effect."""
    monkeypatch.setattr(merging, "FEWEST_DOCUMENTS", 30)
    table, properties = tokens
    record = {"model": {"name": "m"}, "corpus": {"name": "c"}, "stages": {"tokens": {"shards": 1}}}
    norms, solved = tmp_path / "norms.parquet", tmp_path / "effects.parquet"
    schema = columns.schema(2)
    tables.write_table(table.select(schema.names).cast(schema), norms, record)
    folder = tmp_path / "m" / "c" / "attention" / "notebook"
    design, products, within_tokens = (
        folder / name / "0000.parquet" for name in ("design", "crossproducts", "within_tokens")
    )
    for path in (design, products, within_tokens):
        path.parent.mkdir(parents=True)
    build = BuildDesignSettings(design=DesignSettings(lags=[1], covariates=["upos"]), halves=False)
    facts = covariates.read_facts(build.design, {"token_properties": properties})
    crossproducts.of_norms(norms, None, design, None if effects else products, build, facts)
    if effects:
        token_effects.solve([design], [norms], effects, solved)
        token_effects.take_out(design, norms, solved, within_tokens, products)
    settings = RegressionSettings(
        fixed_effects="document" if effects else "none",
        bias_correction="none",
        token_effects=effects,
        bootstrap=0,
    )
    files = [products], [within_tokens if effects else design]
    fitted = fitting.fit_regression(*files, {}, settings, threads=1)
    record = tables.provenance(record, "regression", settings, merged=fitted.merged)
    coefficients = fitted.coefficients
    tables.write_frame(coefficients, folder / "coefficients.parquet", record)

    estimates = coefficients.pivot(index="layer", columns="term", values="estimate")
    terms = {term: {"estimate": estimates[term].tolist()} for term in estimates}
    frame = table.to_pandas()
    found = contents.residuals(
        RegressionTables(folder),
        {"layers": [0, 1], "terms": terms, "effects": bool(effects)},
        contents.ShownTokens(
            [f"d{number}" for number in range(30)],
            pd.MultiIndex.from_frame(frame[columns.KEYS].astype({"document": str})),
        ),
    )
    assert "upos_other" in terms
    frame["y"] = np.log(frame["layer_01"].astype(np.float32).astype(float))
    frame["lag_1"] = frame.groupby(["document", "window"], observed=True)["y"].shift()
    merged = {term.removeprefix("upos_"): "other" for term in fitted.merged["upos_other"]}
    frame["upos"] = frame["upos"].replace(merged)
    rows = frame["position"] >= 2
    dummies = " + C(document) + C(token_id)" if effects else ""
    expected = smf.ols(f"y ~ lag_1 + C(upos){dummies}", frame[rows]).fit()
    np.testing.assert_allclose(found[1][rows], expected.resid, atol=1e-7)
    assert np.isnan(found[1][~rows]).all()
