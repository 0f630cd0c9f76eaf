"""Effect of finite interventions by part of speech of the changed token."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from attnlag.corpus.tags import NONE
from attnlag.figures.finite_effects_by_distance import lines_of, of_line
from attnlag.figures.inputs import Inputs
from attnlag.figures.templates import BOUNDS, Line, Lines, Notice, Sheet
from attnlag.figures.wording import number
from attnlag.regression.labels import UPOS

DRAWN_BY = ("plot_effects",)
ON_REQUEST = True
CATEGORY = "interventions"
SUBCATEGORY = "by part of speech"

# Parts of speech in fewer documents have no interval worth showing.
FEWEST_DOCUMENTS = 5

# Quantity and lag of each panel.
PANELS = {
    ("kl_divergence", 0): "KL divergence (nats)",
    ("surprisal", 0): "Δ surprisal (nats)",
    ("norm", 0): "Δ log norm, same token",
    ("norm", 1): "Δ log norm, next token",
}


def figure(inputs: Inputs) -> Sheet:
    """Return a panel for each quantity, with the parts of speech along x, largest effect first."""
    whole = inputs.by_part_of_speech
    # Rows at distance 0 describe the changed token itself.
    own = whole[(whole["source_site"] == inputs.source) & (whole["lag"] == 0)]
    counts = own.groupby("upos")[["positions", "documents"]].max().drop(NONE, errors="ignore")
    enough = counts[counts["documents"] >= FEWEST_DOCUMENTS]
    effects = means(whole[whole["upos"].isin(enough.index)], inputs)
    divergence = effects[(effects["target"] == "kl_divergence") & (effects["lag"] == 0)]
    largest = divergence.groupby("upos")["estimate"].max().sort_values(ascending=False)
    if len(largest) < 2:
        return Notice("No two parts of speech are in enough documents")
    tags = list(largest.index)
    panels = [panel_of(effects, one, label, tags) for one, label in PANELS.items()]
    rare = sorted(UPOS.get(tag, tag) for tag in set(counts.index) - set(tags))
    left_out = f" In fewer than {FEWEST_DOCUMENTS} documents: {', '.join(rare)}." if rare else ""
    return Sheet(
        f"Changing a token changes the next prediction by {number(largest.iloc[-1])} nats "
        f"({UPOS[tags[-1]]}) to {number(largest.iloc[0])} ({UPOS[tags[0]]})",
        [],
        panels,
        "One token is changed at a time; means over the layers after it. Bars: intervals, not "
        f"corrected for their number.{left_out}",
        across=2,
        alpha=inputs.alpha,
    )


def means(table: pd.DataFrame, inputs: Inputs) -> pd.DataFrame:
    """Return the effects on each panel's target, means over the source and target layers."""
    of_next = table["target_site"].isin(["kl_divergence", "surprisal"])
    later = (table["target_site"] == inputs.target) & (
        table["target_layer"] > table["source_layer"]
    )
    rows = table[(table["source_site"] == inputs.source) & (of_next | later.fillna(False))]
    rows = rows[rows["intervention"] != "derivative"]
    rows = rows.assign(target=rows["target_site"].where(of_next, "norm"))
    groups = rows.groupby(["upos", "target", "lag", "intervention", "alpha"], dropna=False)
    # The ends of intervals are averaged too; the interval of the mean is no wider.
    return groups[["estimate", *BOUNDS]].mean().reset_index()


def panel_of(
    effects: pd.DataFrame, quantity: tuple[str, int], label: str, tags: list[str]
) -> Lines:
    """Return the marks of each intervention beside each other, for every part of speech."""
    target, lag = quantity
    rows = effects[(effects["target"] == target) & (effects["lag"] == lag)]
    every = lines_of(rows)
    scales = [one for one in every if one[0] == "scale"]
    # Only the strongest scaling is shown.
    shown = [one for one in every if one[0] != "scale"]
    shown += sorted(scales, key=lambda one: abs(np.log(one[1])))[-1:]
    lines = []
    for place, one in enumerate(shown):
        own = of_line(rows, *one).set_index("upos").reindex(tags)
        value, low, high = (own[name].to_numpy(dtype=float) for name in ("estimate", *BOUNDS))
        name, colour = every[one]
        x = np.arange(len(tags)) + (place - (len(shown) - 1) / 2) * 0.15
        lines.append(Line(value, name, colour, low, high, marker="o", bars=True, x=x))

    def name_tags(axes: Axes) -> None:
        names = [UPOS.get(tag, tag) for tag in tags]
        axes.set_xticks(np.arange(len(tags)), names, rotation=60, ha="right")

    return Lines(lines, label, "", np.arange(len(tags)), "", height=2.6, extra=name_tags)
