"""Coefficient of lag 1 by layer in all regressions of one site."""

import itertools
import textwrap
from collections.abc import Sequence

from attnlag.claims.numbers import number
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import PALETTE
from attnlag.figures.templates import Lines, Sheet, profile
from attnlag.figures.wording import PREDICTIVE, inference_text, shortened
from attnlag.regression.labels import UNITS, plural
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_specifications",)
CATEGORY = "coefficients"
SUBCATEGORY = "all regressions"
METHOD = "The nearest lag of all regressions is compared on the same tokens."

TERM = "lag_1"

# Colours that are dark enough for text; further lines are distinguished by their dashes.
COLOURS = [PALETTE[place] for place in (0, 3, 2, 4, 7, 5)]
DASHES = ["-", (0, (5, 1.5)), (0, (1.2, 1.2))]

# Largest number of regressions with bands; the bands of more would overlap.
MOST_BANDS = 4

# Largest number of regressions whose sizes the title states; of more, the smallest and the largest.
MOST_SIZES = 3


def figure(inputs: Inputs) -> Sheet:
    """Return a line for each regression: of lag 1, or else of its nearest lag or lead."""
    tables = [study.coefficients for study in inputs.studies]
    layers = sorted(set().union(*(table["layer"] for table in tables)))
    names = names_of(inputs.studies)
    terms = [lags_among(list(table["term"]))[0] for table in tables]
    lines = []
    medians: dict[str, float] = {}
    styles = itertools.cycle(itertools.product(DASHES, COLOURS))
    for table, term, name, (dashes, colour) in zip(tables, terms, names, styles, strict=False):
        rows = table[table["term"] == term]
        alpha = inputs.studies[0].alpha
        line = profile(rows, layers, colour, linestyle=dashes, shade=0.16, alpha=alpha)
        if len(tables) > MOST_BANDS:
            line.low = None
        fitted = rows["estimate"].notna().any()
        notes = [named(term)] * (term != TERM) + ["not fitted"] * (not fitted)
        line.end = textwrap.fill(f"{name} ({', '.join(notes)})" if notes else name, 20)
        if fitted and term == TERM:
            medians[name] = rows["estimate"].median()
        lines.append(line)
    outcomes = {study.outcome for study in inputs.studies}
    unit = UNITS[outcomes.pop()] if len(outcomes) == 1 else "outcomes differ"
    if len(medians) > MOST_SIZES:
        ends = min(medians, key=medians.__getitem__), max(medians, key=medians.__getitem__)
        medians = {name: medians[name] for name in ends}
    sizes = [f"{number(size)} {name}" for name, size in medians.items()]
    sizes_in_words = " and ".join(filter(None, [", ".join(sizes[:-1]), *sizes[-1:]]))
    return Sheet(
        f"Lag 1 is {sizes_in_words} (median layer)" if sizes else "Coefficients of all regressions",
        layers,
        [Lines(lines, f"coefficient of {named(TERM)}\n({unit})", height=3.3)],
        f"{PREDICTIVE} {inference_text(tables[0], inputs.studies[0].adjust)}",
        alpha=inputs.studies[0].alpha,
        adjust=inputs.studies[0].adjust,
        equivalence_bound=inputs.studies[0].equivalence_bound,
    )


def names_of(studies: Sequence[Inputs]) -> list[str]:
    """Return the name of each regression in words, with its own name only where it is needed."""
    descriptions = []
    for study in studies:
        within = study.regression["fixed_effects"] == "document"
        description = "within documents" if within else "pooled"
        if study.outcome != "norm":
            description += f", {plural(study.outcome)}"
        descriptions.append(description)
    names = [shortened(study.coefficients["regression"].iloc[0]) for study in studies]
    return [
        text if descriptions.count(text) == 1 else f"{text} ({name})"
        for text, name in zip(descriptions, names, strict=True)
    ]
