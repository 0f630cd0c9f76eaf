"""The solution of the lesson, with the real model, where attnlag is installed and no checkout is.

The first cell fetches the package of the model. The site shows the notebook as it was executed
here: the variable EXECUTED names a folder for it. With EVERY=16 eight of the 128 texts are
measured, which takes half of the time. The notebook with its gaps open runs with a small model, in
tests/unit/study/test_lesson.py.
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


def test_the_solution_is_right_throughout_and_measures_all_texts(python, tmp_path):
    notebook = tmp_path / "lesson_solution.ipynb"
    shutil.copy(ROOT / "docs" / notebook.name, notebook)
    prompts = PROMPTS[::EVERY]
    (tmp_path / "prompts.jsonl").write_text("\n".join(prompts), encoding="utf-8")
    subprocess.run([python, EXECUTE, notebook], check=True, cwd=tmp_path)
    lines = []
    pictures = 0
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text = output.get("text") or data.get("text/plain") or ""
            lines += "".join(text).splitlines()
            pictures += "image/png" in data
    assert [line[0] for line in lines if line[:1] in ("✓", "✗")] == ["✓"] * 9
    assert any(f" tokens of {len(prompts)} documents" in line for line in lines)
    if EVERY == 1:
        assert any("29009 tokens of 128 documents" in line.replace(",", "") for line in lines)
    assert pictures == 4
    if folder := os.environ.get("EXECUTED"):
        Path(folder).mkdir(exist_ok=True)
        shutil.copy(notebook, folder)
