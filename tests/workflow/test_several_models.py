"""Several models in one run: what they share, what is compared and what another one adds."""

import pandas as pd
from described import undescribed
from projects import without_figures

from attnlag.storage.tables import read_provenance

TABLES = [
    f"{table}.{kind}"
    for table in ("coefficients", "pairs", "claims")
    for kind in ("csv", "parquet")
] + ["findings.txt"]
FIGURE = "figures/attention/notebook/coefficients_by_depth.png"
CHECK = {"check_fits": 1}
COMPARISON = {"compare_models": 1, "write_comparison": 1, "plot_comparison": 1}
COMPARISON |= {"build_explorer": 1, "write_claims": 1, **CHECK}
CHAIN = dict.fromkeys(
    # With keep: norms, extraction leaves norms.
    "fetch_model tokenize_corpus summarize_tokens describe_tokens extract_activations build_design "
    "fit_regression write_findings plot_adjustments plot_regression".split(),
    1,
)


def test_two_models_of_one_run_are_compared(two_models_once, two_models, subtests):
    project, printed = two_models_once
    folder = project.folder / "results/comparison"
    made = sorted(str(p.relative_to(folder)) for p in folder.rglob("[!.]*") if p.is_file())
    assert made == sorted([*TABLES, FIGURE])
    assert list(undescribed(project.folder)) == []
    table = pd.read_parquet(folder / "coefficients.parquet")
    for model, layers in (("tiny", 2), ("llama", 3)):
        with subtests.test(model=model):
            own = pd.read_parquet(
                project.folder / f"results/{model}/small/attention/notebook/coefficients.parquet"
            )
            rows = table[table["model"] == model].reset_index(drop=True)
            pd.testing.assert_frame_equal(rows[own.columns], own)
            assert sorted(rows["depth"].unique()) == [n / (layers - 1) for n in range(layers)]
    pairs = pd.read_parquet(folder / "pairs.parquet")
    columns = "model_a model_b corpus site regression term documents layers_compared".split()
    of_pair = ["tiny", "llama", "small", "attention", "notebook"]
    expected = [[*of_pair, lag, 8, 3] for lag in ("lag_1", "lag_2")]
    assert pairs[columns].values.tolist() == expected
    record = read_provenance(folder / "pairs.parquet")
    assert record["stages"]["comparison"] == {}
    assert [study["model"] for study in record["studies"]] == ["tiny", "llama"]
    path = str(project.folder).encode()
    assert not [name for name, made in project.results("comparison/*").items() if path in made]
    findings = (folder / "findings.txt").read_text()
    assert "lag 1, attention, small: median " in findings
    assert findings in printed
    assert two_models.would_run() == {}


def test_one_model_over_one_corpus_is_not_compared(finished_once):
    project, printed = finished_once
    assert not (project.folder / "results/comparison").exists()
    assert "results/comparison" not in printed


def test_a_third_model_adds_only_its_own_jobs_and_the_comparison(two_models):
    before = two_models.results()
    two_models.write_config(models={"third": {"source": "path", "path": "mine"}})
    assert two_models.would_run() == {**CHAIN, **COMPARISON}
    two_models.run(*without_figures("plot_comparison"))
    after = two_models.results()
    changed = {path for path in before if before[path] != after[path]}
    common = {"provenance.json", "explorer.html", "answers.txt", "claims.csv", "claims.parquet"}
    assert changed == common | {f"comparison/{name}" for name in (*TABLES, FIGURE)}
    new = {path.split("/")[0] for path in set(after) - set(before)}
    assert new == {"third"}
    pairs = pd.read_parquet(two_models.folder / "results/comparison/pairs.parquet")
    of_models = pairs["model_a"] + " " + pairs["model_b"]
    assert of_models.tolist()[::2] == ["tiny llama", "tiny third", "llama third"]
    # The third is the first under another name.
    twins = pairs[of_models == "tiny third"]
    assert (twins[["layers_differing", "median_difference"]] == 0).all(axis=None)
    old = pd.read_csv(pd.io.common.BytesIO(before["comparison/pairs.csv"]))
    pd.testing.assert_frame_equal(pairs.iloc[:2], old, check_dtype=False)
    left_out = {"plot_adjustments": 1, "plot_regression": 1, **CHECK}
    assert two_models.would_run() == left_out

    # A model taken out takes its lines along, and nothing of the others is made again.
    del two_models.config["models"]["llama"]
    two_models.write_config()
    assert two_models.would_run() == {**COMPARISON, **left_out}
    two_models.run("results/comparison/coefficients.parquet")
    table = pd.read_parquet(two_models.folder / "results/comparison/coefficients.parquet")
    assert list(table["model"].unique()) == ["tiny", "third"]


def test_a_change_of_inference_runs_the_comparison_too(two_models):
    two_models.write_config(inference={"alpha": 0.1})
    of_models = dict.fromkeys(("fit_regression", "write_findings", "plot_regression"), 2)
    assert two_models.would_run() == {**of_models, **COMPARISON}
