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

from attnlag.config.reading import read_yaml
from attnlag.corpus import catalogue as properties
from attnlag.figures import catalogue
from attnlag.quantities import catalogue as quantities
from attnlag.regression.design import covariates

TABLE = read_yaml(Path(__file__).with_name("outputs.yaml")).values


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
        facts = dict(entry) if isinstance(entry, dict) else {"meaning": entry}
        facts["columns"] = {
            column: meaning
            for names, meaning in facts.get("columns", {}).items()
            for column in ([names] if meaning else names.split(", "))
        }
        return cls(folder, name, **facts)

    def column_names(self) -> list[str]:
        """Return the names of all columns."""
        groups = (
            [name] if meaning else SHARED.get(name, [name])
            for name, meaning in self.columns.items()
        )
        return [name for group in groups for names in group for name in names.split(", ")]


# Meanings of columns that several files have, by the name of their group.
SHARED: dict[str, dict[str, str]] = {
    **TABLE["shared"],
    # Those that state columns: the others have theirs in the table.
    **{name: dict(q.columns) for name, q in quantities.QUANTITIES.items() if q.columns},
    **{
        file: {
            name: entry.meaning + f" [{entry.unit}]" * bool(entry.unit)
            for name, entry in properties.properties_in(file).items()
        }
        for file in properties.FILES
    },
}

OUTPUTS = [
    Output.stated(folder, name, entry)
    for folder, files in TABLE["files"].items()
    for name, entry in files.items()
]
OUTPUTS += [
    Output(folder, f"{figure.name}{{size}}.{{format}}", "a figure", figure=figure.name)
    for stage, folder in TABLE["figures"].items()
    for figure in catalogue.drawn_by(stage)
]
# What the quantities of a pass have: files of every shard, and those before training.
OUTPUTS += [
    Output(
        str(Path(quantity.pattern("")).parent),
        f"{Path(quantity.pattern('')).name}/{file}.parquet",
        quantity.meaning if file == "{shard}" else "before training",
        {"keys": None, name: None},
    )
    for name, quantity in quantities.OPTIONAL.items()
    for file in ("{shard}", "random_weights")
    if file == "{shard}" or quantity.untrained
]

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
    paths += [[*path[:-1], f"{path[-1][:-4]}.parquet"] for path in paths if path[-1][-4:] == ".csv"]
    for path in paths:
        for other in paths:
            for name, beside in zip(path, other, strict=False):
                if beside in named and "{" not in name:
                    names.add(name)
                if name != beside and "{" not in name and "{" not in beside:
                    break
    return frozenset(names)
