"""Effect of finite interventions by part of speech of the changed token."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from attnlag.corpus.tags import NONE
from attnlag.figures.finite_effects_by_distance import colours_of, finite_interventions
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
    effects = inputs.by_part_of_speech
    effects = finite_interventions(effects[effects["source_site"] == inputs.source])
    # Rows at distance 0 describe the changed token itself.
    at_token = effects[effects["lag"] == 0].groupby("upos", observed=True)
    documents = at_token["documents"].max().drop(NONE, errors="ignore")
    frequent = documents[documents >= FEWEST_DOCUMENTS].index
    means = means_of(effects[effects["upos"].isin(frequent)], inputs.target)
    divergence = means.query("target == 'kl_divergence' and lag == 0")
    largest = divergence.groupby("upos")["estimate"].max().sort_values(ascending=False)
    if len(largest) < 2:
        return Notice("No two parts of speech are in enough documents")
    tags = list(largest.index)
    panels = [panel_of(means, *quantity, label, tags) for quantity, label in PANELS.items()]
    rare = sorted(UPOS.get(tag, tag) for tag in set(documents.index) - set(tags))
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


def means_of(effects: pd.DataFrame, target_site: str) -> pd.DataFrame:
    """Return the effects on each panel's target, means over the source and target layers.

    The strongest scaling stands for all scalings.
    """
    factors = sorted(effects["alpha"].dropna().unique())
    weaker = sorted(factors, key=lambda factor: abs(np.log(factor)))[:-1]
    effects = effects[~effects["alpha"].isin(weaker)]
    site = effects["target_site"].astype(str)
    later = (site == target_site) & (effects["target_layer"] > effects["source_layer"])
    rows = effects.assign(target=site.mask(site == target_site, "norm"))
    rows = rows[later.fillna(False) | site.isin(["kl_divergence", "surprisal"])]
    # The ends of intervals are averaged too; the interval of the mean is no wider.
    groups = rows.astype({"upos": str}).groupby(
        ["upos", "target", "lag", "label", "alpha"], dropna=False
    )
    return groups[["estimate", *BOUNDS]].mean().reset_index()


def panel_of(means: pd.DataFrame, target: str, lag: int, label: str, tags: list[str]) -> Lines:
    """Return the marks of each intervention beside each other, for every part of speech."""
    rows = means[(means["target"] == target) & (means["lag"] == lag)]
    colours = colours_of(rows)
    places = np.arange(len(tags))
    lines = []
    for number_of_line, (intervention, colour) in enumerate(colours.items()):
        of_tags = rows[rows["label"] == intervention].set_index("upos").reindex(tags)
        y, low, high = of_tags[["estimate", *BOUNDS]].to_numpy(dtype=float).T
        x = places + 0.15 * (number_of_line - (len(colours) - 1) / 2)
        lines.append(Line(y, intervention, colour, low, high, marker="o", bars=True, x=x))

    def name_tags(axes: Axes) -> None:
        names = [UPOS.get(tag, tag) for tag in tags]
        axes.set_xticks(places, names, rotation=60, ha="right")

    return Lines(lines, label, "", places, "", height=2.6, extra=name_tags)
