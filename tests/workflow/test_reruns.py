"""The jobs that run again after a change, for each row of the table in docs/reruns.md.

``reruns.txt`` lists them for a project with the default sections. A change of the flow shows in the
list: run this file with ``--write-lists`` and without xdist, read the difference. A row that ran
nothing is deleted first. The page is generated from the list.
"""

import json
import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from planning import plan, rules_of
from projects import SMALL, without_figures

STORED = Path(__file__).with_name("reruns.txt")


def change(**sections):
    return lambda project: project.write_config(**sections)


def inference(**keys):
    return change(inference=keys)


def notebook(**keys):
    return change(regressions={"notebook": {"lags": [1, 2], **keys}})


def within(**keys):
    def apply(project):
        old = project.config["regressions"]["within"]
        project.write_config(regressions={"within": {**old, **keys}})

    return apply


def rewrite(path, new_text):
    """Return what puts another file in the place of one, which may be linked from elsewhere."""

    def apply(project):
        file = project.folder / path
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        file.unlink(missing_ok=True)
        file.write_text(new_text(text), encoding="utf-8")

    return apply


def edit(path, text="\nONE = 1\n"):
    return rewrite(path, lambda old: old + text)


def code(path, *text):
    return edit(f"scripts/attnlag/{path}", *text)


def touch_everything(project):
    for part in ("Snakefile", "workflow", "scripts", "profiles", "config", "data", "mine"):
        base = project.folder / part
        for path in [base, *base.rglob("*")]:
            if path.is_file() and path.suffix != ".safetensors":
                content = path.read_bytes()
                path.unlink()
                path.write_bytes(content)


def replace(path, old, new):
    def replaced(text):
        assert old in text
        return text.replace(old, new)

    return rewrite(path, replaced)


def replace_by_older(path, old, new):
    """Put another file in the place of one, older than it, as ``cp -p`` and ``mv`` do."""

    def apply(project):
        replace(path, old, new)(project)
        os.utime(project.folder / path, (1e9, 1e9))

    return apply


def another_document(project):
    row = {"id": "new", "genre": "odd", "text": "one more document of some words " * 5}
    edit("data/small.jsonl", json.dumps(row) + "\n")(project)


def delete_vectors_and_change_lags(project):
    shutil.rmtree(project.folder / "results/tiny/small/attention/activations")
    notebook(lags=[1, 3])(project)


def in_other_order(project):
    regressions = project.config["regressions"]
    project.config["regressions"] = {name: regressions[name] for name in [*regressions][::-1]}
    project.write_config()


OPTIONAL = ["geometry", "heads", "surprisal"]
PATHS = {"blocks": "h", "attention": "attn", "mlp": "mlp"}


def of_model(**keys):
    return change(models={"tiny": {"source": "path", "path": "mine", **keys}})


# The rows of the table in docs/reruns.md, and changes each of which alone runs the same jobs.
ROWS = {
    "`figures.formats`": [change(figures={"formats": ["png", "svg"]})],
    "`figures.sizes`": [change(figures={"sizes": ["page", "column"]})],
    "`figures.layers`": [change(figures={"layers": [1]})],
    "`figures.titles`": [change(figures={"titles": False})],
    "`inference`: covariance, clusters, correction": [
        *(inference(covariance="cluster-jackknife"), inference(adjust="none")),
    ],
    "`inference.equivalence_bound`": [inference(equivalence_bound=0.1)],
    "`inference.alpha`": [inference(alpha=0.1)],
    "`inference`: draws, seed": [inference(bootstrap=100), inference(seed=1)],
    "`inference`: folds, `hac_lags`": [inference(folds=5), inference(hac_lags=3)],
    "`controls.permutation`": [change(controls={"permutation": {"draws": 29}})],
    "`controls`: null": [change(controls={"permutation": None, "random_weights": None})],
    "`controls.random_weights`": [change(controls={"random_weights": {"documents": 4}})],
    "`controls.random_weights`: seed": [change(controls={"random_weights": {"seed": 5}})],
    "`fixed_effects` of a regression": [notebook(fixed_effects="document")],
    "`slopes_by` of a regression": [notebook(slopes_by={"word_initial": "outcome"})],
    "lags, leads, covariates, outcome of a regression": [
        notebook(lags=[1, 2, 3]),
        notebook(leads=[1]),
        notebook(covariates=["position"]),
        notebook(outcome="relative"),
        notebook(covariates=["group", "log_frequency"]),
    ],
    "the same of the regression whose terms the heads have": [within(lags=[1, 2, 3])],
    "lags in another order; knots of a spline, rows of a class that are not asked for": [
        notebook(lags=[2, 1], min_rows_per_class=30, position_knots=[2, 8, 32]),
    ],
    "the order of regressions": [in_other_order],
    "one more regression": [change(regressions={"far": {"lags": [5]}})],
    "`norms`": [change(norms={"drop_first": 2})],
    "one more model": [change(models={"other": {"source": "path", "path": "mine"}})],
    "`revisions` of a model": [of_model(revisions=["mine"])],
    "`controls.revisions` where no model has any": [
        change(controls={"revisions": {"documents": 9}}),
        change(controls={"revisions": None}),
    ],
    "one more corpus": [change(corpora={"more": SMALL})],
    "`tokens`": [change(tokens={"max_length": 32})],
    "`tagger` of a corpus": [change(corpora={"small": {**SMALL, "tagger": {"groups": ["odd"]}}})],
    "`extraction.sites`": [change(extraction={"sites": ["attention", "mlp"]})],
    "`extraction.quantities`": [change(extraction={"quantities": OPTIONAL})],
    "`extraction.quantities`: none": [change(extraction={"quantities": []})],
    "`extraction.dtype`; module paths of a model": [
        change(extraction={"dtype": "float32"}),
        of_model(modules=PATHS),
    ],
    "`extraction.attention_implementation`": [
        change(extraction={"attention_implementation": "eager"})
    ],
    "`extraction.storage_dtype`": [change(extraction={"storage_dtype": "bfloat16"})],
    "`extraction.fast`": [change(extraction={"fast": False})],
    "`extraction.keep`": [change(extraction={"keep": "norms"})],
    "`extraction`: device, batch size; threads": [
        change(extraction={"batch_tokens": 99, "device": "cpu"})
    ],
    "`causal`: targets, lags, sign_draws, documents, sites, interventions": [
        change(causal={"targets": [1]}),
        change(causal={"sign_draws": 2, "seed": 1}),
        change(causal={"documents": "all", "document_tokens": 9}),
        change(causal={"interventions": ["zero"]}),
    ],
    "`causal.batch_tokens`": [change(causal={"batch_tokens": 50})],
    "`causal: null`": [change(causal=None)],
    "`sources: null`": [change(sources=None)],
    "`sources`: documents, tokens": [change(sources={"documents": 2, "document_tokens": 9})],
    "stated `layers` and `width` of a model": [of_model(layers=2, width=32)],
    "a document added to a corpus": [another_document],
    "a file of a corpus replaced by another, even an older one": [
        replace_by_older("data/small.jsonl", "river", "brook")
    ],
    "a file of a model replaced by another, even an older one": [
        replace_by_older("mine/config.json", '"gelu_new"', '"gelu"')
    ],
    "the number of shards of a corpus": [change(corpora={"small": {**SMALL, "shards": 2}})],
    "the command of all rules": [
        replace("workflow/rules/program.smk", "OMP_NUM_THREADS=1", "OMP_NUM_THREADS=2")
    ],
    "code that draws": [code("figures/drawing.py")],
    "the program that draws": [edit("scripts/draw_figures.py")],
    "the page of the explorer": [code("report/explorer/page.css", "/* a comment */\n")],
    "code that words": [code("report/lines.py")],
    "the words of claims": [code("wording.py")],
    "code of regressions": [
        code("regression/estimation/least_squares.py"),
        code("regression/design/design.py", '"""One."""  # 1\n'),
    ],
    "code of models or of quantities": [
        code("model/decoder.py", "# 1\n"),
        code("model/hooks.py"),
    ],
    "code that fetches models": [code("model/hub.py", "# 1\n")],
    "code of corpora": [code("corpus/tokens.py", "# 1\n")],
    "code of interventions": [code("interventions/effects.py", "# 1\n")],
    "the program `fit_regression`, a message too": [
        edit("scripts/fit_regression.py"),
        replace("scripts/fit_regression.py", "{name}: fitted", "{name}: did"),
    ],
    "the version; what only reads, writes, checks or explains": [
        replace("scripts/attnlag/__init__.py", '__version__ = "', '__version__ = "9.'),
        replace("scripts/attnlag/errors.py", "did you mean", "perhaps"),
        code("regression/settings.py"),
        code("storage/writing.py"),
        code("config/problems.py"),
        edit("mine/README.md", "A file that is not part of the model.\n"),
    ],
    "files that are touched and not changed": [touch_everything],
    "vectors deleted, then lags changed": [delete_vectors_and_change_lags],
}


def stored():
    """Return the jobs of each row of the list."""
    lines = STORED.read_text(encoding="utf-8").splitlines()
    return dict(zip(lines[::2], map(str.strip, lines[1::2]), strict=True))


def planned(project):
    """Return the jobs of a run as a line of the list: those that start it > those that follow."""
    found = plan(project.folder)
    made = {path for job in found for path in job.made}
    first = {job.rule for job in found if not made & set(job.given)}
    jobs = [(rule, f"{rule} {n}") for rule, n in sorted(rules_of(found).items())]
    parts = [", ".join(job for rule, job in jobs if (rule in first) == at) for at in (True, False)]
    return " > ".join(filter(None, parts)) or "nothing"


def test_the_list_has_each_row():
    assert list(stored()) == list(ROWS)


@pytest.mark.parametrize(
    ("row", "apply"),
    # Changes that run nothing are all made together, in another test.
    [(row, apply) for row in ROWS if stored().get(row) != "nothing" for apply in ROWS[row]],
)
def test_a_change_runs_the_documented_jobs(to_plan, write_lists, row, apply):
    apply(to_plan)
    jobs = planned(to_plan)
    if write_lists:
        rows = stored() | {row: jobs}
        lines = [f"{each}\n  {rows[each]}\n" for each in ROWS if each in rows]
        STORED.write_text("".join(lines), encoding="utf-8")
    assert stored()[row] == jobs


def test_changes_that_run_nothing_run_nothing_together(to_plan):
    for row, changes in ROWS.items():
        if stored()[row] == "nothing":
            for apply in changes:
                apply(to_plan)
    assert planned(to_plan) == "nothing"


def test_the_command_line_plans_the_same_jobs_and_names_the_settings_that_changed(to_plan):
    """The other Snakefile, which a module names, and a number of threads change nothing."""
    others = ("--snakefile", "workflow/Snakefile", "--set-threads", "extract_activations=1")
    assert "Nothing to be done" in to_plan.run("-n", *others)
    to_plan.write_config(inference={"alpha": 0.1})
    # What comes first is the name of the profile.
    _, changed, counted, *jobs = to_plan.run("-n").splitlines()
    assert changed == "inference.alpha: 0.05 → 0.1"
    assert counted.endswith(" jobs to run:")
    counts = (re.fullmatch(r" +(\d+)  (\w+)", line) for line in jobs)
    expected = {**to_plan.would_run(), "default": 1}
    assert {job[2]: int(job[1]) for job in counts if job} == expected


def test_a_plan_names_the_safeguards_that_a_regression_leaves_out(fresh):
    within = {"lags": [1, 2, 3], "fixed_effects": "document"}
    fresh.write_config(regressions={"within": within})
    (line,) = re.findall(r"regressions\..*", fresh.run("-n"))
    lacking = "{bias_correction: half-panel, covariates: [position]}"
    assert line == f"regressions.within: without {lacking}, which it has by default"
    # What is stated is chosen.
    chosen = {"bias_correction": "none", "covariates": ["position"]}
    fresh.write_config(regressions={"within": {**within, **chosen}})
    assert "without" not in fresh.run("-n")


def test_after_the_rerun_of_a_change_nothing_is_left_to_do(finished):
    """The jobs really run, their results change, and all other files keep their bytes."""
    before = finished.results()
    finished.write_config(inference={"covariance": "nonrobust"})
    finished.run(*without_figures())
    after = finished.results()
    changed = {path for path in before if before[path] != after[path]} - {"provenance.json"}
    assert "tiny/small/attention/notebook/coefficients.csv" in changed
    # The effects of interventions stand beside these coefficients, and heads have their terms.
    site = "tiny/small/attention"
    shared = "explorer.html", "claims."
    folders = (f"{site}/notebook/", f"{site}/heads/", "tiny/small/causal/", *shared)
    assert all(path.startswith(folders) for path in changed)
    assert not any("causal/effects/" in path for path in changed)
    stages = ("/design/", "/crossproducts/")
    assert not any(stage in path for stage in stages for path in changed)
    drawn = ("plot_regression", "plot_effects", "plot_heads", "check_fits")
    assert finished.would_run() == dict.fromkeys(drawn, 1)


def test_tables_of_other_settings_are_made_again_where_snakemake_has_no_record(finished):
    """Such a folder is copied without hidden files."""
    table = finished.folder / "results/tiny/small/attention/notebook/coefficients.parquet"
    shutil.rmtree(finished.folder / ".snakemake")
    assert "Nothing to be done" in finished.run("-n")
    finished.write_config(inference={"alpha": 0.01})
    times = {path: path.stat().st_mtime_ns for path in finished.folder.glob("results/**/*")}
    printed = finished.run("-n")
    # A dry run changes nothing.
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert "coefficients.parquet: made with other settings (alpha: 0.05 → 0.01); fit_reg" in printed
    assert re.search(r"^ +1  fit_regression$", printed, re.M)
    # Whoever keeps the tables all the same says so.
    finished.run("--touch")
    nothing = "Nothing to be done (all requested files are present and up to date)."
    last_lines = finished.run().splitlines()[-2:]
    assert last_lines == [nothing, "answers: results/answers.txt"]
    # Tables that the configuration does not ask for stay.
    finished.write_config(regressions={"other": {"lags": [1]}}, inference={"alpha": 0.1})
    assert "made with other settings" not in finished.run("-n")
    shutil.rmtree(finished.folder / ".snakemake")
    finished.run(str(table.relative_to(finished.folder)))
    intervals = pd.read_parquet(table).set_index(["layer", "term"])
    assert intervals.loc[(0, "lag_1"), "conf_high"] > intervals.loc[(0, "lag_1"), "estimate"]
    job = json.loads(pq.read_metadata(table).metadata[b"attnlag.job"])
    assert (job["stage"], job["settings"]["alpha"]) == ("fit_regression", 0.1)
