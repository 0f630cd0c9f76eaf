"""The digest of a stage's code covers exactly the modules that the stage imports."""

import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import draw_figures
from attnlag.pipeline import digests

SCRIPTS = Path(__file__).parents[3] / "scripts"
# The programs of stages. Others import modules that compute through the pipeline, if at all.
PROGRAMS = sorted(path for path in SCRIPTS.glob("*.py") if "program.run(" in path.read_text())
DRAWING = SCRIPTS / "draw_figures.py"
# The stages that draw have no program of their own.
DRAWN = [SCRIPTS / f"{stage}.py" for stage in draw_figures.INPUTS]
STAGES = [*DRAWN, *(path for path in PROGRAMS if path != DRAWING)]


# Imports each program anew, and lists the modules of the library that came with it.
LISTING = """\
import json, runpy, sys

found = {}
for program in sys.argv[1:]:
    for name in [name for name in sys.modules if name.startswith("attnlag")]:
        del sys.modules[name]
    runpy.run_path(program, run_name="imported")
    found[program] = [name for name in sys.modules if name.startswith("attnlag")]
readers = {"transformers", "huggingface_hub"}
print(json.dumps([found, sorted(readers & set(sys.modules))]))
"""


@pytest.fixture(scope="module")
def imported() -> tuple[dict[str, list[str]], list[str]]:
    """Return the modules of the library that Python imports for each program, and some others."""
    result = subprocess.run(
        [sys.executable, "-c", LISTING, *map(str, sorted(SCRIPTS.glob("*.py")))],
        capture_output=True,
        text=True,
        check=True,
        cwd=SCRIPTS,
        env={"PYTHONPATH": str(SCRIPTS), "PATH": ""},
    )
    return json.loads(result.stdout)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_the_modules_of_a_digest_are_those_that_python_imports(program, imported):
    """The oracle is sys.modules after the program and all its deferred imports are imported."""
    computing = {
        name.removeprefix("attnlag.")
        for name in imported[0][str(program)]
        if name.count(".") >= 2
        and name.split(".")[1] in digests.COMPUTING
        # A folder has no code of its own.
        and not SCRIPTS.joinpath(*name.split(".")).is_dir()
    }
    stages = DRAWN if program == DRAWING else [program]
    found = {
        ".".join(path.relative_to(SCRIPTS / "attnlag").with_suffix("").parts)
        for stage in stages
        for path in digests.computing_modules(stage)
        if path != program
    }
    assert computing
    # What a function imports when it is called is found in the source only.
    assert computing <= found


def test_programs_set_the_environment_before_they_import_its_readers(imported):
    assert imported[1] == []


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "scripts"


def test_the_place_and_time_of_a_copy_do_not_change_a_digest(copy):
    for program in STAGES:
        assert digest_of(program) == digests.code_digest(copy / program.name)


@functools.cache
def digest_of(program: Path) -> str:
    """Return the digest of a program before any edit."""
    return digests.code_digest(program)


def changed_by(copy: Path, module: str, edit: Callable[[str], str]) -> set[str]:
    """Return the programs whose digest changes with an edit of a file of the library."""
    path = copy / "attnlag" / module
    edited = edit(path.read_text())
    assert edited != path.read_text()
    path.write_text(edited)
    return {p.stem for p in STAGES if digests.code_digest(copy / p.name) != digest_of(p)}


def test_a_module_changes_the_digests_of_the_programs_that_import_it(copy):
    changed = changed_by(copy, "regression/design/design.py", lambda text: text + "ONE = 1\n")
    assert "build_design" in changed
    assert not changed & {"extract_activations", "compute_norms", "tokenize_corpus", "plot_norms"}


@pytest.mark.parametrize("name", ["page.html", "page.css", "page.state.js"])
def test_a_template_of_the_explorer_changes_the_digest_of_its_program(copy, name):
    changed = changed_by(copy, f"report/explorer/{name}", lambda text: text + "\n")
    assert changed == {"build_explorer"}


def test_a_computation_in_a_program_changes_its_digest_and_its_messages_do_not(copy):
    path, edited = copy / "extract_random_weights.py", SCRIPTS / "extract_random_weights.py"
    for old, new, changes in (
        ("means(), 1)", "means(), 2)", True),
        ('"%s: %s of %s', '"%s', False),
    ):
        text = edited.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        assert (digests.code_digest(path) != digest_of(edited)) == changes


def test_a_module_that_all_figures_share_changes_all_digests_that_draw(copy):
    changed = changed_by(copy, "figures/files.py", lambda text: text + "ONE = 1\n")
    assert changed == set(draw_figures.INPUTS)


@pytest.mark.parametrize(
    ("figure", "programs"),
    [
        ("outcome_by_lag", {"plot_regression"}),
        ("norms_by_position", {"plot_norms"}),
        ("coefficients_by_layer", {"plot_regression"}),
        ("coefficients_by_depth", {"plot_comparison"}),
    ],
)
def test_a_figure_changes_the_digests_of_the_programs_that_draw_it(copy, figure, programs):
    assert changed_by(copy, f"figures/{figure}.py", lambda text: text + "ONE = 1\n") == programs


def test_a_new_figure_changes_the_digest_of_its_program(copy):
    (copy / "attnlag/figures/toy.py").write_text(
        'DRAWN_BY = ("plot_sites",)\nCATEGORY = "norms"\nSUBCATEGORY = "toys"\n'
    )
    changed = {p.stem for p in STAGES if digests.code_digest(copy / p.name) != digest_of(p)}
    assert changed == {"plot_sites"}


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("__init__.py", '__version__ = "', '__version__ = "9.'),
        ("errors.py", "did you mean", "perhaps"),
        ("pipeline/program.py", "ran out of memory", "had too little memory"),
        ("pipeline/out_of_memory.py", "a smaller model", "another model"),
        ("storage/tables.py", "import json", "import json\nONE = 1"),
        ("config/problems.py", "expected", "wanted"),
        # The texts of errors and of log messages, comments and docstrings of what computes.
        ("model/hub.py", "does not give", "refuses"),
        ("model/hooks.py", "fails the proof of its sites", "has unproven sites"),
        ("model/gguf.py", '"""', '"""More: '),
        ("regression/design/design.py", "\nimport", "\n# a comment\nimport"),
    ],
)
def test_messages_and_plumbing_change_no_digest(copy, module, old, new):
    assert not changed_by(copy, module, lambda text: text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("adjustments/norms.py", "np.sqrt", "2 * np.sqrt"),
        ("model/architectures.py", '"self_attn"', '"attention"'),
    ],
)
def test_a_change_in_a_computation_changes_the_digest(copy, module, old, new):
    assert "extract_activations" in changed_by(copy, module, lambda text: text.replace(old, new, 1))
