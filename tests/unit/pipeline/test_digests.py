"""The digest of a stage's code covers exactly the modules that the stage imports."""

import functools
import json
import shutil
import sys
from pathlib import Path

import pytest
from projects import ran

from attnlag.figures import catalogue
from attnlag.pipeline import digests

SCRIPTS = Path(__file__).parents[3] / "scripts"
# The programs of stages. Others import modules that compute through the pipeline, if at all.
PROGRAMS = sorted(path for path in SCRIPTS.glob("*.py") if "program.run(" in path.read_text())
DRAWING = SCRIPTS / "draw_figures.py"
# The stages that draw have no program of their own.
DRAWN = [SCRIPTS / f"{stage}.py" for stage in sorted({f.drawn_by for f in catalogue.figures()})]
STAGES = [*DRAWN, *(path for path in PROGRAMS if path != DRAWING)]


# Imports each program, and lists the modules of the library that it reaches through imports. What
# only the classes of settings import computes nothing of the stage.
LISTING = """\
import builtins, json, runpy, sys

real, imports = builtins.__import__, {}

def recorded(name, names=None, *others):
    if name.startswith("attnlag"):
        of_module = imports.setdefault((names or {}).get("__name__"), set())
        of_module |= {name, *(f"{name}.{one}" for one in (others[1:2] or [()])[0] or ())}
    return real(name, names, *others)

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
readers = {"transformers", "huggingface_hub"}
print(json.dumps([found, sorted(readers & set(sys.modules))]))
"""


@pytest.fixture(scope="module")
def imported() -> tuple[dict[str, list[str]], list[str]]:
    """Return the modules of the library that Python imports for each program, and some others."""
    command = [sys.executable, "-c", LISTING, *sorted(SCRIPTS.glob("*.py"))]
    clean = {"PYTHONPATH": str(SCRIPTS), "PATH": ""}
    return json.loads(ran(command, cwd=SCRIPTS, env=clean).stdout)


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
    assert "attnlag.pipeline.program" in imported[0][str(program)]
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


def test_a_computation_in_a_program_changes_its_digest_and_its_messages_do_not(copy):
    path, edited = copy / "extract_random_weights.py", SCRIPTS / "extract_random_weights.py"
    for old, new, changes in (
        ("len(settings.scales) - 1", "len(settings.scales) - 2", True),
        ("{name}: {counted(total", "{counted(total", False),
    ):
        text = edited.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        assert (digests.code_digest(path) != digest_of(edited)) == changes


def test_another_format_of_files_changes_every_digest(copy, monkeypatch):
    programs = [copy / f"{name}.py" for name in ("prepare_corpus", "fit_regression")]
    before = [digests.code_digest(program) for program in programs]
    monkeypatch.setattr(digests, "FILE_FORMAT", digests.FILE_FORMAT + 1)
    assert not {digests.code_digest(program) for program in programs} & {*before}


def test_digests_are_remembered_until_code_changes(copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(".snakemake").mkdir()
    before = digests.code_digests(copy)
    assert before == {name: digest_of(SCRIPTS / f"{name}.py") for name in before}
    assert {path.stem for path in STAGES} <= before.keys()
    with monkeypatch.context() as patch:
        patch.setattr(digests, "code_digest", None)
        assert digests.code_digests(copy) == before
    path = copy / "attnlag/report/explorer/page.css"
    path.write_text(path.read_text() + "p { color: red; }")
    changed = digests.code_digests(copy)
    assert {name for name in before if changed[name] != before[name]} == {"build_explorer"}


def test_a_new_figure_changes_the_digest_of_its_program(copy):
    (copy / "attnlag/figures/toy.py").write_text(
        'DRAWN_BY = "plot_sites"\nCATEGORY = "norms"\nSUBCATEGORY = "toys"\n'
    )
    changed = {p.stem for p in STAGES if digests.code_digest(copy / p.name) != digest_of(p)}
    assert changed == {"plot_sites"}


def test_the_words_of_a_claim_change_what_renders_it_and_nothing_that_computes(copy):
    path = copy / "attnlag/claims/lags.py"
    text = path.read_text()
    assert text.count("median layer{before}") == 2
    path.write_text(text.replace("median layer{before}", "middle layer{before}"))
    before, after = digests.code_digests(SCRIPTS), digests.code_digests(copy)
    changed = {name for name in before if before[name] != after[name]}
    assert {"build_explorer", "plot_regression", "write_findings"} <= changed
    assert not changed & {"extract_activations", "fit_regression", "build_design", "fit_effects"}
