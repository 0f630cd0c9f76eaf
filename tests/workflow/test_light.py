"""What works without torch, transformers and Snakemake: their import is blocked in a process."""

import json
import shlex
import subprocess
import sys

from planning import plan
from projects import ROOT, SNAKEMAKES_OWN, ran

# What the extras `model` and `workflow` install.
MISSING = {
    *("accelerate", "gguf", "huggingface_hub", "safetensors", "tokenizers", "torch"),
    *("transformers", "snakemake", "snakemake_interface_logger_plugins"),
}
BLOCK = f"""
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {sorted(MISSING)}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])

sys.meta_path.insert(0, Blocked())
"""

# Packages of the library that need neither, whole.
LIGHT = ("claims", "config", "corpus", "figures", "pipeline", "regression", "report", "storage")
IMPORTS = f"""
import importlib, pathlib, attnlag
library = pathlib.Path(attnlag.__file__).parent
for package in {LIGHT}:
    for path in sorted((library / package).rglob("*.py")):
        name = ".".join(path.relative_to(library.parent).with_suffix("").parts)
        importlib.import_module(name.removesuffix(".__init__"))
        print(name)
"""

STUDY = """
import attnlag
study = attnlag.read(sys.argv[1])
stored = study.table("coefficients", regression="within").query("subset == 'all'")
measured = study.measurement()
print(measured)
options = {"fixed_effects": "document", "bias_correction": "half-panel", "covariates": ["position"]}
fit = attnlag.fit(measured, lags=[1, 2], **options)
both = fit.coefficients.merge(stored, on=["layer", "term"], suffixes=("", "_of_run"))
for column in ("estimate", "std_error", "df"):
    print(column, len(both), float((both[column] - both[f"{column}_of_run"]).abs().max()) < 1e-12)
fit.plot().savefig(sys.argv[2])
fit.plot_as_in_the_post().savefig(sys.argv[3])
print(fit.findings.splitlines()[0])
for name in ("check", "intervene", "measure"):
    try:
        getattr(attnlag, name)
    except ImportError as error:
        print(error)
try:
    measured.untrained()
except attnlag.errors.UserError as error:
    print(error)
"""

DRAWING = """
import json, os, pathlib
from attnlag.pipeline import program
sys.path.insert(0, os.getcwd())
run = os.path.abspath("run.py")
commands = json.loads(pathlib.Path(sys.argv[1]).read_text())
os.chdir(sys.argv[2])
for command in commands:
    sys.argv = [run, *command]
    program.run()
"""


def without_extras(code, *arguments):
    """Return the lines that code prints in a new process in which these packages are missing."""
    command = [sys.executable, "-c", BLOCK + code, *map(str, arguments)]
    return ran(command, cwd=ROOT / "scripts", stderr=subprocess.STDOUT).stdout.splitlines()


def test_every_module_that_needs_no_model_is_imported_without():
    names = without_extras(IMPORTS)
    assert "attnlag.figures.coefficients_by_layer" in names
    assert len(names) > 100


def test_a_study_is_read_fitted_and_drawn_without(whole_once, tmp_path):
    project, _ = whole_once
    pictures = [tmp_path / "lags.png", tmp_path / "post.png"]
    measured, *compared, findings, check, intervene, measure, untrained = without_extras(
        STUDY, project.folder / "results", *pictures
    )
    assert measured.startswith("tiny: attention in 2 layers, ")
    assert "block input" not in measured
    # Two lags and three terms of position, of two layers.
    assert [line.split()[1:] for line in compared] == [["10", "True"]] * 3
    assert findings.startswith("tiny, attention, lags=[1, 2], ")
    how = "pip install --editable '.[model]' in attnlag's folder"
    install = f"needs torch, which is not installed: {how}"
    assert check == f"attnlag.check {install}"
    assert intervene == f"attnlag.intervene {install}"
    assert measure == f"attnlag.measure {install}"
    assert untrained.startswith("random weights: found a measurement that a run has stored")
    assert all(picture.stat().st_size > 10_000 for picture in pictures)


def test_every_figure_of_results_is_drawn_without(whole_once, tmp_path):
    """All jobs that draw run in one process, as each of their commands does."""
    project = whole_once[0].copy(tmp_path / "project")
    jobs = [job for job in plan(project.folder, everything=True) if job.rule.startswith("plot_")]
    assert {job.rule for job in jobs} >= {"plot_regression", "plot_effects", "plot_sources"}
    before = {}
    commands = []
    for job in jobs:
        arguments = shlex.split(job.command)
        place = arguments.index("--job")
        commands.append([arguments[place - 1], *arguments[place:]])
        for made in job.made:
            path = project.folder / made
            files = path.rglob("*.*") if path.is_dir() else [path]
            before |= {file: file.read_bytes() for file in files if file.name != SNAKEMAKES_OWN}
    for file in before:
        file.unlink()
    (tmp_path / "commands.json").write_text(json.dumps(commands))
    without_extras(DRAWING, tmp_path / "commands.json", project.folder)
    assert sum(file.suffix == ".png" for file in before) >= 8
    assert [file for file, content in before.items() if file.read_bytes() != content] == []


def test_a_program_names_the_extra_that_it_lacks():
    run = "import runpy; sys.argv = ['run.py', *sys.argv[1:]]; runpy.run_path('run.py')"
    command = [sys.executable, "-c", f"{BLOCK}\n{run}", "extract_activations", "--job", "{}"]
    done = ran(command, 1, cwd=ROOT / "scripts", stderr=subprocess.STDOUT)
    assert done.stdout == (
        "error: extract_activations needs torch, which is not installed: "
        "pip install --editable '.[model]' in attnlag's folder\n"
    )
