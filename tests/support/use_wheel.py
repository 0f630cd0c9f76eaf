"""Import all of an installed attnlag and use it once, away from its checkout: make test-wheel.

The arguments are the folder that it is to come from and that of a model.
"""

import importlib
import pkgutil
import sys
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

import attnlag

installed, folder = map(Path, sys.argv[1:])
assert Path(attnlag.__file__).is_relative_to(installed.resolve()), attnlag.__file__
for module in pkgutil.walk_packages(attnlag.__path__, "attnlag."):
    importlib.import_module(module.name)
texts = [f"In {year} the river ran low, and nobody in town could say why." for year in range(8)]
model = AutoModelForCausalLM.from_pretrained(folder)
measured = attnlag.measure(model, AutoTokenizer.from_pretrained(folder), texts, progress=False)
print(attnlag.fit(measured, lags=[1, 2], fixed_effects="document"))
