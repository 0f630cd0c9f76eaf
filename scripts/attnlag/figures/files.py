"""Saving figures: style, sizes, formats and metadata."""

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from attnlag.figures.drawing import mark_layers
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import NO_ATTENTION
from attnlag.figures.sizes import PAGE, SIZES, Size, suffix_of
from attnlag.regression.labels import others_in_words, weights_in_words
from attnlag.storage import writing

# Metadata without date and version, so that equal figures give equal bytes.
METADATA: dict[str, dict[str, None]] = {
    ".svg": {"Date": None},
    ".png": {"Software": None},
    ".pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}

# Differences from seaborn's theme.
SETTINGS = {
    "legend.frameon": False,
    "figure.titlesize": 11,
    # Text stays text, so that it can be searched, read aloud and edited.
    "svg.fonttype": "none",
    # Without a salt, the ids inside an SVG are random.
    "svg.hashsalt": "attnlag",
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of the project, independent of the user's settings.

    Equal data give equal figures: numpy's global generator, which seaborn uses for jitter, is
    seeded and restored.
    """
    state = np.random.get_state()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        sns.set_theme(
            "paper", "ticks", "colorblind", font="DejaVu Sans", color_codes=False, rc=SETTINGS
        )
        np.random.seed(0)
        try:
            yield
        finally:
            np.random.set_state(state)


def draw_figure(
    name: str, inputs: Inputs, names: Mapping[str, str], folder: Path, drawing: Mapping[str, Any]
) -> None:
    """Draw a figure of the catalogue in the sizes and formats of ``drawing``.

    A title states the claim and the data, which ``names`` identify: the model, the corpus and so
    on. Without ``titles``, the caption of a paper would state them.
    """
    figure = importlib.import_module(f"attnlag.figures.{name}").figure(inputs)
    title = ""
    if drawing["titles"]:
        title = f"{figure.claim}\n{subtitle({**names, **figure.names}, inputs, figure.extent)}"
    for size in drawing["sizes"]:
        drawn = figure.draw(title, SIZES[size])
        mark_layers(drawn, list(map(int, inputs.mixers)))
        file = f"{name}{suffix_of(size)}"
        paths = [folder / f"{file}.{ending}" for ending in drawing["formats"]]
        save(drawn, paths, SIZES[size])


def subtitle(names: Mapping[str, str], inputs: Inputs, extent: str) -> str:
    """Return the second line of a title: names of the data, weights of the models, and extent."""
    name = ", ".join(names.values())
    if inputs.mixers:
        name += f" ({NO_ATTENTION} {others_in_words(inputs.mixers)})"
    weights = weights_in_words(list(inputs.models.values()))
    return " · ".join(filter(None, (name, weights, extent)))


@style()
def save(figure: Figure, paths: Sequence[Path], size: Size = PAGE) -> None:
    """Write a figure to each path in the format of its suffix, whole or not at all."""
    # Dots per inch of the canvas. Text is a little wider with more of them, so the layout needs the
    # same number.
    dpi = round(size.dpi * size.magnification)
    figure.set_dpi(dpi)
    _settle(figure)
    for path in paths:
        dots: Any = {"pil_kwargs": {"dpi": (size.dpi, size.dpi)}} if path.suffix == ".png" else {}
        with writing.written_whole(path) as temporary:
            figure.savefig(
                temporary,
                format=path.suffix[1:],
                dpi=dpi,
                metadata=METADATA[path.suffix],
                **dots,
            )
            # A PDF is scaled by the document that includes it.
            if path.suffix == ".svg" and size.magnification != 1:
                _magnify(temporary, size.magnification)


def _magnify(path: Path, magnification: float) -> None:
    """Change the size at which an SVG is shown; its content keeps its own units."""

    def magnified(match: re.Match[str]) -> str:
        return f'{match[1]}="{magnification * float(match[2]):g}pt"'

    # The first width and height belong to the root element.
    text = path.read_text(encoding="utf-8")
    text = re.sub(r'\b(width|height)="([\d.]+)pt"', magnified, text, count=2)
    path.write_text(text, encoding="utf-8")


def _settle(figure: Figure) -> None:
    """Compute the layout of a figure once and freeze it.

    The solver of the layout is not exact in the last digits and starts from its previous result.
    Without this, a second run or a second file would have different bytes.
    """
    engine = figure.get_layout_engine()
    if engine is not None and figure.axes:
        engine.execute(figure)
    # The placeholder engine of "none" would make matplotlib draw every file twice.
    figure.set_layout_engine(None)
    for axes in figure.axes:
        left, bottom, width, height = axes.get_position(original=True).bounds
        axes.set_position((round(left, 5), round(bottom, 5), round(width, 5), round(height, 5)))
