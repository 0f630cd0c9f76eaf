"""Catalogue of the figures: the modules of this package that name the stage that draws them.

Each figure is one module, and adding a module adds a figure. The modules are parsed here, not
imported, because the workflow needs the catalogue before any job runs and without the libraries
for drawing.

The module of a figure states the attributes of `Figure` in capitals, as in
``DRAWN_BY = "plot_effects"``, and has ``figure(inputs)``, which reduces the inputs of its stage to
a `templates.Sheet` of lines and maps or to a `templates.CustomFigure`.
"""

import ast
import functools
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Figure:
    """Description of a figure, from its module."""

    name: str  # of the module, and of the figure's files
    module: Path
    drawn_by: str  # the stage that has its inputs
    category: str  # place in the report
    subcategory: str
    on_request: bool = False  # whether only runs draw it that name it in ``figures.also``
    # Whether runs draw a folder of such figures alone for the first regression only.
    first_regression: bool = False
    # What a run must have: "groups" or "tags" of documents, several "regressions", "sources" of
    # attention, "revisions" of a model, or a quantity.
    needs: str = ""


@functools.cache
def figures(folder: Path = FOLDER) -> tuple[Figure, ...]:
    """Return all figures whose modules are in a folder, by name."""
    found = []
    for path in sorted(folder.glob("*.py")):
        stated = _stated(path.read_bytes())
        if stated:
            found.append(Figure(path.stem, path, **stated))
    return tuple(found)


@functools.cache
def _stated(source: bytes) -> dict[str, Any]:
    """Return what the source of a module states of its figure, nothing if it draws none."""
    constants = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            constants[node.targets[0].id.lower()] = node.value
    if "drawn_by" not in constants:
        return {}
    stated = [field.name for field in fields(Figure) if field.name in constants]
    return {name: ast.literal_eval(constants[name]) for name in stated}


def drawn_by(stage: str, folder: Path = FOLDER) -> list[Figure]:
    """Return the figures that a stage draws, by name."""
    return [figure for figure in figures(folder) if figure.drawn_by == stage]
