"""R² of the vector predicted from the previous vector, by layer and rank, with its controls."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from attnlag.figures.drawing import draw_band, frame, label_layers, mark_size, rule_values
from attnlag.figures.files import style
from attnlag.figures.inputs.vectors import VectorsInputs
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

# Predictors that the previous vector is compared with, and their styles.
CONTROLS: dict[str, tuple[str, dict[str, Any]]] = {
    vector_fits.SCALAR: (
        "previous vector, times one number",
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
    """Data of the figure.

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
    """Return the table and its settings."""
    settings = inputs.settings
    # Predictors without a rank have none.
    fits = inputs.fits.astype({"rank": "Int64"})
    return Data(fits, settings["alpha"], settings["products"]["lags"])


def title_of(data: Data) -> str:
    """Return the median R² over the layers, with observed and with permuted order."""
    found = data.full["r_squared"].median()
    if np.isnan(found):
        return "R² of vectors"
    permuted = data.of(vector_fits.PERMUTED)["r_squared"].median()
    return (
        f"Previous vectors predict {found:.0%} of the variance of a token's vector in the median "
        f"layer, {permuted:.0%} in permuted order"
    )


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw R² by layer twice: for the full rank with its controls, and for each rank."""
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
            axes.set_ylabel("R² in unseen documents")
        label_layers(axes, layers)
    if not size.flat:
        among.set_xlabel("")
    sns.despine(figure)
    frame(
        figure,
        title,
        f"Ridge regression of each token's vector on previous ones ({spans(data.lags)}). R² is 1 "
        "minus the squared error divided by that of the mean vector; each fold of documents is "
        "predicted from the others. Rank: number of dimensions that the prediction may use. "
        "Predictive associations, not causes.",
        legends=[legend],
    )
    return figure


def _draw_line(axes: Axes, rows: pd.DataFrame, layers: list[int], **kind: Any) -> None:
    """Draw R² by layer, with gaps for missing values."""
    values = rows.set_index("layer")["r_squared"].reindex(layers).to_numpy(float)
    axes.plot(layers, values, **kind)
