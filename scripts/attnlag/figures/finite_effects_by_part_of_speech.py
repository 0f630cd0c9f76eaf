"""Effect of finite interventions by part of speech of the changed token, beside the overall one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attnlag.figures.drawing import frame
from attnlag.figures.files import style
from attnlag.figures.finite_effects_by_distance import colours_of, lines_of
from attnlag.figures.inputs.vectors import EffectsInputs
from attnlag.figures.legends import GREY, strip_height
from attnlag.figures.sizes import PAGE, Size

DRAWN_BY = ("plot_effects",)

CATEGORY = "interventions"

SUBCATEGORY = "finite interventions"

# Smallest number of documents for a meaningful interval.
FEWEST_DOCUMENTS = 5

# Target, distance in tokens and label of each panel.
PANELS = {
    ("kl_divergence", 0): "KL divergence (nats)",
    ("surprisal", 0): "Δ surprisal (nats)",
    ("norm", 0): "Δ log norm, same token",
    ("norm", 1): "Δ log norm, next token",
}

VALUES = ["estimate", "conf_low", "conf_high"]

Line = tuple[str, str, float]


@dataclass
class Data:
    """Data of the figure.

    Attributes
    ----------
    effects : pandas.DataFrame
        A row per part of speech, intervention and panel (``target`` and ``lag``): the mean over
        the layers.
    everywhere : pandas.DataFrame
        The same over all tokens.
    tags : pandas.DataFrame
        ``positions`` and ``documents`` by part of speech, the largest divergence first.
    rare : list of str
        Parts of speech in too few documents.
    lines : list of (str, str, float)
        The interventions to draw: label, kind, factor.
    alpha : float
        Intervals cover 1 - ``alpha``.
    """

    effects: pd.DataFrame
    everywhere: pd.DataFrame
    tags: pd.DataFrame
    rare: list[str]
    lines: list[Line]
    alpha: float


def means(table: pd.DataFrame, inputs: EffectsInputs, keys: list[str]) -> pd.DataFrame:
    """Return the effects on each panel's target, means over the source and target layers."""
    of_next = table["target_site"].isin(["kl_divergence", "surprisal"])
    later = (table["target_site"] == inputs.target) & (
        table["target_layer"] > table["source_layer"]
    )
    rows = table[(table["source_site"] == inputs.source) & (of_next | later.fillna(False))]
    rows = rows[rows["intervention"] != "derivative"]
    rows = rows.assign(target=rows["target_site"].where(of_next, "norm"))
    groups = rows.groupby([*keys, "target", "lag", "intervention", "alpha"], dropna=False)
    # The ends of intervals are averaged too; the interval of the mean is no wider.
    return groups[VALUES].mean().reset_index()


def strongest(lines: list[Line]) -> list[Line]:
    """Return the interventions; of the scales, only the one with the factor furthest from 1."""
    scales = [line for line in lines if line[1] == "scale"]
    furthest = max(scales, key=lambda line: abs(np.log(line[2])), default=None)
    return [line for line in lines if line[1] != "scale" or line == furthest]


def reduce(inputs: EffectsInputs) -> Data:
    """Return the effects of the pair of sites, by part of speech and over all."""
    whole = inputs.by_part_of_speech
    # Rows at distance 0 describe the changed token itself.
    own = whole[(whole["source_site"] == inputs.source) & (whole["lag"] == 0)]
    counts = own.groupby("upos")[["positions", "documents"]].max()
    enough = counts[counts["documents"] >= FEWEST_DOCUMENTS]
    effects = means(whole[whole["upos"].isin(enough.index)], inputs, ["upos"])
    divergence = effects[(effects["target"] == "kl_divergence") & (effects["lag"] == 0)]
    largest = divergence.groupby("upos")["estimate"].max().reindex(enough.index).fillna(0)
    order = largest.sort_values(ascending=False, kind="stable").index
    return Data(
        effects,
        means(inputs.elasticities, inputs, []),
        enough.loc[order],
        sorted(set(counts.index) - set(enough.index)),
        strongest(lines_of(effects)) if len(effects) else [],
        inputs.alpha,
    )


def of_line(table: pd.DataFrame, panel: tuple[str, int], line: Line) -> pd.DataFrame:
    """Return the rows of a table for a panel and an intervention."""
    (target, lag), (_, kind, alpha) = panel, line
    same = table["alpha"].eq(alpha) | np.isnan(alpha)
    return table[
        (table["target"] == target) & (table["lag"] == lag) & (table["intervention"] == kind) & same
    ]


def title_of(data: Data) -> str:
    """Return the smallest and largest divergence of the intervention with the largest one."""
    panel = ("kl_divergence", 0)
    divergences = [
        (line, of_line(data.effects, panel, line).set_index("upos")["estimate"])
        for line in data.lines
    ]
    found = [(line, values) for line, values in divergences if len(values) > 1]
    if not found:
        return "No two parts of speech are in enough documents"
    line, values = max(found, key=lambda one: one[1].max())
    over_all = of_line(data.everywhere, panel, line)["estimate"].iloc[0]
    return (
        f"The intervention '{line[0]}' changes the next prediction by {values.min():.3f} nats "
        f"({values.idxmin()}) to {values.max():.3f} ({values.idxmax()}); equal parts of speech "
        f"would all have {over_all:.3f}"
    )


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the effects in a row of panels, a line of marks per part of speech."""
    colours = colours_of(data.lines)
    legend: dict[str, Any] = {
        label: Line2D([], [], color=colours[label], marker="o", ms=4, linewidth=1.2)
        for label, _, _ in data.lines
    }
    legend["all tokens"] = Line2D([], [], color=GREY, linestyle=":", linewidth=1.3)
    strip = strip_height([legend], size.canvas)
    shape = (2, 2) if size.narrow else (1, 4)
    each = 0.07 * max(len(data.lines), 2) + 0.16
    height = (each * max(len(data.tags), 3) + 0.6) * shape[0]
    figure = Figure(figsize=size.tall(height + strip + 1.5), layout="constrained")
    panels = figure.subplots(*shape, sharey=True, squeeze=False)
    for axes, (panel, label) in zip(panels.flat, PANELS.items(), strict=True):
        draw_panel(axes, data, panel, colours)
        axes.set_xlabel(label)
    rows = np.arange(len(data.tags))
    names = [f"{tag} ({row.positions:,})" for tag, row in data.tags.iterrows()]
    for axes in panels[:, 0]:
        axes.set_yticks(rows, names)
    panels[0, 0].set_ylim(max(len(data.tags), 1) - 0.5, -0.5)
    sns.despine(figure)
    rare = f" In fewer than {FEWEST_DOCUMENTS} documents: {', '.join(data.rare)}."
    frame(
        figure,
        title,
        "In brackets: number of tokens, which were changed one at a time; none: documents without "
        "tags. Dotted: the same intervention over all tokens. Δ log norm is a mean over the layers "
        "after the changed one, divided by the log of the factor for scaling. Bars: "
        f"{100 * (1 - data.alpha):g}%, clustered by document and not corrected for their "
        f"number.{rare if data.rare else ''}",
        legends=[legend],
    )
    return figure


def draw_panel(axes: Axes, data: Data, panel: tuple[str, int], colours: dict[str, Any]) -> None:
    """Draw the marks of one target, with interventions above each other."""
    axes.axvline(0, color=GREY, linewidth=0.8, zorder=1.6)
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    offsets = np.linspace(-0.28, 0.28, len(data.lines)) if len(data.lines) > 1 else [0.0]
    for line, offset in zip(data.lines, offsets, strict=False):
        colour = colours[line[0]]
        rows = of_line(data.effects, panel, line).set_index("upos").reindex(data.tags.index)
        x, low, high = (rows[name].to_numpy(dtype=float) for name in VALUES)
        y = np.arange(len(rows)) + offset
        error = np.nan_to_num(np.stack([x - low, high - x]))
        axes.errorbar(
            *(x, y), xerr=error, color=colour, marker="o", ms=3.2, linestyle="none", elinewidth=1.1
        )
        for value in of_line(data.everywhere, panel, line)["estimate"]:
            axes.axvline(value, color=colour, linestyle=":", linewidth=1.1, zorder=1.7)
    axes.tick_params(axis="y", left=False)
