"""Coefficient of lag 1 by layer in all regressions of one site."""

import itertools
from collections.abc import Sequence

from attnlag import wording
from attnlag.claims.results import RegressionResults
from attnlag.claims.side_by_side import lags_side_by_side
from attnlag.errors import counted
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import PALETTE
from attnlag.figures.templates import Lines, Sheet, profile, tests_of
from attnlag.figures.wording import PREDICTIVE, inference_text, shortened
from attnlag.regression.labels import UNITS, plural
from attnlag.regression.terms import named, nearest_lag

DRAWN_BY = "plot_adjustments"
CATEGORY = "coefficients"
SUBCATEGORY = "all regressions"
NEEDS = "regressions"

TERM = "lag_1"

# Colours that are dark enough for text; further lines are distinguished by their dashes.
COLOURS = [PALETTE[place] for place in (0, 3, 2, 4, 7, 5)]
DASHES = ["-", (0, (5, 1.5)), (0, (1.2, 1.2))]

# Largest number of regressions with bands; the bands of more would overlap.
MAX_BANDS = 4


def figure(inputs: Inputs) -> Sheet:
    """Return a line for each regression: of lag 1, or else of its nearest lag or lead."""
    regressions = inputs.regressions
    settings = regressions[0].settings
    layers_of_studies: set[int] = set()
    outcomes: set[str] = set()
    for regression in regressions:
        layers_of_studies.update(regression.coefficients["layer"])
        outcomes.add(regression.settings["outcome"])
    layers = sorted(layers_of_studies)
    lines = []
    claims = {}
    styles = itertools.cycle(itertools.product(DASHES, COLOURS))
    names = names_of(regressions)
    for regression, name, (dashes, colour) in zip(regressions, names, styles, strict=False):
        term = nearest_lag(regression.coefficients["term"])
        rows = regression.coefficients[regression.coefficients["term"] == term]
        kind = {"linestyle": dashes, "shade": 0.16, "alpha": settings["alpha"]}
        line = profile(rows, layers, colour, **kind)
        if len(regressions) > MAX_BANDS:
            line.low = None
        fitted = rows["estimate"].notna().any()
        notes = []
        if term != TERM:
            notes.append(named(term))
        if not fitted:
            notes.append("not fitted")
        line.label = name
        if notes:
            line.label += f" ({', '.join(notes)})"
        if fitted and term == TERM:
            claims[name] = regression.claims
        lines.append(line)
    unit = UNITS[outcomes.pop()] if len(outcomes) == 1 else "outcomes differ"
    return Sheet(
        wording.title(lags_side_by_side(TERM, claims), heading=wording.LAGS_SIDE_BY_SIDE)
        or "Coefficients of all regressions",
        layers,
        [Lines(lines, f"coefficient of {named(TERM)}\n({unit})", height=3.3, direct=True)],
        f"{PREDICTIVE} {inference_text(regressions[0].coefficients, settings['adjust'])}",
        # Regressions differ in their rows.
        extent=counted(regressions[0].record["corpus"]["documents"], "document"),
        **tests_of(settings),
    )


def names_of(regressions: Sequence[RegressionResults]) -> list[str]:
    """Return the name of each regression in words, with its own name only where it is needed."""
    described = []
    for regression in regressions:
        words = "pooled"
        if regression.has_fixed_effects:
            words = "within documents"
        outcome = regression.settings["outcome"]
        if outcome != "norm":
            words += f", {plural(outcome)}"
        described.append(words)
    names = []
    for regression, words in zip(regressions, described, strict=True):
        if described.count(words) > 1:
            words += f" ({shortened(regression.name)})"
        names.append(words)
    return names
