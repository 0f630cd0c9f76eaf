"""Both notebooks of the lesson, with the real model, where attnlag is installed and no checkout is.

The first cell fetches the package of the model. The site shows the solution as it was executed
here: the variable EXECUTED names a folder for it. With EVERY=16 eight of the 128 texts are
measured. In .ci/run, a small model alone runs the notebook with gaps (tests/unit/study).
"""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from projects import ROOT

pytestmark = pytest.mark.timeout(1200)

EXECUTE = Path(__file__).with_name("execute.py")
PROMPTS = (ROOT / "data/prompts.jsonl").read_text(encoding="utf-8").splitlines()
EVERY = int(os.environ.get("EVERY", "1"))


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Return the interpreter of an environment with attnlag's wheel, beside the packages here."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", with_pip=True)
    (installed,) = (folder / "venv").glob("lib/python3*/site-packages")
    packages = [path for path in sys.path if path.endswith("site-packages")]
    (installed / "packages.pth").write_text("\n".join(packages))
    source = folder / "attnlag"
    others = shutil.ignore_patterns("*.pyc.*", "*.egg-info")
    shutil.copytree(ROOT / "scripts", source / "scripts", ignore=others)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    interpreter = folder / "venv/bin/python"
    install = [interpreter, "-m", "pip", "install", "--quiet", "--no-deps", source]
    subprocess.run(install, check=True)
    return interpreter


def printed_by(python, folder, name, prompts):
    """Return the lines that a notebook prints, executed in a folder with some texts."""
    shutil.copy(ROOT / "docs" / name, folder)
    (folder / "prompts.jsonl").write_text("\n".join(prompts), encoding="utf-8")
    subprocess.run([python, EXECUTE, folder / name], check=True, cwd=folder)
    lines = []
    for cell in json.loads((folder / name).read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                assert output["ename"] == "SyntaxError"
            data = output.get("data", {})
            text = output.get("text") or data.get("text/plain") or ""
            lines += "".join(text).splitlines()
            if "image/png" in data:
                lines.append("a picture")
    return lines


def test_the_solution_is_right_throughout_and_measures_all_texts(python, tmp_path):
    prompts = PROMPTS[::EVERY]
    lines = printed_by(python, tmp_path, "lesson_solution.ipynb", prompts)
    assert [line[0] for line in lines if line[:1] in ("✓", "✗")] == ["✓"] * 9
    assert any(f" tokens of {len(prompts)} documents" in line for line in lines)
    if EVERY == 1:
        assert any("29009 tokens of 128 documents" in line.replace(",", "") for line in lines)
    assert lines.count("a picture") == 4
    if folder := os.environ.get("EXECUTED"):
        Path(folder).mkdir(exist_ok=True)
        shutil.copy(tmp_path / "lesson_solution.ipynb", folder)


def test_the_lesson_with_open_gaps_runs_to_its_end(python, tmp_path):
    """It has a few texts, to save time."""
    lines = printed_by(python, tmp_path, "lesson.ipynb", PROMPTS[::16])
    assert [line[0] for line in lines if line[:1] in ("✓", "✗")] == ["✗"] * 9
    assert lines[-1] == "no checkpoints here"
