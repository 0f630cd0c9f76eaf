"""Coefficient of lag 1 by layer in all regressions of one site."""

import textwrap

import numpy as np

from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import PALETTE
from attnlag.figures.templates import Lines, Sheet, profile
from attnlag.figures.wording import PREDICTIVE, inference_text, number, what_is_held_fixed
from attnlag.regression.labels import UNITS
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_specifications",)
CATEGORY = "coefficients"
SUBCATEGORY = "all regressions"

TERM = "lag_1"

# Colours that are dark enough for text; further lines are distinguished by their dashes.
COLOURS = [PALETTE[place] for place in (0, 3, 2, 4, 7, 5)]
DASHES = ["-", (0, (5, 1.5)), (0, (1.2, 1.2))]

# Largest number of regressions with bands; the bands of more would overlap.
MOST_BANDS = 4


def figure(inputs: Inputs) -> Sheet:
    """Return a line for each regression: of lag 1, or else of its nearest lag or lead."""
    tables = [study.coefficients for study in inputs.studies]
    layers = sorted(set().union(*(table["layer"] for table in tables)))
    names = what_is_held_fixed(inputs.studies)
    terms = [lags_among(list(table["term"]))[0] for table in tables]
    lines, medians = [], {}
    for place, (table, term, name) in enumerate(zip(tables, terms, names, strict=True)):
        line = profile(
            table[table["term"] == term],
            layers,
            COLOURS[place % len(COLOURS)],
            linestyle=DASHES[place // len(COLOURS) % len(DASHES)],
            marker="o",
            shade=0.16,
        )
        if len(tables) > MOST_BANDS:
            line.low = None
        known = np.isfinite(line.y).any()
        notes = ["" if term == TERM else named(term), "" if known else "not fitted"]
        said = ", ".join(filter(None, notes))
        line.end = textwrap.fill(f"{name} ({said})" if said else name, 20)
        medians[name] = float(np.nanmedian(line.y)) if known and term == TERM else np.nan
        lines.append(line)
    outcomes = {study.outcome for study in inputs.studies}
    unit = UNITS[outcomes.pop()] if len(outcomes) == 1 else "outcomes differ"
    sizes = [f"{number(size)} {name}" for name, size in medians.items() if np.isfinite(size)]
    shown = sizes if len(sizes) <= 3 else [min(sizes), max(sizes)]
    many = f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)
    return Sheet(
        f"Lag 1 is {many} (median layer)" if sizes else "Coefficients of all regressions",
        layers,
        [Lines(lines, f"coefficient of {named(TERM)}\n({unit})", height=3.3)],
        f"{PREDICTIVE} {inference_text(tables[0], inputs.studies[0].adjust)}",
        alpha=inputs.studies[0].alpha,
    )
