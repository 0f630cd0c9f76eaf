"""The jobs that run again after a change, for each row of the table in the documentation."""

import json
import os
import re
import shutil

import pytest
from projects import ROOT

# Whatever is made again, the last job checks it.
CHECK = {"check_fits": 1}
# It shows what is found, and every token.
EXPLORER = {"build_explorer": 1, **CHECK}
FIGURES = {"plot_regression": 1, **CHECK}
OF_EFFECTS = {"plot_effects": 1}
EFFECTS = {"fit_effects": 1, **OF_EFFECTS, **EXPLORER}
ESTIMATES = {"estimate_effects": 1, **EFFECTS, **CHECK}
OTHER_REGRESSION = {"fit_regression": 1, **FIGURES, **EXPLORER}
# The effects of interventions stand beside its coefficients.
REGRESSION = {**OTHER_REGRESSION, **EFFECTS}
CROSSPRODUCTS = {"accumulate_crossproducts": 1, **REGRESSION}
DESIGN = {"build_design": 1, **CROSSPRODUCTS}
STAGES = ("build_design", "accumulate_crossproducts")
OF_NORMS = {"plot_norms": 1}
OF_VECTORS = {"plot_vectors": 1}
VECTOR_FITS = {"fit_vectors": 1, **OF_VECTORS, **EXPLORER}
VECTORS = {"accumulate_vectors": 1, **VECTOR_FITS}
OF_GEOMETRY = {"plot_geometry": 1}
GEOMETRY = {"summarize_geometry": 1, **OF_GEOMETRY, **EXPLORER}
COSINES = {"compare_directions": 1, **GEOMETRY}
DIRECTIONS = {"merge_vector_sums": 1, **COSINES}
WITHOUT_DIRECTIONS = {"compute_norms": 1, **OF_NORMS, **DESIGN, **VECTORS}
OF_HEADS = {"plot_heads": 1}
HEADS = {"summarize_heads": 1, **OF_HEADS, **EXPLORER}
NORMS = {**WITHOUT_DIRECTIONS, **DIRECTIONS, **HEADS}
ALL_FIGURES = {**OF_NORMS, **OF_GEOMETRY, **OF_HEADS, **OF_EFFECTS, **OF_VECTORS, **FIGURES}
COMPARISON = {"compare_models": 1, "plot_comparison": 1}
STORAGE = {"extract_activations": 1, **NORMS}
EXTRACTION = {**STORAGE, **ESTIMATES}
PROPERTIES = {"describe_tokens": 1, **OF_NORMS, **ESTIMATES, **EXPLORER}
TOKENS = {"tokenize_corpus": 1, "summarize_tokens": 1, **PROPERTIES, **EXTRACTION}

# In two shards: these once for each of them.
PER_SHARD = (
    *("tokenize_corpus", "describe_tokens", "extract_activations", "compute_norms"),
    *("estimate_effects", "accumulate_vectors", "compare_directions"),
    *STAGES,
)
SHARDED = {**TOKENS, **dict.fromkeys(PER_SHARD, 2)}


def change(**sections):
    return lambda project: project.write_config(**sections)


def notebook(**keys):
    """Change keys of the one regression that there is."""
    return change(regressions={"notebook": {"lags": [1, 2], **keys}})


def times(number, jobs):
    """Return the jobs of several regressions or sites, which one page shows and one job checks."""
    return {**{rule: number * count for rule, count in jobs.items()}, **EXPLORER}


def edit(path, text="\n# a comment\n"):
    def apply(project):
        with (project.folder / path).open("a") as file:
            file.write(text)

    return apply


def touch_everything(project):
    for part in ("Snakefile", "workflow", "scripts", "profiles", "config", "data", "mine"):
        base = project.folder / part
        for path in [base, *base.rglob("*")]:
            if path.is_file() and path.suffix != ".safetensors":
                os.utime(path)


def replace(path, old, new):
    """Change the text of a file in one place."""

    def apply(project):
        file = project.folder / path
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new, 1), encoding="utf-8")

    return apply


def replace_by_older(path, old, new):
    """Put another file in the place of one, older than it, as ``cp -p`` and ``mv`` do."""

    def apply(project):
        file = project.folder / path
        other = file.with_name("older")
        text = file.read_text(encoding="utf-8")
        assert old in text
        other.write_text(text.replace(old, new), encoding="utf-8")
        os.utime(other, (1e9, 1e9))
        other.rename(file)

    return apply


def without(section):
    def apply(project):
        project.config[section] = None
        project.write_config()

    return apply


def without_effects(jobs):
    """Return the jobs of a regression whose coefficients no effects stand beside."""
    return {rule: count for rule, count in jobs.items() if rule not in EFFECTS or rule in EXPLORER}


def another_document(project):
    row = {"id": "new", "genre": "odd", "text": "one more document of some words " * 5}
    edit("data/small.jsonl", json.dumps(row) + "\n")(project)


def delete_vectors_and_change_lags(project):
    shutil.rmtree(project.folder / "results/tiny/small/attention/activations")
    project.write_config(regressions={"notebook": {"lags": [1, 3]}})


PATHS = {"blocks": "h", "attention": "attn", "mlp": "mlp"}
SMALL = {"files": ["data/small.jsonl"], "id": "id", "text": "text", "group": "genre"}

ONE = "\nONE = 1\n"

BY_CLASS = dict.fromkeys(("accumulate_classes", "fit_classes", "decompose_lags", "plot_classes"), 1)

ROWS = {
    "nothing": (lambda project: None, {}),
    "figure formats": (
        change(figures={"formats": ["png", "svg"]}),
        ALL_FIGURES,
    ),
    "figure sizes": (
        change(figures={"sizes": ["page", "column"]}),
        ALL_FIGURES,
    ),
    "figure layers": (change(figures={"layers": [1]}), FIGURES),
    "the layer of the text": (change(figures={"text_layer": 0}), {**OF_NORMS, **CHECK}),
    "the documents of the text": (
        change(figures={"documents": {"small": ["doc-3"]}}),
        {**OF_NORMS, **CHECK},
    ),
    "the bands of the figure": (change(figures={"bands": "joint"}), FIGURES),
    "covariance": (change(inference={"covariance": "nonrobust"}), {**REGRESSION, **HEADS}),
    "alpha": (
        change(inference={"alpha": 0.01}),
        {**REGRESSION, **VECTOR_FITS, **GEOMETRY, **HEADS},
    ),
    "correction": (change(inference={"adjust": "none"}), {**REGRESSION, **HEADS}),
    "clusters": (change(inference={"cluster": "group"}), {**REGRESSION, **HEADS}),
    "what is negligible": (change(inference={"negligible": 0.1}), {**REGRESSION, **HEADS}),
    "draws of documents": (
        change(inference={"bootstrap": 100}),
        {**REGRESSION, **VECTOR_FITS},
    ),
    "draws of signs": (change(inference={"wild_bootstrap": 99}), REGRESSION),
    "the seed of draws": (change(inference={"seed": 1}), {**REGRESSION, **VECTOR_FITS}),
    "folds": (change(inference={"folds": 5}), REGRESSION),
    "memory for documents": (change(inference={"stack_mb": 1}), {**REGRESSION, **HEADS}),
    "lags of Newey-West errors": (change(inference={"hac_lags": 3}), REGRESSION),
    "document effects": (notebook(fixed_effects="document"), {**REGRESSION, **HEADS}),
    "a correction of their bias": (
        notebook(fixed_effects="document", bias_correction="half-panel"),
        {**CROSSPRODUCTS, **HEADS},
    ),
    "effects of tokens": (
        notebook(fixed_effects=["document", "token"]),
        {"solve_token_effects": 1, "take_out_token_effects": 1, **CROSSPRODUCTS, **HEADS},
    ),
    "slopes by class": (notebook(by={"word_initial": "outcome"}), {**BY_CLASS, **REGRESSION}),
    "rows of a class that is not asked for": (notebook(by_rows=30), {}),
    "permuted order": (
        change(controls={"permutation": {"draws": 19}}),
        {"permute_documents": 1, **REGRESSION, **HEADS},
    ),
    "random weights": (
        change(controls={"random_weights": {"documents": 4}}),
        {"extract_random_weights": 1, **REGRESSION, **VECTOR_FITS, **GEOMETRY, **HEADS},
    ),
    "a regression's lags": (notebook(lags=[1, 2, 3]), {**DESIGN, **HEADS}),
    "lags in another order": (change(regressions={"notebook": {"lags": [2, 1]}}), {}),
    "a regression's leads": (notebook(leads=[1]), {**DESIGN, **HEADS}),
    "its outcome": (notebook(outcome="relative"), {**DESIGN, **HEADS}),
    "a covariate": (notebook(covariates=["position"]), {**DESIGN, **HEADS}),
    "groups": (notebook(covariates=["group"]), {**DESIGN, **HEADS}),
    "the frequency of tokens": (
        notebook(covariates=["log_frequency"]),
        {**DESIGN, **HEADS},
    ),
    "the knots of a spline that is not asked for": (notebook(position_knots=[2, 8, 32]), {}),
    "one more regression": (
        change(regressions={"far": {"lags": [5]}}),
        {"plot_specifications": 1, **without_effects(DESIGN)},
    ),
    "norms": (
        change(norms={"drop_first": 2}),
        {**OF_NORMS, **COSINES, **HEADS, **DESIGN, **ESTIMATES, **VECTORS},
    ),
    "a common sample": (change(norms={"common_sample": True}), DESIGN),
    "one more model": (
        change(models={"other": {"source": "path", "path": "mine"}}),
        {"fetch_model": 1, **TOKENS, **COMPARISON},
    ),
    "one more corpus": (
        change(corpora={"more": SMALL}),
        {"prepare_corpus": 1, **TOKENS, **COMPARISON},
    ),
    "the comparison, of one model": (change(comparison={"draws": 500}), {}),
    "extraction's dtype": (change(extraction={"dtype": "float32"}), EXTRACTION),
    "one more site": (
        change(extraction={"sites": ["attention", "mlp"]}),
        {
            "extract_activations": 1,
            **times(2, {**WITHOUT_DIRECTIONS, **DIRECTIONS}),
            **HEADS,
            **ESTIMATES,
            "plot_effects": 4,
            "plot_sites": 1,
        },
    ),
    "a model's module paths": (
        change(models={"tiny": {"source": "path", "path": "mine", "modules": PATHS}}),
        EXTRACTION,
    ),
    "what is stated of a model": (
        change(models={"tiny": {"source": "path", "path": "mine", "layers": 2, "width": 32}}),
        {},
    ),
    "the implementation of attention": (
        change(extraction={"attention_implementation": "eager"}),
        EXTRACTION,
    ),
    "no directions": (
        change(extraction={"geometry": False}),
        {"extract_activations": 1, **WITHOUT_DIRECTIONS, **HEADS, **EFFECTS},
    ),
    "no heads": (
        change(extraction={"heads": False}),
        {"extract_activations": 1, **WITHOUT_DIRECTIONS, **DIRECTIONS, **EFFECTS},
    ),
    "the fast paths": (change(extraction={"fast": "off"}), STORAGE),
    "surprisal": (change(extraction={"surprisal": True}), {**STORAGE, "plot_surprisal": 1}),
    "the precision of storage": (change(extraction={"storage_dtype": "bfloat16"}), STORAGE),
    "batch size and device": (change(extraction={"batch_tokens": 99, "device": "cpu"}), {}),
    "tokens": (change(tokens={"max_length": 32}), TOKENS),
    "a tagger": (
        change(corpora={"small": {**SMALL, "tagger": {"language": "en", "groups": ["odd"]}}}),
        PROPERTIES,
    ),
    "the properties' code": (edit("scripts/attnlag/corpus/properties.py", ONE), PROPERTIES),
    "a document more": (another_document, {"prepare_corpus": 1, **TOKENS}),
    "an older file of a corpus": (
        replace_by_older("data/small.jsonl", "river", "brook"),
        {"prepare_corpus": 1, **TOKENS},
    ),
    "an older file of a model": (
        replace_by_older("mine/config.json", '"gelu_new"', '"gelu"'),
        {"fetch_model": 1, **TOKENS},
    ),
    "the number of shards": (change(corpora={"small": {**SMALL, "shards": 2}}), SHARDED),
    "the figures' code": (
        edit("scripts/attnlag/figures/drawing.py", ONE),
        ALL_FIGURES,
    ),
    "the code of one figure": (edit("scripts/attnlag/figures/outcome_by_lag.py", ONE), FIGURES),
    "a part of the explorer": (
        edit("scripts/attnlag/report/explorer/page.css", "/* a comment */\n"),
        EXPLORER,
    ),
    "the regression's code": (
        edit("scripts/attnlag/regression/estimation/regress.py", ONE),
        {**REGRESSION, **VECTOR_FITS, **HEADS},
    ),
    "the code of vectors": (
        edit("scripts/attnlag/regression/beyond/vector_products.py", ONE),
        VECTORS,
    ),
    "the design's code": (
        edit("scripts/attnlag/regression/design/design.py", ONE),
        {**DESIGN, **HEADS},
    ),
    "the extraction's code": (edit("scripts/attnlag/adjustments/extraction.py", ONE), STORAGE),
    "the code of its batches": (edit("scripts/attnlag/adjustments/batches.py", ONE), EXTRACTION),
    "the interventions' code": (edit("scripts/attnlag/interventions/edits.py", ONE), ESTIMATES),
    "the targets of interventions": (change(causal={"targets": [1]}), ESTIMATES),
    "probes and seed": (change(causal={"probes": 2, "seed": 1}), ESTIMATES),
    "their documents": (change(causal={"documents": "all", "document_tokens": 9}), ESTIMATES),
    "finite interventions": (change(causal={"interventions": ["zero"]}), ESTIMATES),
    "tokens in a backward pass": (change(causal={"batch_tokens": 50}), {}),
    "no interventions": (without("causal"), EXPLORER),
    "the ranks and penalties of vectors": (
        change(vectors={"ranks": [2], "ridge": [0.1]}),
        {**VECTOR_FITS, **EXPLORER},
    ),
    "the lags of vectors": (change(vectors={"lags": [1, 2]}), {**VECTORS, **EXPLORER}),
    "no vectors": (without("vectors"), EXPLORER),
    "the version": (
        replace("scripts/attnlag/__init__.py", '__version__ = "', '__version__ = "9.'),
        {},
    ),
    "a message of what computes": (
        replace("scripts/attnlag/model/hooks.py", "fails the proof of its sites", "is unproven"),
        {},
    ),
    "a comment and a docstring": (
        edit("scripts/attnlag/regression/design/design.py", '"""One."""  # 1\n'),
        {},
    ),
    "a message of errors": (replace("scripts/attnlag/errors.py", "did you mean", "perhaps"), {}),
    "a program": (edit("scripts/fit_regression.py", ONE), REGRESSION),
    "the program of figures": (edit("scripts/draw_figures.py", ONE), {}),
    "a message of a program": (replace("scripts/fit_regression.py", "%s: fitted", "%s: did"), {}),
    "how files are written": (edit("scripts/attnlag/storage/writing.py", ONE), {}),
    "the configuration's check": (edit("scripts/attnlag/config/problems.py", ONE), {}),
    "a checkout that touches files": (touch_everything, {}),
    "vectors deleted, lags changed": (delete_vectors_and_change_lags, {**DESIGN, **HEADS}),
}


# The rows of the table in docs/reruns.md, and those above that each stands for.
DOCUMENTED = {
    "nothing": ["nothing"],
    "`figures`: formats, sizes, bands, layers, documents of the text": [
        "figure formats",
        "figure sizes",
        "figure layers",
        "the bands of the figure",
        "the layer of the text",
        "the documents of the text",
    ],
    "`inference`: covariance, alpha, clusters, correction, what is negligible, draws, folds": [
        "covariance",
        "clusters",
        "alpha",
        "correction",
        "what is negligible",
        "draws of documents",
        "draws of signs",
        "the seed of draws",
        "folds",
        "memory for documents",
    ],
    "`inference.hac_lags`": ["lags of Newey-West errors"],
    "`fixed_effects` of a regression": ["document effects"],
    "`fixed_effects` of tokens": ["effects of tokens"],
    "`by` of a regression": ["slopes by class"],
    "`bias_correction` of a regression": ["a correction of their bias"],
    "`controls`": ["permuted order", "random weights"],
    "lags, leads, covariates or outcome of a regression": [
        "a regression's lags",
        "a regression's leads",
        "its outcome",
        "a covariate",
        "groups",
        "the frequency of tokens",
    ],
    "lags in another order; knots of a spline, rows of a class that are not asked for": [
        "lags in another order",
        "rows of a class that is not asked for",
        "the knots of a spline that is not asked for",
    ],
    "one more regression": ["one more regression"],
    "`norms`": ["norms", "a common sample"],
    "one more model or corpus": ["one more model", "one more corpus"],
    "`comparison`, of one model and corpus": ["the comparison, of one model"],
    "`tokens`": ["tokens"],
    "`tagger` of a corpus": ["a tagger"],
    "`extraction`: sites, directions, heads, surprisal, dtype, precision of storage, "
    "implementation of attention, fast paths; module paths of a model": [
        "one more site",
        "no directions",
        "no heads",
        "surprisal",
        "extraction's dtype",
        "the precision of storage",
        "the implementation of attention",
        "the fast paths",
        "a model's module paths",
    ],
    "`extraction`: device, batch size; threads": ["batch size and device"],
    "`causal`: targets, lags, probes, documents, sites, interventions": [
        "the targets of interventions",
        "probes and seed",
        "their documents",
        "finite interventions",
    ],
    "`causal.batch_tokens`": ["tokens in a backward pass"],
    "`causal: null`": ["no interventions"],
    "`vectors`: ranks, ridge": ["the ranks and penalties of vectors"],
    "`vectors`: lags, folds, components": ["the lags of vectors"],
    "`vectors: null`": ["no vectors"],
    "stated `layers` and `width` of a model": ["what is stated of a model"],
    "a document added to a corpus": ["a document more"],
    "a file of a corpus, of tags or of a model replaced by another, even an older one": [
        "an older file of a corpus",
        "an older file of a model",
    ],
    "the number of shards of a corpus": ["the number of shards"],
    "code that computes": [
        "the figures' code",
        "the code of one figure",
        "a part of the explorer",
        "the properties' code",
        "the regression's code",
        "the code of vectors",
        "the design's code",
        "the extraction's code",
        "the code of its batches",
        "the interventions' code",
        "a program",
    ],
    "the version; a message, a comment, a docstring; a line that reads, writes or checks": [
        "the version",
        "a message of what computes",
        "a comment and a docstring",
        "a message of errors",
        "a message of a program",
        "the program of figures",
        "how files are written",
        "the configuration's check",
    ],
    "a git checkout that touches files and does not change them": ["a checkout that touches files"],
    "vectors deleted, then lags changed": ["vectors deleted, lags changed"],
}


def test_the_documentation_lists_each_change_and_its_jobs():
    page = (ROOT / "docs/reruns.md").read_text(encoding="utf-8")
    lines = page.partition("| what you change |")[2].partition("\n\n")[0].splitlines()[2:]
    table = dict(re.fullmatch(r"\| (.*?) \| (.*) \|", line).groups() for line in lines)
    assert list(table) == list(DOCUMENTED)
    named = [name for names in DOCUMENTED.values() for name in names]
    assert sorted(named) == sorted(ROWS)
    for change_made, names in DOCUMENTED.items():
        jobs = [ROWS[name][1] for name in names]
        assert (table[change_made] == "nothing") == (not any(jobs)), change_made


@pytest.mark.parametrize(("apply", "jobs"), ROWS.values(), ids=ROWS.keys())
def test_a_change_runs_the_documented_jobs(to_plan, apply, jobs):
    apply(to_plan)
    assert to_plan.would_run() == jobs


@pytest.mark.parametrize("row", ["nothing", "alpha", "the design's code"])
def test_the_command_line_plans_the_same_jobs(finished, row):
    apply, jobs = ROWS[row]
    apply(finished)
    assert finished.dry_run() == jobs


def test_a_common_sample_binds_all_regressions(to_plan):
    to_plan.write_config(regressions={"far": {"lags": [5]}}, norms={"common_sample": True})
    assert to_plan.would_run() == {
        **times(2, without_effects(DESIGN)),
        **EFFECTS,
        "plot_specifications": 1,
    }


# With five regressions, both controls, and two shards.
SPECIFICATIONS = {"plot_specifications": 1, **CHECK}
REFITTED = {
    **dict.fromkeys(["fit_regression", "plot_regression"], 5),
    **SPECIFICATIONS,
    **EXPLORER,
}


def keys_of(regression, **keys):
    """Change keys of one of several regressions."""

    def apply(project):
        old = project.config["regressions"][regression]
        project.write_config(regressions={regression: {**old, **keys}})

    return apply


@pytest.mark.parametrize(
    ("apply", "jobs"),
    [
        (lambda project: None, {}),
        (change(controls={"permutation": {"draws": 29}}), {"permute_documents": 10, **REFITTED}),
        (
            change(controls={"random_weights": {"documents": 6, "seed": 1}}),
            {"extract_random_weights": 1, **REFITTED},
        ),
        (change(controls={"permutation": None, "random_weights": None}), REFITTED),
        (change(inference={"alpha": 0.02}), REFITTED),
        (change(inference={"hac_lags": 1}), REFITTED),
        (change(figures={"bands": "single"}), {"plot_regression": 5, **CHECK}),
        (
            keys_of("rich", covariates=["log_frequency"]),
            {
                **without_effects(DESIGN),
                **dict.fromkeys((*STAGES, "permute_documents"), 2),
                **SPECIFICATIONS,
            },
        ),
        (
            keys_of("notebook", fixed_effects="document"),
            {"permute_documents": 2, **OTHER_REGRESSION, **SPECIFICATIONS},
        ),
    ],
    ids=[
        *("nothing", "draws", "seed", "controls off", "alpha", "hac lags", "bands", "covariates"),
        "effects",
    ],
)
def test_a_change_runs_only_the_jobs_of_the_regressions_it_affects(several, apply, jobs):
    apply(several)
    assert several.would_run() == jobs


def test_a_change_of_threads_runs_nothing_again(finished):
    assert finished.dry_run("--set-threads", "extract_activations=1") == {}


def test_after_the_rerun_of_a_change_nothing_is_left_to_do(finished):
    """The jobs really run, their results change, and all other files keep their bytes."""
    before = finished.results()
    finished.write_config(inference={"covariance": "nonrobust"})
    finished.run()
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
    assert finished.would_run() == {}
