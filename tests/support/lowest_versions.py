"""Print the lowest version that pyproject.toml declares of each dependency, for pip.

torch and Snakemake stay as they are installed: each brings along what is declared elsewhere.
"""

import re
import tomllib
from pathlib import Path

AS_INSTALLED = ("torch", "snakemake", "snakemake-interface-logger-plugins")

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in project["dependencies"]:
    name, version = re.match(r"([\w-]+)>=([\d.]+)", requirement).groups()
    if name not in AS_INSTALLED:
        print(f"{name}=={version}")
