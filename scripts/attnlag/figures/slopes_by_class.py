"""Slope of the nearest lag by layer for each class of tokens, minus that of all tokens."""

from attnlag import wording
from attnlag.claims.run import Claims
from attnlag.claims.subsets import class_name, classes
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import PALETTE
from attnlag.figures.templates import Lines, Map, Sheet, by_layer, profile, tests_of
from attnlag.figures.wording import PREDICTIVE, inference_text, rows_in_words
from attnlag.regression.labels import UNITS
from attnlag.regression.properties import MODERATORS, OTHER, SLOPES, TERCILES
from attnlag.regression.slopes.classes import ALL
from attnlag.regression.terms import named, nearest_lag

DRAWN_BY = "plot_classes"
CATEGORY = "coefficients"
SUBCATEGORY = "by class of tokens"


def figure(inputs: Inputs) -> Sheet:
    """Return the slope shared by all classes, and below it the difference of each class.

    Classes come with most rows first, thirds of a number in order; the few of ``other`` have no
    row.
    """
    all_slopes = inputs.table("classes")
    all_tests = inputs.table("equal_slopes")
    settings = inputs.record_of("classes").settings("classes")
    extent = rows_in_words(all_slopes)
    term = nearest_lag(all_tests["term"])
    slopes = all_slopes[all_slopes["term"] == term]
    tests = all_tests[all_tests["term"] == term]
    trait = SLOPES[settings["property"]].label
    regression = settings["regression"]
    alpha = regression["alpha"]
    layers = sorted(slopes["layer"].unique())
    counts = slopes.drop_duplicates("subset").set_index("subset")["n_obs"]
    several = counts.drop([ALL, OTHER], errors="ignore").sort_values(ascending=False, kind="stable")
    if len(several) < 2:
        claim = f"Slopes by {trait} could not be fitted: fewer than two classes have enough rows"
        return Sheet(claim, extent=extent)
    names = list(several.index)
    if settings["property"] in MODERATORS:
        names.sort(key=TERCILES.index)
    merged = str(tests["merged"].iloc[0])
    other = f" Too rare for a row: {merged}." if merged else ""
    shared = profile(slopes[slopes["subset"] == ALL], layers, PALETTE[0], alpha=alpha)
    unit = UNITS[regression["outcome"]]
    rows = classes(all_slopes, all_tests, settings["property"], alpha, regression["adjust"])
    claims = Claims(tuple(rows))
    return Sheet(
        wording.title(
            [
                claims.one("class_slopes"),
                claims.one("classes_extremes"),
                claims.one("classes_apart"),
            ],
            joined="; ",
        ),
        layers,
        [
            Lines([shared], "coefficient", f"{named(term)} of all tokens", height=1.5),
            Map(
                by_layer(slopes, "subset", "difference", names, layers),
                [f"{class_name(name)} ({counts[name]:,})" for name in names],
                f"difference ({unit})",
                f"difference by {trait}",
                weak=by_layer(slopes, "subset", "difference_p_adjusted", names, layers) >= alpha,
            ),
        ],
        "One regression with a level for each class; number of rows in brackets. A dot in the map: "
        f"p < {alpha:g}.{other} "
        f"{inference_text(slopes, regression['adjust'])} {PREDICTIVE}",
        extent=extent,
        **tests_of(regression),
    )
