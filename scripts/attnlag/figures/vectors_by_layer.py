"""R² of the vector predicted by the vector before it, by layer and rank, with its controls."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from attnlag.errors import counted
from attnlag.figures.drawing import draw_band, frame, label_layers, mark_size, rule_values
from attnlag.figures.files import style
from attnlag.figures.inputs import VectorsInputs
from attnlag.figures.legends import (
    GREY,
    PALETTE,
    PERMUTED,
    RANDOM_LINE,
    band_text,
    layer_colours,
    strip_height,
)
from attnlag.figures.sizes import PAGE, Size
from attnlag.regression import vector_fits
from attnlag.regression.labels import spans

DRAWN_BY = ("plot_vectors",)

CATEGORY = "coefficients"

SUBCATEGORY = "vectors"

FULL = PALETTE[0]

# What the vector before is held against, with its marks.
CONTROLS: dict[str, tuple[str, dict[str, Any]]] = {
    vector_fits.SCALAR: (
        "the vector before, times one number",
        {"color": PALETTE[1], "marker": "s"},
    ),
    vector_fits.DOCUMENT: (
        "mean of the document's other tokens",
        {"color": PALETTE[2], "marker": "D"},
    ),
    vector_fits.PERMUTED: ("order of tokens permuted", {"color": PERMUTED, "linewidth": 2.4}),
    vector_fits.RANDOM: ("random weights", RANDOM_LINE),
}


@dataclass
class Data:
    """What the figure shows.

    Attributes
    ----------
    fits : pandas.DataFrame
        A row per layer, predictor and rank.
    alpha : float
        Intervals cover 1 - ``alpha``.
    lags : list of int
    """

    fits: pd.DataFrame
    alpha: float
    lags: list[int]

    @property
    def full(self) -> pd.DataFrame:
        """The rows of the full rank."""
        own = self.of(vector_fits.VECTOR)
        return own[own["rank"] == own["rank"].max()]

    def of(self, predictor: str) -> pd.DataFrame:
        """Return the rows of a predictor."""
        return self.fits[self.fits["predictor"] == predictor]


def reduce(inputs: VectorsInputs) -> Data:
    """Return the table and what it rests on."""
    settings = inputs.settings
    # Of what has no rank, it is none.
    fits = inputs.fits.astype({"rank": "Int64"})
    return Data(fits, settings["alpha"], settings["products"]["lags"])


def title_of(data: Data) -> str:
    """Return the median R² over the layers, with the order of tokens and without."""
    found = data.full["r_squared"].median()
    if np.isnan(found):
        return "R² of vectors"
    permuted = data.of(vector_fits.PERMUTED)["r_squared"].median()
    return (
        f"The vectors before predict {found:.0%} of the variance of a token's vector in the median "
        f"layer, {permuted:.0%} in permuted order"
    )


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw R² by layer twice: of the full rank among its controls, and of each rank."""
    ranks = sorted(map(int, data.of(vector_fits.VECTOR)["rank"].unique()))
    colours = dict(zip(ranks, [*layer_colours(len(ranks))[:-1][::-1], FULL], strict=True))
    legend = {
        f"full rank ({ranks[-1]})": Line2D([], [], color=FULL, marker="o", ms=4.5),
        band_text(data.alpha): Patch(color=FULL, alpha=0.22, linewidth=0),
        **{
            label: Line2D([], [], **{"linewidth": 1.3, "ms": 4, **kind})
            for one, (label, kind) in CONTROLS.items()
            if len(data.of(one))
        },
        **{
            f"rank {rank}": Line2D([], [], color=colours[rank], linewidth=1.3)
            for rank in ranks[:-1]
        },
    }
    figure = Figure(layout="constrained")
    height = 2 * 2.6 + strip_height([legend], size.canvas) + 1.1
    figure.set_size_inches(size.tall(height))
    shape = (1, 2) if size.flat else (2, 1)
    among, by_rank = figure.subplots(*shape, sharex=True, sharey=size.flat)
    layers = sorted(int(layer) for layer in data.fits["layer"].unique())
    marks = {"ms": mark_size(len(layers)), "linewidth": 1.3}
    for one, (_, kind) in CONTROLS.items():
        _draw_line(among, data.of(one), layers, **{**marks, **kind})
    full = data.full.set_index("layer").reindex(layers)
    ends = (full[end].to_numpy(float) for end in ("conf_low", "conf_high"))
    draw_band(among, np.array(layers), *ends, color=FULL, alpha=0.22, zorder=2)
    _draw_line(among, data.full, layers, color=FULL, marker="o", **marks)
    own = data.of(vector_fits.VECTOR)
    for rank in ranks:
        kind = {"color": colours[rank], **marks}
        kind |= {"marker": "o"} if rank == ranks[-1] else {}
        _draw_line(by_rank, own[own["rank"] == rank], layers, **kind)
    for axes, panel in ((among, "full rank and controls"), (by_rank, "by rank")):
        axes.axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
        rule_values(axes)
        axes.set_title(panel, loc="left", fontsize=9)
        if axes is among or not size.flat:
            axes.set_ylabel("R² of unseen documents")
        label_layers(axes, layers)
    if not size.flat:
        among.set_xlabel("")
    sns.despine(figure)
    documents = counted(int(data.fits["documents"].max()), "document")
    frame(
        figure,
        title,
        f"Ridge regression of each token's vector on those before it ({spans(data.lags)}), 1 less "
        "the squared error over that of the mean vector, each fold of documents predicted by the "
        f"others; {documents}. Rank: dimensions that the prediction may use. Predictive "
        "associations, not causes.",
        legends=[legend],
    )
    return figure


def _draw_line(axes: Axes, rows: pd.DataFrame, layers: list[int], **kind: Any) -> None:
    """Draw R² along the layers, with gaps where there is none."""
    values = rows.set_index("layer")["r_squared"].reindex(layers).to_numpy(float)
    axes.plot(layers, values, **kind)
