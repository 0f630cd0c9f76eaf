"""The catalogue of outputs: every file of a run, its meaning and its columns.

The table is outputs.yaml. The page docs/outputs.md, the tables of a study and the names that a
configuration may not use derive from it. The rules state what a run makes.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from attnlag.corpus import catalogue as properties
from attnlag.figures import catalogue
from attnlag.quantities import catalogue as quantities
from attnlag.regression import covariates

FILE = Path(__file__).with_name("outputs.yaml")
# Every run reads it; libyaml, where PyYAML has it, takes a twentieth of the time.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
TABLE = LOADER(FILE.read_text(encoding="utf-8")).get_single_data()


@dataclass(frozen=True)
class Output:
    """A file of a run."""

    folder: str  # with the names of Snakemake's wildcards in braces
    name: str  # from its folder on
    meaning: str  # of the file and its rows
    # Meanings by name; None: that of `SHARED`, in which the name may also be a group's.
    columns: Mapping[str, str | None] = field(default_factory=dict)
    figure: str = ""  # the name of the figure, if it is one

    @property
    def path(self) -> str:
        """The path with wildcards."""
        return f"{self.folder}/{self.name}".removeprefix("/")

    @classmethod
    def stated(cls, folder: str, name: str, entry: Any) -> "Output":
        """Return a file as the table states it: its meaning alone, or with its columns."""
        if not isinstance(entry, dict):
            return cls(folder, name, meaning=entry)
        columns = {}
        for names, meaning in entry.get("columns", {}).items():
            for column in [names] if meaning else names.split(", "):
                columns[column] = meaning
        return cls(folder, name, meaning=entry["meaning"], columns=columns)

    def column_names(self) -> list[str]:
        """Return the names of all columns."""
        found: list[str] = []
        for group, meaning in self.columns.items():
            for names in [group] if meaning else SHARED.get(group, [group]):
                found += names.split(", ")
        return found


# Meanings of columns that several files have, by the name of their group.
SHARED: dict[str, dict[str, str]] = {
    **TABLE["shared"],
    # Those that state columns: the others have theirs in the table.
    **{name: dict(q.columns) for name, q in quantities.QUANTITIES.items() if q.columns},
}
for _file in properties.FILES:
    SHARED[_file] = {}
    for _name, _property in properties.properties_in(_file).items():
        _unit = f" [{_property.unit}]" if _property.unit else ""
        SHARED[_file][_name] = _property.meaning + _unit


def _all_outputs() -> list[Output]:
    """Return the files of the table, the figures, and the files of quantities."""
    outputs = []
    for folder, files in TABLE["files"].items():
        for name, entry in files.items():
            outputs.append(Output.stated(folder, name, entry))
    for stage, folder in TABLE["figures"].items():
        for figure in catalogue.drawn_by(stage):
            name = f"{figure.name}{{size}}.{{format}}"
            outputs.append(Output(folder, name, "a figure", figure=figure.name))
    for name, quantity in quantities.OPTIONAL.items():
        folder = str(Path(quantity.pattern("")).parent)
        subfolder = Path(quantity.pattern("")).name
        columns = {"keys": None, name: None}
        file = f"{subfolder}/{{shard}}.parquet"
        outputs.append(Output(folder, file, quantity.meaning, columns))
        if quantity.in_control:
            file = f"{subfolder}/untrained.parquet"
            outputs.append(Output(folder, file, "before training", columns))
    return outputs


OUTPUTS = _all_outputs()

# Placeholders for several names, in paths and in names of columns.
PATTERNS = {
    "size": "(|_column)",
    "format": "(svg|png|pdf)",
    "shard": r"\d{4,}",
    # Columns have underscores for hyphens.
    "scale": r"(own|default|by[-_]depth|own[-_]x\d+(\.\d+)?)",
    "step": r"\d+",
    "NN": r"\d{2,}",
    "TERM": rf"((lag|lead)_\d+|{covariates.term_pattern()})",
}


def pattern(described: str) -> re.Pattern[str]:
    """Return the pattern of a path or name with placeholders, which name its groups."""

    def form(found: re.Match[str]) -> str:
        name = found[1] or found[0]
        return f"(?P<{name}>{PATTERNS.get(name, '[^/]+')})"

    return re.compile(re.sub(r"\\{(\w+)\\}|NN|TERM", form, re.escape(described)))


@functools.cache
def reserved_names() -> frozenset[str]:
    """Return the names of files and folders beside those that the configuration names."""
    named = ("{model}", "{corpus}", "{regression}")
    names = set()
    paths = [output.path.split("/") for output in OUTPUTS]
    for *folders, file in list(paths):
        if file.endswith(".csv"):
            paths.append([*folders, f"{file.removesuffix('.csv')}.parquet"])
    for path in paths:
        for other in paths:
            for name, beside in zip(path, other, strict=False):
                if beside in named and "{" not in name:
                    names.add(name)
                if name != beside and "{" not in name and "{" not in beside:
                    break
    return frozenset(names)
