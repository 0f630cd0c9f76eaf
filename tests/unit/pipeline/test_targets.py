"""The files that a configuration asks for, beside lists that are written out."""

import copy

import pytest

from attnlag.config.schema import Config
from attnlag.pipeline.analyses import is_asked
from attnlag.pipeline.targets import (
    claimed_tables,
    explorer_tables,
    final_targets,
    findings_files,
)

# Nothing optional.
PLAIN = {
    "models": {"m": {"source": "path", "path": "m"}},
    "corpora": {"c": {"files": "x.txt"}},
    "regressions": {"notebook": {"lags": [1]}},
    "extraction": {"quantities": []},
    "controls": {"permutation": None, "random_weights": None},
    "causal": None,
    "sources": None,
}
MADE = """
results/m/c/token_summary.parquet results/m/c/token_summary.csv
results/m/c/token_properties/0000.parquet
results/m/c/attention/figures
results/m/c/attention/notebook/coefficients.parquet results/m/c/attention/notebook/coefficients.csv
results/m/c/attention/notebook/medians.parquet results/m/c/attention/notebook/medians.csv
results/m/c/attention/notebook/fits.parquet results/m/c/attention/notebook/fits.csv
results/m/c/attention/notebook/influence.parquet results/m/c/attention/notebook/influence.csv
results/m/c/attention/notebook/controls.parquet results/m/c/attention/notebook/controls.csv
results/m/c/attention/notebook/groups.parquet results/m/c/attention/notebook/groups.csv
results/m/c/attention/notebook/figures
results/m/c/attention/notebook/findings.txt
results/claims.parquet results/claims.csv
results/answers.txt
results/explorer.html
""".split()
# What one more setting adds, for the model m and the corpus c.
ADDED = {
    "controls": (
        {"permutation": {"draws": 19}, "random_weights": {"scales": ["own"]}},
        "attention/notebook/untrained_scales.parquet attention/notebook/untrained_scales.csv",
    ),
    "geometry": (
        {"quantities": ["geometry"]},
        "attention/geometry/0000.parquet attention/geometry/means.parquet "
        "attention/geometry/means.csv attention/geometry/findings.txt",
    ),
    "heads": (
        {"quantities": ["heads"]},
        "attention/heads/0000.parquet attention/heads/heads.parquet attention/heads/heads.csv "
        "attention/heads/head_coefficients.parquet attention/heads/head_coefficients.csv "
        "attention/heads/figures attention/heads/findings.txt",
    ),
    "surprisal": ({"quantities": ["surprisal"]}, "surprisal/0000.parquet"),
    "sources": (
        {},
        "attention/readout/means.parquet attention/readout/means.csv "
        "attention/readout/findings.txt attention/sources/shares.parquet "
        "attention/sources/shares.csv "
        "attention/sources/lags.parquet attention/sources/lags.csv attention/sources/figures "
        "attention/sources/findings.txt",
    ),
    "causal": (
        {},
        "causal/total_effects.parquet causal/total_effects.csv causal/elasticities.parquet "
        "causal/elasticities.csv causal/finite_effects.parquet causal/finite_effects.csv "
        "causal/prediction_vs_effect.parquet causal/prediction_vs_effect.csv "
        "causal/figures/attention causal/findings.txt",
    ),
    "regressions": (
        {"notebook": {"lags": [1], "slopes_by": {"word_initial": "outcome"}}},
        "attention/notebook/classes.parquet attention/notebook/classes.csv "
        "attention/notebook/equal_slopes.parquet attention/notebook/equal_slopes.csv "
        "attention/notebook/nested_models.parquet attention/notebook/nested_models.csv "
        "attention/notebook/classes/figures",
    ),
    # The page alone shows the figures of further regressions.
    "two regressions": (
        {"notebook": {"lags": [1]}, "second": {"lags": [2]}},
        "attention/second/coefficients.parquet attention/second/coefficients.csv "
        "attention/second/medians.parquet attention/second/medians.csv "
        "attention/second/fits.parquet attention/second/fits.csv "
        "attention/second/influence.parquet attention/second/influence.csv "
        "attention/second/controls.parquet attention/second/controls.csv "
        "attention/second/groups.parquet attention/second/groups.csv "
        "attention/second/findings.txt",
    ),
    "shards": (
        {"c": {"files": "x.txt", "shards": 2}},
        "token_properties/0001.parquet",
    ),
    "two sites": (
        {"sites": ["attention", "mlp"], "quantities": []},
        "mlp/figures mlp/notebook/coefficients.parquet mlp/notebook/coefficients.csv "
        "mlp/notebook/medians.parquet mlp/notebook/medians.csv mlp/notebook/fits.parquet "
        "mlp/notebook/fits.csv mlp/notebook/influence.parquet mlp/notebook/influence.csv "
        "mlp/notebook/controls.parquet mlp/notebook/controls.csv mlp/notebook/groups.parquet "
        "mlp/notebook/groups.csv mlp/notebook/figures mlp/notebook/findings.txt figures/notebook",
    ),
}
SECTIONS = {
    "geometry": "extraction",
    "heads": "extraction",
    "surprisal": "extraction",
    "two sites": "extraction",
    "two regressions": "regressions",
    "shards": "corpora",
}


def config_with(**sections) -> Config:
    return Config.model_validate(copy.deepcopy(PLAIN) | sections)


def test_a_run_without_options_makes_these_files():
    assert sorted(final_targets(config_with())) == sorted(MADE)


@pytest.mark.parametrize("setting", ADDED)
def test_a_setting_adds_these_files(setting):
    values, added = ADDED[setting]
    config = config_with(**{SECTIONS.get(setting, setting): values})
    found = final_targets(config)
    assert len(found) == len(set(found))
    assert set(found) - set(MADE) == {f"results/m/c/{path}" for path in added.split()}
    assert set(MADE) <= set(found)


def test_a_covariate_is_measured_although_no_quantity_is_asked_for():
    lags = {"lags": [1], "covariates": ["surprisal"]}
    config = config_with(extraction={"quantities": []}, regressions={"r": lags})
    assert "surprisal" in config.quantities_measured()
    config = config_with(extraction={"quantities": []}, regressions={"r": {"lags": [1]}})
    assert "surprisal" not in config.quantities_measured()


def test_two_models_are_compared():
    one = {"source": "path", "path": "m"}
    config = config_with(models={"m": one, "other": one})
    found = set(final_targets(config)) - set(MADE)
    of_other = {path.replace("/m/", "/other/") for path in MADE if "/m/" in path}
    assert found - of_other == {
        *("results/comparison/coefficients.parquet", "results/comparison/coefficients.csv"),
        *("results/comparison/pairs.parquet", "results/comparison/pairs.csv"),
        *("results/comparison/claims.parquet", "results/comparison/claims.csv"),
        "results/comparison/findings.txt",
        "results/comparison/figures/attention/notebook",
    }
    assert of_other <= found


def test_checkpoints_are_fitted_in_regressions_of_norms_alone():
    """A model without earlier checkpoints has none of their files."""
    trained = {"source": "path", "path": "m", "revisions": ["step64"]}
    config = config_with(
        models={"m": trained, "other": {"source": "path", "path": "m"}},
        controls={**PLAIN["controls"], "revisions": {"documents": 6}},
        regressions={"notebook": {"lags": [1]}, "angles": {"lags": [1], "outcome": "angle"}},
        extraction={"quantities": ["geometry"]},
    )
    folder = "results/m/c/attention/notebook"
    assert sorted(path for path in final_targets(config) if "training" in path) == [
        f"{folder}/training.csv",
        f"{folder}/training.parquet",
        f"{folder}/training/figures",
        f"{folder}/training_layers.csv",
        f"{folder}/training_layers.parquet",
    ]
    assert explorer_tables(config, "m", "c")["training"] == [f"{folder}/training.parquet"]
    assert explorer_tables(config, "other", "c")["training"] == []
    assert claimed_tables(config, "m", "c")["training"] == [f"{folder}/training.parquet"]
    assert claimed_tables(config, "other", "c")["training"] == []
    shown = explorer_tables(config, "m", "c")["training_layers"]
    assert shown == [f"{folder}/training_layers.parquet"]


def test_claims_are_made_from_the_tables_of_every_analysis():
    both = {"sites": ["attention", "mlp"], "quantities": ["geometry", "heads"]}
    config = config_with(extraction=both, sources={}, causal={})
    files = claimed_tables(config, "m", "c")
    attention = "results/m/c/attention"
    assert files["fits"] == [
        f"{attention}/notebook/fits.parquet",
        "results/m/c/mlp/notebook/fits.parquet",
    ]
    assert files["directions"][0] == f"{attention}/geometry/means.parquet"
    assert files["head_coefficients"] == [f"{attention}/heads/head_coefficients.parquet"]
    assert files["shares"] == [f"{attention}/sources/shares.parquet"]
    assert files["readout"][1] == "results/m/c/mlp/readout/means.parquet"
    assert files["finite_effects"] == ["results/m/c/causal/finite_effects.parquet"]
    # The page shows all that is claimed.
    assert files.items() <= explorer_tables(config, "m", "c").items()


def test_findings_may_have_the_names_of_wildcards():
    files = findings_files(config_with(sources={}), "{model}", "{corpus}")
    assert files == {
        "regressions": ["results/{model}/{corpus}/attention/notebook/findings.txt"],
        "readout": ["results/{model}/{corpus}/attention/readout/findings.txt"],
        "sources": ["results/{model}/{corpus}/attention/sources/findings.txt"],
    }


@pytest.mark.parametrize(
    ("models", "corpora", "compared"), [(1, 1, False), (2, 1, True), (1, 2, True), (2, 2, True)]
)
def test_several_studies_are_compared(models, corpora, compared):
    raw = {
        "models": {f"m{n}": {"source": "path", "path": "mine"} for n in range(models)},
        "corpora": {f"c{n}": {"files": ["a.txt"]} for n in range(corpora)},
    }
    assert is_asked("comparison", Config.model_validate(raw)) == compared
