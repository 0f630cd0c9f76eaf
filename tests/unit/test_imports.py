"""Modules that a plan or a light program imports import no slow library."""

import subprocess
import sys

import pytest
from projects import ROOT


@pytest.mark.parametrize(
    ("module", "libraries"),
    [
        ("attnlag.regression.design.covariates", {"numpy", "pandas", "pyarrow", "scipy"}),
        ("attnlag.figures.catalogue", {"matplotlib", "numpy", "pandas", "seaborn"}),
        ("attnlag.model.folder", {"torch", "transformers", "huggingface_hub", "safetensors"}),
    ],
)
def test_a_light_module_imports_no_slow_library(module, libraries):
    code = f"import sys, {module}; print({libraries} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT / "scripts", capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
