"""Catalogue of the figures: the modules of this package that name the stage that draws them.

Each figure is one module, and adding a module adds a figure. The modules are parsed here, not
imported, because the workflow needs the catalogue before any job runs and without the libraries
for drawing.

The module of a figure has

- ``DRAWN_BY``, a tuple of the stages that have its inputs, as in ``("plot_norms",)``;
- ``CATEGORY`` and ``SUBCATEGORY``, its place in the report;
- ``METHOD``, a sentence for the methods of a paper;
- ``ON_REQUEST``, if only runs draw it that name it in ``figures.also``;
- ``FIRST_REGRESSION``, if it is drawn for the first regression alone;
- ``NEEDS``, what the documents of a corpus must have: ``"groups"`` or ``"tags"``;
- ``figure(inputs)``, which reduces the inputs of its stage to a `templates.Sheet` of lines and
  maps, or to a `templates.CustomFigure`: each has a ``claim``, which becomes the title, and is
  drawn by ``draw(title, size)``.
"""

import ast
import functools
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from attnlag.figures.sizes import without_size

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Figure:
    """Description of a figure, from its module.

    Attributes
    ----------
    name : str
        Name of the module, and of the figure's files.
    drawn_by : tuple of str
        Names of the stages that draw it.
    category, subcategory : str
        Place in the report.
    on_request : bool
        Whether only runs draw it that name it.
    first_regression : bool
        Whether it is drawn for the first regression alone.
    needs : str
        What the documents of a corpus must have for it, "" for nothing.
    method : str
        A sentence for the methods of a paper.
    """

    name: str
    drawn_by: tuple[str, ...]
    category: str
    subcategory: str
    module: Path
    on_request: bool = False
    first_regression: bool = False
    needs: str = ""
    method: str = ""


@functools.cache
def figures(folder: Path = FOLDER) -> tuple[Figure, ...]:
    """Return all figures whose modules are in a folder, by name."""
    modules = [(path, _stated(path.read_bytes())) for path in sorted(folder.glob("*.py"))]
    return tuple(Figure(name=path.stem, module=path, **facts) for path, facts in modules if facts)


@functools.cache
def _stated(source: bytes) -> dict[str, Any]:
    """Return what the source of a module states of its figure, nothing if it draws none."""
    tree = ast.parse(source)
    constants = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    if "DRAWN_BY" not in constants:
        return {}
    return {
        name.lower(): ast.literal_eval(constants[name])
        for name in (field.name.upper() for field in fields(Figure))
        if name in constants
    }


def drawn_by(stage: str, folder: Path = FOLDER) -> list[Figure]:
    """Return the figures that a stage draws, by name."""
    return [figure for figure in figures(folder) if stage in figure.drawn_by]


def figure_of(path: Path) -> Figure:
    """Return the figure in a file, given the file's name."""
    (figure,) = [figure for figure in figures() if figure.name == without_size(path)]
    return figure
