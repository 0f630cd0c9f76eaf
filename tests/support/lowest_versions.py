"""Print the lowest version that pyproject.toml declares of what the library imports, for pip.

torch and Snakemake stay as they are installed.
"""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in [*project["dependencies"], *project["optional-dependencies"]["model"]]:
    name, version = re.match(r"([\w-]+)>=([\d.]+)", requirement).groups()
    if name != "torch":
        print(f"{name}=={version}")
