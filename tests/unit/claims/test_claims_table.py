"""The table of claims, from tables whose numbers are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from described import as_fits, claims_of, regressions_in, settings_stated
from pictures import grid

from attnlag import wording
from attnlag.claims.analyses import as_table
from attnlag.claims.row import COUNTS, STUDY, Row, Verdict, frame, rows_in
from attnlag.claims.run import Claims, RunClaims, by_analysis
from attnlag.regression.inference.response import MAX_DISTANCE
from attnlag.regression.slopes.decomposition import EFFECTS, POOLED
from attnlag.storage import tables

RECORD = {
    "model": {"name": "tiny"},
    "corpus": {"name": "small", "documents": 20, "texts": 19},
    "stages": {
        "regression": settings_stated(alpha=0.1, bias_correction="half-panel"),
        "design": {"covariates": ["position"]},
        "traced_table": {"alpha": 0.1},
    },
}


def write(folder, status="ok"):
    """Write the tables of a regression of two layers."""
    coefficients = grid(term=["lag_1", "lag_2"], layer=range(2)).assign(
        subset="all", estimate=[0.2, 0.4, 0.0, -0.2]
    )
    coefficients["equivalence"] = ["present", "undecided", "absent", "present"]
    fits = pd.DataFrame({"layer": range(2), "status": status, "n_documents": 20})
    fits = fits.assign(
        omitted_p_value=0.01,
        omitted_p_adjusted=[0.01, 0.2],
        omitted_df=8,
        omitted_sum=[0.1, 0.3],
        omitted_sum_low=0.05,
        omitted_sum_high=0.4,
        curvature_p_value=[0.001, 0.002],
        curvature_p_adjusted=[0.002, 0.002],
        curvature=[-0.2, 0.1],
        curvature_low=[-0.3, 0.05],
        curvature_high=[-0.1, 0.15],
        curvature_share=[0.02, 0.04],
        halves_p_adjusted=[0.5, 0.01],
        r_squared=[0.2, 0.4],
        r_squared_others=[0.1, 0.15],
        r_squared_lags=[0.15, 0.38],
    )
    coefficients["uncorrected"] = coefficients["estimate"] - 0.01
    controls = coefficients[["layer", "term"]].assign(
        permuted_mean=[0.01, 0.03, 0.0, 0.0], order_p_adjusted=np.nan
    )
    # The responses at the smallest and the largest distance.
    terms = ["lag_1", "lag_2", "response_1", f"response_{MAX_DISTANCE}"]
    medians = pd.DataFrame({"term": terms, "median": [0.3, -0.1, 0.3, 0.09], "level": 0.9})
    medians["conf_low"] = [0.2, -0.2, 0.2, 0.04]
    medians["conf_high"] = [0.4, 0.0, 0.4, 0.14]
    steps = grid(step=[POOLED, *EFFECTS], layer=range(2)).assign(term="lag_1", n_documents=20)
    steps = steps.assign(estimate=np.arange(12) / 10, effects=np.repeat([1, 9, 9, 9, 20, 30], 2))
    groups = grid(subset=["prose", "verse"], layer=range(2)).assign(term="lag_1", estimate=0.5)
    groups = groups.assign(median_low=[0.4] * 2 + [-0.1] * 2, median_high=0.6, level=0.9)
    frames = {"coefficients": coefficients, "fits": as_fits(fits), "controls": controls}
    frames |= {"medians": medians, "nested_models": steps, "groups": groups}
    for name, table in frames.items():
        tables.write_frame(table, folder / f"{name}.parquet", RECORD)


@pytest.fixture
def base(tmp_path):
    base = tmp_path / "results" / "tiny" / "small"
    folder = base / "attention" / "within"
    folder.mkdir(parents=True)
    write(folder)
    return base


def table_of(base):
    """Return the claims of the regression."""
    table, _ = as_table(claims_of(regressions_in(base, "within")))
    return table[table["analysis"] == "within"].reset_index(drop=True)


def test_a_claim_is_a_row_of_numbers(base):
    table = table_of(base)
    assert set(table["claim"]) <= set(wording.CLAIMS)
    assert dict(table["claim"].value_counts(sort=False)) == {
        **{"fitted": 1, "lag": 2, "lag_range": 2, "follows": 1, "random_order": 2, "response": 1},
        **{"untrained_not_drawn": 1, "r_squared": 1, "r_squared_highest": 1},
        **{"halves": 1, "halves_layers": 1, "omitted_lags": 1, "curvature": 1},
        **{"curvature_share": 1, "kurtosis": 1, "groups": 2, "groups_counted": 1},
        **{"groups_extremes": 1, "nested_model": 4},
    }
    assert (
        table[["model", "corpus", "site", "analysis"]] == "tiny small attention within".split()
    ).all(axis=None)


def rows_by_claim(base):
    """Return the rows of each claim as dictionaries."""
    return {name: rows.to_dict("records") for name, rows in table_of(base).groupby("claim")}


def test_claims_of_lags_have_intervals_baselines_and_counts(base):
    by_claim = rows_by_claim(base)
    first, second = by_claim["lag"]
    (following,) = by_claim["response"]
    assert (first["value"], first["low"], first["high"]) == (0.3, 0.2, 0.4)
    assert (first["level"], first["bound"], first["verdict"]) == (0.9, 0.05, "above")
    assert first["unit"] == "log norm per log norm"
    assert (first["baseline"], first["baseline_value"]) == ("tokens in random order", 0.02)
    assert [first[name] for name in COUNTS] == [2, 1, 0, 0, 1, 19]
    assert [second[name] for name in COUNTS] == [2, 0, 1, 1, 0, 19]
    assert second["verdict"] == "undecided"
    assert (following["subject"], following["value"], following["texts"]) == ("1", 0.3, 19)
    assert following["layers"] is None


def test_beyond_the_longest_lag_responses_are_claimed_where_no_further_lag_is_shown(base):
    path = base / "attention/within/fits.parquet"
    fits = pd.read_parquet(path).assign(omitted_p_adjusted=0.2)
    tables.write_frame(fits, path, RECORD)
    following, later = rows_by_claim(base)["response"]
    assert (following["subject"], later["subject"]) == ("1", "10")
    assert (later["value"], later["verdict"]) == (0.09, "undecided")


def test_claims_of_fits_have_shares_and_verdicts(base):
    by_claim = rows_by_claim(base)
    (further,) = by_claim["omitted_lags"]
    (bent,) = by_claim["curvature"]
    (share,) = by_claim["curvature_share"]
    (halves,) = by_claim["halves"]
    assert (further["subject"], further["value"]) == ("3 4 5 6 7 8 9 10", 0.1)
    assert (further["above"], further["layers"], further["baseline"]) == (1, 2, "layer 0")
    assert further["verdict"] == bent["verdict"] == "none"
    assert (bent["subject"], bent["value"], bent["low"], bent["high"]) == (
        "lag_1",
        -0.2,
        -0.3,
        -0.1,
    )
    assert (bent["above"], bent["below"], bent["baseline"]) == (1, 1, "layer 0")
    assert share["value"] == pytest.approx(0.03)
    assert (halves["value"], halves["baseline_value"]) == pytest.approx((0.4, 0.39))
    assert (halves["above"], halves["layers"], halves["verdict"]) == (1, 2, "none")
    assert by_claim["r_squared"][0]["value"] == pytest.approx(0.3)


def test_claims_of_nested_models_and_groups_have_a_row_for_each(base):
    table = table_of(base)
    (extremes,) = rows_by_claim(base)["groups_extremes"]
    assert extremes["verdict"] == "undecided"
    steps = table[table["claim"] == "nested_model"]
    assert steps["subject"].tolist() == [
        f"lag_1, {step}" for step in ("pooled", "document", "token", "token_previous")
    ]
    assert steps["value"].tolist() == pytest.approx([0.05, 0.25, 0.85, 1.05])
    assert set(steps["verdict"]) == {"none"}
    groups = table[table["claim"] == "groups"]
    assert groups["subject"].tolist() == ["lag_1, prose", "lag_1, verse"]
    assert groups["verdict"].tolist() == ["above", "undecided"]


def test_a_regression_without_a_fitted_layer_claims_only_that(base):
    write(base / "attention" / "within", status="too few rows")
    table = table_of(base)
    assert set(table["claim"]) == {
        *("fitted", "unfitted", "groups", "groups_counted", "groups_extremes", "nested_model")
    }
    assert table.loc[table["claim"] == "unfitted", "baseline"].tolist() == ["too few rows"]


def test_a_table_of_claims_is_read_back_as_it_was_written(base, tmp_path):
    table = table_of(base)
    table.to_parquet(tmp_path / "claims.parquet")
    rows = [*rows_in(pd.read_parquet(tmp_path / "claims.parquet"))]
    pd.testing.assert_frame_equal(
        frame(rows), table.drop(columns=["model", "corpus", "site", "analysis"])
    )


def test_analyses_are_read_in_the_order_of_the_table():
    studies = [("tiny", "small", "attention", name) for name in ("within", "pooled", "far")]
    parts = []
    for study in studies:
        parts.append(frame([Row(claim="fitted")], **dict(zip(STUDY, study, strict=True))))
    assert list(by_analysis(pd.concat(parts))) == studies


def test_what_is_unknown_is_missing():
    row = Row("lag", "lag_1", value=0.2, verdict=Verdict.TOO_FEW_TEXTS, texts=3)
    (found,) = frame([row], model="m").to_dict("records")
    assert found["texts"] == 3
    assert found["layers"] is None
    assert np.isnan([found["low"], found["level"], found["p_value"]]).all()
    assert (found["model"], found["verdict"]) == ("m", "too few texts")


def test_a_folder_of_findings_has_the_claims_of_its_site_or_of_all_pairs_of_sites():
    names = {
        "within": ("m", "c", "mlp", "heads"),
        "itself": ("m", "c", "attention", "causal"),
        "across": ("m", "c", "mlp", "causal, attention"),
        "heads": ("m", "c", "attention", "heads"),
    }
    claims = {key: Claims((Row(claim=name),)) for name, key in names.items()}
    records = {key: tables.Record(made=name) for name, key in names.items()}
    run = RunClaims(claims, records)

    def found(analysis, folder):
        return [
            (site, claims.rows[0].claim, record["made"])
            for site, claims, record in run.folder_claims(analysis, Path(folder))
        ]

    assert found("heads", "results/m/c/attention/heads") == [("attention", "heads", "heads")]
    assert found("heads", "results/m/c/mlp/heads") == [("mlp", "within", "within")]
    assert found("causal", "results/m/c/causal") == [
        ("attention", "itself", "itself"),
        ("attention to mlp", "across", "across"),
    ]
