"""The digest of a stage's code covers what the stage really imports, and nothing else."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from attnlag import digests

SCRIPTS = Path(__file__).parents[2] / "scripts"
PROGRAMS = sorted(path for path in SCRIPTS.glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_the_modules_are_those_that_python_imports(program):
    """The oracle is sys.modules after importing the program, and every import it holds back."""
    listing = (
        "import json, runpy, sys; runpy.run_path(sys.argv[1], run_name='imported');"
        "print(json.dumps([n for n in sys.modules if n.startswith('attnlag')]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", listing, str(program)],
        capture_output=True,
        text=True,
        check=True,
        cwd=SCRIPTS,
        env={"PYTHONPATH": str(SCRIPTS), "PATH": ""},
    )
    imported = {name.removeprefix("attnlag").lstrip(".") for name in json.loads(result.stdout)}
    found = {path.stem for path in digests.imported_modules(program)}
    # What a function imports when it is called is found in the source only.
    assert {name or "__init__" for name in imported} <= found


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "scripts"


def test_place_and_time_do_not_count(copy):
    for program in PROGRAMS:
        assert digests.code_digest(program) == digests.code_digest(copy / program.name)


def test_a_module_counts_for_who_imports_it(copy):
    before = {program: digests.code_digest(copy / program.name) for program in PROGRAMS}
    with (copy / "attnlag" / "design.py").open("a") as file:
        file.write("# a comment\n")
    changed = {p.stem for p in PROGRAMS if digests.code_digest(copy / p.name) != before[p]}
    assert "build_design" in changed
    assert not changed & {"extract_activations", "compute_norms", "tokenize_corpus", "plot_norms"}


def test_a_page_counts_for_who_imports_the_module_of_its_name(copy):
    before = {program: digests.code_digest(copy / program.name) for program in PROGRAMS}
    with (copy / "attnlag" / "text_figures.html").open("a") as file:
        file.write("<!-- a comment -->\n")
    changed = {p.stem for p in PROGRAMS if digests.code_digest(copy / p.name) != before[p]}
    assert changed == {"plot_text"}


def test_a_style_counts_for_what_is_drawn_in_it(copy):
    before = {program: digests.code_digest(copy / program.name) for program in PROGRAMS}
    with (copy / "attnlag" / "figures.mplstyle").open("a") as file:
        file.write("# a comment\n")
    changed = {p.stem for p in PROGRAMS if digests.code_digest(copy / p.name) != before[p]}
    assert {"plot_norms", "plot_comparison", "plot_text"} <= changed
    assert not [name for name in changed if not name.startswith("plot_")]
