"""The jobs that run again after a change, for each row of the table in the documentation."""

import copy
import json
import os
import re
import shutil

import pytest
from programs import NAMES
from projects import ROOT, Project, without_figures

from attnlag.config.schema import Config
from attnlag.pipeline import stages

# Whatever is made again, the last job checks it.
CHECK = {"check_fits": 1}
# It shows what is found, and every token.
EXPLORER = {"build_explorer": 1, **CHECK}
WORDS = {"write_findings": 1, **EXPLORER}
FIGURES = {"plot_regression": 1, **CHECK}
OF_EFFECTS = {"plot_effects": 1}
EFFECTS = {"fit_effects": 1, **OF_EFFECTS, **WORDS}
ESTIMATES = {"estimate_effects": 1, **EFFECTS, **CHECK}
OTHER_REGRESSION = {"fit_regression": 1, **FIGURES, **WORDS}
# The effects of interventions stand beside its coefficients.
REGRESSION = {**OTHER_REGRESSION, **EFFECTS}
DESIGN = {"build_design": 1, **REGRESSION}
OF_NORMS = {"plot_norms": 1}
OF_GEOMETRY = {"plot_geometry": 1}
GEOMETRY = {"summarize_geometry": 1, **OF_GEOMETRY, **WORDS}
COSINES = {"compare_directions": 1, **GEOMETRY}
DIRECTIONS = {"merge_vector_sums": 1, **COSINES}
WITHOUT_DIRECTIONS = {"compute_norms": 1, **OF_NORMS, **DESIGN}
OF_HEADS = {"plot_heads": 1}
HEADS = {"summarize_heads": 1, **OF_HEADS, **WORDS}
# The attention of heads to first tokens comes from the same passes.
SOURCES = {"trace_sources": 1, "summarize_sources": 1, "plot_sources": 1, **HEADS}
NORMS = {**WITHOUT_DIRECTIONS, **DIRECTIONS, **HEADS}
ALL_FIGURES = {**OF_NORMS, **OF_GEOMETRY, **OF_HEADS, **OF_EFFECTS, **FIGURES}
COMPARISON = {"compare_models": 1, "write_comparison": 1, "plot_comparison": 1}
STORAGE = {"extract_activations": 1, **NORMS}
EXTRACTION = {**STORAGE, **ESTIMATES}
PROPERTIES = {"describe_tokens": 1, **OF_NORMS, **ESTIMATES, **EXPLORER}
TOKENS = {"tokenize_corpus": 1, "summarize_tokens": 1, **PROPERTIES, **EXTRACTION}

# In two shards: these once for each of them.
PER_SHARD = (
    *("tokenize_corpus", "describe_tokens", "extract_activations", "compute_norms"),
    *("estimate_effects", "compare_directions"),
    "build_design",
)
SHARDED = {**TOKENS, **dict.fromkeys(PER_SHARD, 2)}


def change(**sections):
    return lambda project: project.write_config(**sections)


def notebook(**keys):
    return change(regressions={"notebook": {"lags": [1, 2], **keys}})


def times(number, jobs):
    """Return the jobs of several regressions or sites, which one page shows and one job checks."""
    return {**{rule: number * count for rule, count in jobs.items()}, **WORDS}


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
                os.utime(path)


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


def without(section):
    def apply(project):
        project.config[section] = None
        project.write_config()

    return apply


def without_effects(jobs):
    return {rule: count for rule, count in jobs.items() if rule not in EFFECTS or rule in WORDS}


def another_document(project):
    row = {"id": "new", "genre": "odd", "text": "one more document of some words " * 5}
    edit("data/small.jsonl", json.dumps(row) + "\n")(project)


def delete_vectors_and_change_lags(project):
    shutil.rmtree(project.folder / "results/tiny/small/attention/activations")
    project.write_config(regressions={"notebook": {"lags": [1, 3]}})


PATHS = {"blocks": "h", "attention": "attn", "mlp": "mlp"}
SMALL = {"files": ["data/small.jsonl"], "id": "id", "text": "text", "group": "genre"}

BY_CLASS = dict.fromkeys(("accumulate_classes", "fit_classes", "decompose_lags", "plot_classes"), 1)

# The rows of the table in docs/reruns.md: jobs, and changes each of which alone runs them.
ROWS = {
    "nothing": [({}, change())],
    "`figures`: formats, sizes, layers, documents of the text": [
        (ALL_FIGURES, change(figures={"formats": ["png", "svg"]})),
        (ALL_FIGURES, change(figures={"sizes": ["page", "column"]})),
        (FIGURES, change(figures={"layers": [1]})),
        (
            {**OF_NORMS, **CHECK},
            change(figures={"text_layer": 0}),
            change(figures={"documents": {"small": ["doc-3"]}}),
        ),
    ],
    "`inference`: covariance, alpha, clusters, correction, what is negligible, draws, folds": [
        (
            {**REGRESSION, **HEADS},
            change(inference={"covariance": "nonrobust"}),
            change(inference={"adjust": "none"}),
            change(inference={"stack_mb": 1}),
        ),
        ({**REGRESSION, **HEADS}, change(inference={"negligible": 0.1})),
        ({**REGRESSION, **GEOMETRY, **HEADS}, change(inference={"alpha": 0.01})),
        (
            REGRESSION,
            change(inference={"bootstrap": 100}),
            change(inference={"seed": 1}),
        ),
        (REGRESSION, change(inference={"folds": 5})),
    ],
    "`inference.hac_lags`": [(REGRESSION, change(inference={"hac_lags": 3}))],
    "`fixed_effects` of a regression": [
        ({**REGRESSION, **HEADS}, notebook(fixed_effects="document"))
    ],
    "`by` of a regression": [({**BY_CLASS, **WORDS}, notebook(by={"word_initial": "outcome"}))],
    "`bias_correction` of a regression": [
        (
            {**DESIGN, **HEADS},
            notebook(fixed_effects="document", bias_correction="half-panel"),
        ),
    ],
    "`controls`": [
        (
            {"permute_documents": 1, **REGRESSION},
            change(controls={"permutation": {"draws": 19}}),
        ),
        (
            {"extract_random_weights": 1, **REGRESSION, **GEOMETRY, **HEADS},
            change(controls={"random_weights": {"documents": 4}}),
        ),
    ],
    "lags, leads, covariates or outcome of a regression": [
        (
            {**DESIGN, **HEADS},
            notebook(lags=[1, 2, 3]),
            notebook(leads=[1]),
            notebook(covariates=["position"]),
        ),
        ({**DESIGN, **HEADS}, notebook(outcome="relative")),
        ({**DESIGN, **HEADS}, notebook(covariates=["group", "log_frequency"])),
    ],
    "lags in another order; knots of a spline, rows of a class that are not asked for": [
        (
            {},
            change(
                regressions={
                    "notebook": {"lags": [2, 1], "by_rows": 30, "position_knots": [2, 8, 32]}
                }
            ),
        ),
    ],
    "one more regression": [
        (
            {"plot_specifications": 1, **without_effects(DESIGN)},
            change(regressions={"far": {"lags": [5]}}),
        ),
    ],
    "`norms`": [
        (
            {**OF_NORMS, **COSINES, **HEADS, **DESIGN, **ESTIMATES},
            change(norms={"drop_first": 2}),
        ),
    ],
    "one more model or corpus": [
        (
            {"fetch_model": 1, **TOKENS, **COMPARISON},
            change(models={"other": {"source": "path", "path": "mine"}}),
        ),
        ({"prepare_corpus": 1, **TOKENS, **COMPARISON}, change(corpora={"more": SMALL})),
    ],
    "`tokens`": [(TOKENS, change(tokens={"max_length": 32}))],
    "`tagger` of a corpus": [
        (
            PROPERTIES,
            change(corpora={"small": {**SMALL, "tagger": {"groups": ["odd"]}}}),
        ),
    ],
    "`extraction`: sites, directions, heads, surprisal, dtype, precision of storage, "
    "implementation of attention, fast paths; module paths of a model": [
        (
            {
                "extract_activations": 1,
                **times(2, {**WITHOUT_DIRECTIONS, **DIRECTIONS}),
                **HEADS,
                **ESTIMATES,
                "plot_effects": 4,
                "plot_sites": 1,
            },
            change(extraction={"sites": ["attention", "mlp"]}),
        ),
        (
            {"extract_activations": 1, **WITHOUT_DIRECTIONS, **HEADS, **EFFECTS},
            change(extraction={"quantities": ["heads"]}),
        ),
        (
            {"extract_activations": 1, **WITHOUT_DIRECTIONS, **DIRECTIONS, **EFFECTS},
            change(extraction={"quantities": ["geometry"]}),
        ),
        (
            {**STORAGE, "plot_surprisal": 1},
            change(extraction={"quantities": ["geometry", "heads", "surprisal"]}),
        ),
        (
            EXTRACTION,
            change(extraction={"dtype": "float32"}),
            change(extraction={"attention_implementation": "eager"}),
            change(models={"tiny": {"source": "path", "path": "mine", "modules": PATHS}}),
        ),
        (
            STORAGE,
            change(extraction={"storage_dtype": "bfloat16"}),
            change(extraction={"fast": "off"}),
        ),
    ],
    "`extraction`: device, batch size; threads": [
        ({}, change(extraction={"batch_tokens": 99, "device": "cpu"}))
    ],
    "`causal`: targets, lags, probes, documents, sites, interventions": [
        (
            ESTIMATES,
            change(causal={"targets": [1]}),
            change(causal={"probes": 2, "seed": 1}),
            change(causal={"documents": "all", "document_tokens": 9}),
            change(causal={"interventions": ["zero"]}),
        ),
    ],
    "`causal.batch_tokens`": [({}, change(causal={"batch_tokens": 50}))],
    "`causal: null`": [(WORDS, without("causal"))],
    "`sources`: documents, tokens": [
        # They were null.
        (SOURCES, change(sources={"documents": 2, "document_tokens": 9})),
    ],
    "stated `layers` and `width` of a model": [
        ({}, change(models={"tiny": {"source": "path", "path": "mine", "layers": 2, "width": 32}}))
    ],
    "a document added to a corpus": [({"prepare_corpus": 1, **TOKENS}, another_document)],
    "a file of a corpus, of tags or of a model replaced by another, even an older one": [
        ({"prepare_corpus": 1, **TOKENS}, replace_by_older("data/small.jsonl", "river", "brook")),
        (
            {"fetch_model": 1, **TOKENS},
            replace_by_older("mine/config.json", '"gelu_new"', '"gelu"'),
        ),
    ],
    "the number of shards of a corpus": [
        (SHARDED, change(corpora={"small": {**SMALL, "shards": 2}}))
    ],
    "code that computes, or that tells of it in words": [
        (ALL_FIGURES, code("figures/drawing.py")),
        (EXPLORER, code("report/explorer/page.css", "/* a comment */\n")),
        (WORDS, code("report/wording.py")),
        ({**REGRESSION, **HEADS}, code("regression/estimation/regress.py")),
        (DIRECTIONS | WITHOUT_DIRECTIONS | HEADS, code("storage/sums.py")),
        (REGRESSION, edit("scripts/fit_regression.py")),
    ],
    "the version; a message, a comment, a docstring; a line that reads, writes or checks": [
        (
            {},
            replace("scripts/attnlag/__init__.py", '__version__ = "', '__version__ = "9.'),
            replace(
                "scripts/attnlag/model/hooks.py", "fails the proof of its sites", "is unproven"
            ),
            code("regression/design/design.py", '"""One."""  # 1\n'),
            replace("scripts/attnlag/errors.py", "did you mean", "perhaps"),
            replace("scripts/fit_regression.py", "{name}: fitted", "{name}: did"),
            edit("scripts/draw_figures.py"),
            code("storage/writing.py"),
            code("config/problems.py"),
            edit("mine/README.md", "A file that is not part of the model.\n"),
        ),
    ],
    "a git checkout that touches files and does not change them": [({}, touch_everything)],
    "vectors deleted, then lags changed": [({**DESIGN, **HEADS}, delete_vectors_and_change_lags)],
}


def test_the_documentation_lists_each_change_and_its_jobs():
    page = (ROOT / "docs/reruns.md").read_text(encoding="utf-8")
    lines = page.partition("| what you change |")[2].partition("\n\n")[0].splitlines()[2:]
    table = dict(re.fullmatch(r"\| (.*?) \| (.*) \|", line).groups() for line in lines)
    assert list(table) == list(ROWS)
    for change_made, rows in ROWS.items():
        assert (table[change_made] == "nothing") == (not any(jobs for jobs, *_ in rows))


RUNNING = {
    f"{change_made} {number}": (jobs, *changes)
    for change_made, rows in ROWS.items()
    for number, (jobs, *changes) in enumerate(rows)
    if jobs
}


@pytest.mark.parametrize("row", RUNNING)
def test_a_change_runs_the_documented_jobs(to_plan, tmp_path, row):
    """The further changes of a row change settings of the same stages, which run the same jobs."""
    jobs, first, *others = RUNNING[row]
    changed = [stages_changed(to_plan, change, tmp_path) for change in (first, *others) if others]
    assert changed == changed[:1] * len(changed)
    assert set() not in changed
    first(to_plan)
    assert to_plan.would_run() == jobs


def stages_changed(project, change, tmp_path):
    """Return the stages of a finished project whose settings a change changes."""
    changed = Project(tmp_path, copy.deepcopy(project.config))
    (tmp_path / "config").mkdir(exist_ok=True)
    change(changed)
    before, after = (Config.model_validate(each.config) for each in (project, changed))
    return {
        stage
        for stage in TOKENS
        if (settings := stages.settings_of(stage, before))
        and settings(NAMES) != stages.settings_of(stage, after)(NAMES)
    }


def test_changes_that_run_nothing_run_nothing_together(finished):
    for rows in ROWS.values():
        for jobs, *changes in rows:
            for apply in changes if not jobs else ():
                apply(finished)
    assert finished.would_run() == {}


def test_the_command_line_plans_the_same_jobs(to_plan):
    """The other Snakefile, which a module names, and a number of threads change nothing."""
    threads = ("--set-threads", "extract_activations=1")
    assert to_plan.dry_run("--snakefile", "workflow/Snakefile", *threads) == {}
    to_plan.write_config(inference={"adjust": "none"})
    assert to_plan.dry_run() == {**REGRESSION, **HEADS}


# With five regressions, both controls, and two shards; figures are still to be drawn.
DRAWN = {"plot_norms": 1, "plot_regression": 1, "plot_specifications": 1, **CHECK}
REFITTED = {"fit_regression": 5, **WORDS, **DRAWN}


def keys_of(regression, **keys):
    def apply(project):
        old = project.config["regressions"][regression]
        project.write_config(regressions={regression: {**old, **keys}})

    return apply


@pytest.mark.parametrize(
    ("apply", "jobs"),
    [
        (lambda project: None, DRAWN),
        (change(controls={"permutation": {"draws": 29}}), {"permute_documents": 10, **REFITTED}),
        (
            change(controls={"random_weights": {"documents": 6, "seed": 1}}),
            {"extract_random_weights": 1, **REFITTED},
        ),
        (change(controls={"permutation": None, "random_weights": None}), REFITTED),
        (change(inference={"alpha": 0.02}), REFITTED),
        (
            keys_of("rich", covariates=["log_frequency"]),
            {"build_design": 2, "permute_documents": 2, **OTHER_REGRESSION, **DRAWN},
        ),
        (
            keys_of("notebook", fixed_effects="document"),
            {"permute_documents": 2, **OTHER_REGRESSION, **DRAWN},
        ),
    ],
    ids=["nothing", "draws", "seed", "controls off", "alpha", "covariates", "effects"],
)
def test_a_change_runs_only_the_jobs_of_the_regressions_it_affects(several_to_plan, apply, jobs):
    apply(several_to_plan)
    assert several_to_plan.would_run() == jobs


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
    folders = (f"{site}/notebook/", f"{site}/heads/", "tiny/small/causal/", "explorer.html")
    assert all(path.startswith(folders) for path in changed)
    assert not any("causal/effects/" in path for path in changed)
    stages = ("/design/", "/crossproducts/")
    assert not any(stage in path for stage in stages for path in changed)
    assert finished.would_run() == {**FIGURES, **OF_EFFECTS, **OF_HEADS}
