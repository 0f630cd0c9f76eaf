"""What makes a stage run again: its settings, as equal text, and a digest of its code."""

import ast
import hashlib
import inspect
import json
import shutil
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import pytest
from projects import ran, settings_text
from pydantic import TypeAdapter
from warm_python import python

from attnlag.figures import catalogue
from attnlag.pipeline import digests, stages
from attnlag.section import Section

WITH_SETTINGS = [name for name, stage in stages.STAGES.items() if stage.settings]


@pytest.mark.parametrize("stage", WITH_SETTINGS)
def test_a_program_reads_the_settings_that_the_workflow_states(stage):
    of_hub = {"files": None, "dataset": "small/reviews", "split": "train"}
    corpus = of_hub if stage == "fetch_dataset" else {}
    stated = json.loads(settings_text(stage, corpus=corpus))
    # What is drawn, and how: draw_figures reads this itself.
    assert ("drawing" in stated) == stage.startswith("plot_")
    text = json.dumps({key: stated[key] for key in stated if key != "drawing"})
    kind = get_type_hints(stages.STAGES[stage].settings)["return"]
    assert stages.canonical(TypeAdapter(kind).validate_json(text)) == text


STORED = {"keep": "norms", "storage_dtype": "float16"}
EQUAL = [
    # a stage, sections, and others that mean the same to it
    ("build_design", {"regression": {"lags": [3, 1]}}, {"regression": {"lags": [1, 3.0]}}),
    ("build_design", {"norms": {"drop_first": "2"}}, {"norms": {"drop_first": 2}}),
    ("tokenize_corpus", {"tokens": {"prepend_bos": 1}}, {"tokens": {"prepend_bos": True}}),
    ("tokenize_corpus", {"tokens": {"prepend_bos": "true"}}, {"tokens": {"prepend_bos": True}}),
    # Without vectors it does not matter how they would be stored.
    ("extract_activations", {"extraction": STORED}, {"extraction": {"keep": "norms"}}),
    # Parts of what sources write have no other covariate than the position.
    (
        "summarize_sources",
        {"regression": {"covariates": ["position", "log_frequency"]}},
        {"regression": {"covariates": ["position"]}},
    ),
]


@pytest.mark.parametrize(("stage", "sections", "others"), EQUAL)
def test_equivalent_settings_have_equal_text(stage, sections, others):
    text = settings_text(stage, **sections)
    assert text == settings_text(stage, **others) != settings_text(stage)


@pytest.mark.parametrize("by", ["entropy_before", "token_characters"])
def test_surprisal_is_measured_if_slopes_depend_on_it(by):
    text = settings_text("extract_activations", regression={"slopes_by": {by: "lag"}})
    assert ("surprisal" in json.loads(text)["quantities"]) == (by == "entropy_before")


SCRIPTS = Path(__file__).parents[3] / "scripts"
PROGRAMS = sorted(path for path in SCRIPTS.glob("*.py") if path.stem != "run")
DRAWING = SCRIPTS / "draw_figures.py"
# The stages that draw have no program of their own.
DRAWN = [SCRIPTS / f"{stage}.py" for stage in sorted({f.drawn_by for f in catalogue.figures()})]
STAGES = [*DRAWN, *(path for path in PROGRAMS if path != DRAWING)]


# Imports each program, and lists the modules of the library that it reaches through imports. What
# only the classes of settings import computes nothing of the stage.
LISTING = """\
import builtins, json, runpy, sys

sys.path[0] = sys.argv.pop()
real, imports = builtins.__import__, {}

def recorded(name, names=None, *others, **named):
    if name.startswith("attnlag"):
        of_module = imports.setdefault((names or {}).get("__name__"), set())
        of_module |= {name, *(f"{name}.{one}" for one in (others[1:2] or [()])[0] or ())}
    return real(name, names, *others, **named)

builtins.__import__ = recorded
found = {}
for program in sys.argv[1:]:
    imports.pop("imported", None)
    runpy.run_path(program, run_name="imported")
    reached, waiting = set(), ["imported"]
    while waiting:
        name = waiting.pop()
        new = imports.get(name, set()) - reached if not name.endswith(".settings") else set()
        reached |= new
        waiting += new
    found[program] = [name for name in reached & {*sys.modules} if not name.endswith(".settings")]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Return the modules of the library that Python imports for each program."""
    listing = tmp_path_factory.mktemp("imports") / "listing.py"
    listing.write_text(LISTING)
    return json.loads(ran([python(), listing, *PROGRAMS, SCRIPTS]).stdout)


# The oracle of what a change of the library runs again, by hand. Here are groups of stages …
FETCHING = {"fetch_model", "fetch_revision", "fetch_dataset"}
DOCUMENTS = {"fetch_dataset", "prepare_corpus"}
TOKENS = {"tokenize_corpus", "summarize_tokens", "describe_tokens"}
PASSES = {"extract_activations", "extract_untrained", "extract_revision", "trace_sources"}
PASSES |= {"estimate_effects"}
MEANS = {"compute_norms", "merge_vector_sums", "compute_centred_cosines", "summarize_geometry"}
FITS = {"build_design", "permute_documents", "fit_regression", "fit_training", "cut_into_thirds"}
FITS |= {"accumulate_classes", "fit_classes", "decompose_lags", "compare_models", "fit_effects"}
FITS |= {"summarize_heads", "summarize_sources"}
WORDS = {"write_findings", "write_comparison", "write_paper", "check_fits", "build_explorer"}
FIGURES = {"plot_adjustments", "plot_classes", "plot_comparison", "plot_effects", "plot_heads"}
FIGURES |= {"plot_regression", "plot_sites", "plot_sources", "plot_training"}
TOLD = {"write_claims"} | WORDS | FIGURES
# … and what a change of the files of a pattern runs again; the first that a file matches counts.
RUN_AGAIN = {
    "*/settings.py": set(),
    "claims/*": TOLD,
    "corpus/documents.py": DOCUMENTS | TOKENS | PASSES | FITS | TOLD,
    "corpus/hub.py": {"fetch_dataset"} | TOKENS | PASSES | FITS | TOLD,
    "corpus/formats.py": DOCUMENTS | TOKENS | PASSES | FITS | TOLD,
    "corpus/*": TOKENS | PASSES | FITS | TOLD,
    "figures/*": {"build_explorer"} | FIGURES,
    "interventions/sampling.py": {"estimate_effects", "fit_effects", "trace_sources"} | TOLD,
    "interventions/*": {"estimate_effects", "fit_effects"} | TOLD,
    "model/folder.py": FETCHING | TOKENS | PASSES,
    "model/tokenizer_file.py": FETCHING | TOKENS | PASSES,
    "model/checks.py": FETCHING | PASSES,
    "model/fetching.py": FETCHING | PASSES,
    "model/gguf*.py": FETCHING | PASSES,
    "model/hub.py": FETCHING | PASSES,
    "model/language_models.py": FETCHING | PASSES,
    "model/offline.py": FETCHING | PASSES,
    "model/wheel.py": FETCHING | PASSES,
    "model/*": PASSES,
    "quantities/*": PASSES | MEANS | FITS | TOLD,
    "regression/*": FITS | TOLD,
    "report/explorer/*": {"build_explorer"},
    "report/references.bib": {"build_explorer", "write_paper"},
    "report/*": WORDS,
    "storage/sequences.py": TOKENS | PASSES | MEANS | FITS | TOLD,
    "storage/sums.py": PASSES | MEANS | FITS | TOLD,
    "fields.py": WORDS | FIGURES,
    "wording.py": WORDS | FIGURES,
    # What only reads, writes, checks or explains.
    "config/*": set(),
    "pipeline/*": set(),
    "storage/*": set(),
    "study/*": set(),
    "__init__.py": set(),
    "errors.py": set(),
    "escaping.py": set(),
    "section.py": set(),
}
LIBRARY = SCRIPTS / "attnlag"
CODE_FILES = [
    path
    for path in sorted(LIBRARY.rglob("*"))
    if path.suffix in (".py", ".bib", ".css", ".html", ".js", ".md")
]


# The figures that a stage draws are in the explorer, too.
DRAWN_BY = {figure.module: figure.drawn_by for figure in catalogue.figures()}


def expected_stages(path):
    """Return the stages that a change of a file runs again, None if nobody has said which."""
    if path in DRAWN_BY:
        return {DRAWN_BY[path], "build_explorer"}
    place = path.relative_to(LIBRARY).as_posix()
    return next((found for form, found in RUN_AGAIN.items() if fnmatchcase(place, form)), None)


def test_a_change_of_any_file_of_the_library_runs_these_stages_again():
    listed = {stage: set(digests.stage_files(stage, SCRIPTS)) for stage in stages.STAGES}
    assert len(CODE_FILES) > 150
    found = {}
    for path in CODE_FILES:
        found[path] = {stage for stage, files in listed.items() if path in files}
    assert found == {path: expected_stages(path) for path in CODE_FILES}


def test_the_table_of_reruns_has_no_pattern_that_no_file_has():
    places = [path.relative_to(LIBRARY).as_posix() for path in CODE_FILES]
    unused = [form for form in RUN_AGAIN if not any(fnmatchcase(place, form) for place in places)]
    assert unused == []


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_the_code_of_a_stage_has_all_that_python_imports_for_it(program, imported):
    """The oracle is sys.modules after the program is imported."""
    assert imported[str(program)]
    lacking = {}
    for name in imported[str(program)]:
        path = SCRIPTS.joinpath(*name.split(".")).with_suffix(".py")
        if not path.exists() or not expected_stages(path):
            continue
        running = {program.stem}
        if path in DRAWN_BY:
            running = {DRAWN_BY[path]}
        elif program == DRAWING:
            running = FIGURES
        if not running <= expected_stages(path):
            lacking[name] = running
    assert lacking == {}


# No digest has a `settings.py`, because the values of its keys are parameters of rules. So nothing
# else of it may act in a program: neither a constant nor a function, nor a method of a class.
def test_code_takes_nothing_from_settings_but_classes_of_keys(subtests):
    files = {file for stage in stages.STAGES for file in digests.stage_files(stage, SCRIPTS)}
    for path in sorted(file for file in files if file.suffix == ".py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            assert "settings" not in [name.name for name in node.names]
            if not node.module.endswith(".settings"):
                continue
            for name in node.names:
                with subtests.test(file=path.relative_to(SCRIPTS).as_posix(), name=name.name):
                    imported = getattr(import_module(node.module), name.name)
                    assert inspect.isclass(imported)
                    assert issubclass(imported, Section)


# What the configuration alone asks: settings of stages, inputs and outputs of rules follow from it.
OF_THE_CONFIGURATION = {
    *("ModelSource.checkpoints", "HubSource.checkpoints", "PathSource.checkpoints"),
    *("ModelSource.origin", "Tagger.gives_tags"),
    *("Regression.classes", "Regression.by_file", "Regression.by_number"),
}


def test_classes_of_keys_compute_nothing_for_programs():
    found = set()
    for path in LIBRARY.glob("*/settings.py"):
        module = import_module(f"attnlag.{path.parent.name}.settings")
        for kind in vars(module).values():
            if not inspect.isclass(kind) or kind.__module__ != module.__name__:
                continue
            # Names of validators are private.
            public = {name for name in vars(kind) if not name.startswith("_")}
            found |= {f"{kind.__name__}.{name}" for name in public - {"model_config"}}
    assert found == OF_THE_CONFIGURATION


def test_every_stage_that_draws_has_its_figures_and_none_of_another(subtests):
    files = {stage.stem: digests.stage_files(stage.stem, SCRIPTS) for stage in DRAWN}
    for figure in catalogue.figures():
        with subtests.test(figure=figure.name):
            drawing = [stage for stage, listed in files.items() if figure.module in listed]
            assert drawing == [figure.drawn_by]


def test_the_table_of_code_has_every_stage():
    assert set(stages.STAGES) == {path.stem for path in STAGES}


@pytest.fixture
def copy(tmp_path):
    others = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=others)
    return tmp_path / "scripts"


@pytest.fixture(scope="module")
def unedited():
    """Return the digest of each stage's code before any edit."""
    return digests.code_digests(SCRIPTS)


def changed_in(copy, unedited):
    return {name for name, digest in digests.code_digests(copy).items() if digest != unedited[name]}


def test_digests_do_not_depend_on_the_place_of_the_code_but_on_its_bytes(copy, unedited):
    assert {path.stem for path in STAGES} <= unedited.keys()
    assert changed_in(copy, unedited) == set()
    with (copy / "attnlag/report/explorer/page.css").open("a") as file:
        file.write("p { color: red; }")
    assert changed_in(copy, unedited) == {"build_explorer"}


def test_digests_are_those_of_the_bytes_in_every_python(unedited):
    """They are written out plainly here, for one stage."""
    library = SCRIPTS / "attnlag"
    files = [SCRIPTS / "prepare_corpus.py"]
    files += [library / "corpus/documents.py", library / "corpus/formats.py"]
    text = f"format {digests.FILE_FORMAT}\n".encode()
    for path in sorted(files):
        content = path.read_bytes()
        text += f"{path.relative_to(SCRIPTS)} {len(content)}\n".encode() + content
    assert unedited["prepare_corpus"] == hashlib.sha256(text).hexdigest()


FIGURE = 'DRAWN_BY = "plot_sites"\nCATEGORY = "norms"\nSUBCATEGORY = "toys"\n'
RENDERING = {"build_explorer", "plot_regression", "write_findings"}
TABULATING = {"write_claims"}
COMPUTING = {"extract_activations", "fit_regression", "build_design", "fit_effects"}
RANDOM = "extract_untrained.py"
REGRESSION = {"build_design", "permute_documents", "fit_regression", "fit_classes", "fit_effects"}
FITTED = {"extract_activations", "fit_regression"}
EDITS = [
    # a file, what is replaced in it or, if nothing, all of it; stages that change, and that do not
    (RANDOM, "seed=settings.seed", "seed=1", {Path(RANDOM).stem}, None),
    # All stages that draw share this program.
    ("draw_figures.py", "drew", "has drawn", FIGURES, None),
    ("attnlag/errors.py", "did you mean", "perhaps", set(), None),
    ("attnlag/regression/settings.py", "Draws of documents", "Draws", set(), None),
    ("attnlag/regression/limits.py", "=", "=  ", REGRESSION, {"extract_activations"}),
    (
        "attnlag/interventions/factors.py",
        "1.02",
        "1.05",
        {"estimate_effects", "fit_effects"},
        FITTED,
    ),
    ("attnlag/model/hooks.py", '"""', '"""More. ', {"extract_activations"}, {"fit_regression"}),
    # The explorer draws the panels of figures, too.
    ("attnlag/figures/toy.py", "", FIGURE, {"plot_sites", "build_explorer"}, None),
    ("attnlag/wording.py", "given the others", "partial", RENDERING, TABULATING | COMPUTING),
    ("attnlag/claims/lags.py", "with it", "with", TABULATING | RENDERING, COMPUTING),
]


@pytest.mark.parametrize(("file", "old", "new", "changing", "others"), EDITS)
def test_code_changes_the_digests_of_the_stages_that_it_computes_or_words(
    copy, unedited, file, old, new, changing, others
):
    """By default all other stages keep theirs."""
    path = copy / file
    text = path.read_text() if path.exists() else ""
    assert old in text
    path.write_text(text.replace(old, new) if old else new)
    changed = changed_in(copy, unedited)
    assert changing <= changed
    assert not changed & (unedited.keys() - changing if others is None else others)


def test_digests_are_of_the_files_that_are_there_each_time(copy):
    """One process may plan several runs."""
    path = copy / "attnlag/claims/new.py"
    before = digests.code_digests(copy)["write_claims"]
    path.write_text("ONE = 1\n")
    added = digests.code_digests(copy)["write_claims"]
    path.write_text("ONE = 2\n")
    edited = digests.code_digests(copy)["write_claims"]
    path.unlink()
    assert len({before, added, edited}) == 3
    assert digests.code_digests(copy)["write_claims"] == before


def test_another_format_of_files_changes_every_digest(unedited, monkeypatch):
    monkeypatch.setattr(digests, "FILE_FORMAT", digests.FILE_FORMAT + 1)
    changed = digests.code_digests(SCRIPTS)
    assert all(changed[stage] != unedited[stage] for stage in unedited)
