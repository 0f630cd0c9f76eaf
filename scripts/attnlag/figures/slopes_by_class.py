"""Slope of the nearest lag by layer for each class of tokens, minus that of all tokens."""

import pandas as pd

from attnlag.claims.numbers import number
from attnlag.corpus.tags import NONE
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import MARKERS, PALETTE, layer_colours, significant_text
from attnlag.figures.templates import Lines, Map, Notice, Sheet, by_layer, profile
from attnlag.figures.wording import PREDICTIVE, inference_text
from attnlag.regression.beyond.classes import ALL, LINE
from attnlag.regression.design.moderators import PER_SD, POINTS
from attnlag.regression.design.properties import MODERATORS, OTHER, SLOPES, TERCILES
from attnlag.regression.inference.results import extremes
from attnlag.regression.labels import UNITS, UPOS
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_classes",)
CATEGORY = "coefficients"
SUBCATEGORY = "by class of tokens"


def figure(inputs: Inputs) -> Sheet:
    """Return the slope shared by all classes, and below it the difference of each class."""
    settings = inputs.settings
    term = lags_among(list(inputs.tests["term"]))[0]
    slopes = inputs.slopes[inputs.slopes["term"] == term]
    tests = inputs.tests[inputs.tests["term"] == term]
    draw = along if settings["property"] in MODERATORS else by_class
    return draw(slopes, tests, term, SLOPES[settings["property"]].label, settings["regression"])


def by_class(
    slopes: pd.DataFrame, tests: pd.DataFrame, term: str, trait: str, regression: dict
) -> Sheet:
    """Return a map with a row for each class, most rows first; the few of ``other`` have none."""
    layers, alpha = sorted(slopes["layer"].unique()), regression["alpha"]
    counts = slopes.drop_duplicates("subset").set_index("subset")["n_obs"]
    several = counts.drop([ALL, OTHER], errors="ignore").sort_values(ascending=False, kind="stable")
    if len(several) < 2:
        return Notice(
            f"Slopes by {trait} could not be fitted: fewer than two classes have enough rows"
        )
    classes = list(several.index)
    ends = extremes(slopes[slopes["subset"].isin(several.index.drop(NONE, errors="ignore"))])
    tested = tests.dropna(subset="p_adjusted")
    rejected = int((tested["p_adjusted"] < alpha).sum())
    where = "every layer" if rejected == len(tested) else f"{rejected} of {len(tested)} layers"
    claim = f"{named(term).capitalize()} differs by {trait} in {where}"
    # Extremes of noisy medians are named only if their intervals do not meet.
    if ends and ends[2]:
        low, high = (
            f"{UPOS.get(str(row.name), row.name)} ({number(row['median'])})" for row in ends[:2]
        )
        claim = f"{named(term).capitalize()} is weakest for {low} and strongest for {high}; slopes "
        claim += f"differ in {where}"
    merged = str(tests["merged"].iloc[0])
    other = f" Too rare for a row: {merged}." if merged else ""
    shared = profile(slopes[slopes["subset"] == ALL], layers, PALETTE[0], alpha=alpha)
    unit = UNITS[regression["outcome"]]
    return Sheet(
        claim,
        layers,
        [
            Lines([shared], "coefficient", f"{named(term)} of all tokens", height=1.5),
            Map(
                by_layer(slopes, "subset", "difference", classes, layers),
                [f"{UPOS.get(name, name)} ({counts[name]:,})" for name in classes],
                f"difference ({unit})",
                f"difference by {trait}",
                weak=by_layer(slopes, "subset", "difference_p_adjusted", classes, layers) >= alpha,
            ),
        ],
        "One regression with a level for each class; number of rows in brackets. A dot in the map: "
        f"{significant_text(alpha, regression['adjust'])}.{other} "
        f"{inference_text(slopes, regression['adjust'])} {PREDICTIVE}",
        alpha=alpha,
        adjust=regression["adjust"],
    )


def along(
    slopes: pd.DataFrame, tests: pd.DataFrame, term: str, trait: str, regression: dict
) -> Sheet:
    """Return the slopes at points of the line along a number, and those of thirds of the tokens."""
    layers, alpha = sorted(slopes["layer"].unique()), regression["alpha"]
    change = slopes[slopes["subset"] == PER_SD].dropna(subset="p_adjusted")
    bends = tests[tests["hypothesis"] == LINE]
    at = slopes.groupby("subset")["estimate"].median()
    first, *_, last = POINTS
    changes, bent = (int((rows["p_adjusted"] < alpha).sum()) for rows in (change, bends))
    labels = [f"{point}; {third} third" for point, third in zip(POINTS, TERCILES, strict=True)]
    styles = list(zip(labels, layer_colours(len(POINTS)), MARKERS, strict=False))
    panels = []
    for subsets, title in ((POINTS, "changing linearly"), (TERCILES, "by third of the tokens")):
        lines = []
        for subset, (label, colour, marker) in zip(subsets, styles, strict=True):
            rows = slopes[slopes["subset"] == subset]
            lines.append(profile(rows, layers, colour, label=label, marker=marker, alpha=alpha))
        unit = UNITS[regression["outcome"]]
        panels.append(Lines(lines, f"coefficient\n({unit})", title, share="slopes"))
    lag = named(term).capitalize()
    claim = (
        f"{lag} goes from {number(at[first])} to {number(at[last])} between {first} and {last} of "
        f"{trait} (median layer)"
    )
    return Sheet(
        claim if len(change) else f"{lag} by {trait}: no layer could be fitted",
        layers,
        panels,
        f"The slope changes in {changes} of {len(change)} layers, not linearly in {bent}. "
        f"{inference_text(slopes, regression['adjust'])} {PREDICTIVE}",
        alpha=alpha,
        adjust=regression["adjust"],
        negligible=regression.get("negligible"),
    )
