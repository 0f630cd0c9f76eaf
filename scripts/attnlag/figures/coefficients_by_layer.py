"""Coefficient of each lag by layer, with tokens in random order and before training, and R²."""

from collections.abc import Sequence
from types import SimpleNamespace

import pandas as pd

from attnlag.claims.lags import followed_by
from attnlag.figures.legends import dashes, lag_colours
from attnlag.figures.templates import Line, Lines, Sheet, before_training, permuted, profile
from attnlag.figures.wording import PREDICTIVE, inference_text
from attnlag.regression.labels import UNITS
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_regression",)
FIRST_REGRESSION = True
CATEGORY = "coefficients"
SUBCATEGORY = "by layer"
METHOD = (
    "Coefficients are shown beside the central intervals of the same regression on tokens in "
    "random order and its coefficients before training."
)

# Up to this number of lags and leads have a panel each, beside the controls.
MOST_PANELS = 4


def figure(inputs: SimpleNamespace) -> Sheet:
    """Return the coefficients beside their controls, if there are any.

    A layer without estimates is a gap, marked below.
    """
    coefficients, controls = inputs.coefficients, inputs.controls
    fits, alpha = inputs.fits, inputs.alpha
    fits = fits.sort_values("layer")
    layers = fits["layer"].tolist()
    terms = lags_among(list(coefficients["term"]))
    colours = lag_colours(terms)
    missing = fits.loc[fits["r_squared"].isna(), "layer"].tolist()
    lines = {
        term: profile(
            coefficients[coefficients["term"] == term],
            layers,
            colours[term],
            alpha=alpha,
            linestyle=dashes(term),
        )
        for term in terms
    }
    unit = f"coefficient\n({UNITS[inputs.outcome]})"
    of_terms = controls_by_term(controls, layers)
    r_squared = [Line(fits["r_squared"].to_numpy(float), color="k")]
    panels = []
    before: list[Line] = []
    if len(terms) <= MOST_PANELS:
        for term, line in lines.items():
            rows = of_terms.get(term, pd.DataFrame())
            of_panel = [line]
            if "permuted_low" in rows:
                of_panel.append(permuted(rows["permuted_low"], rows["permuted_high"]))
            # There is no coefficient where norms before training do not vary.
            if term == terms[0] and (untrained := before_training(rows)):
                before = [*untrained, Line(rows["trained"], "trained, on the same texts", "k")]
            panels.append(Lines(of_panel, unit, named(term), share="lags", missing=missing))
    else:
        for term, line in lines.items():
            line.label = named(term)
        panels.append(Lines(list(lines.values()), unit, missing=missing, height=3.2))
    if before:
        title = f"{named(terms[0])} before and after training, not corrected for bias"
        panels.append(Lines(before, unit, title))
        of_first = of_terms[terms[0]]
        r_squared += before_training(of_first, "_r_squared")
    within = inputs.r_squared_name.removeprefix("R²").strip()
    share = f"variance explained {within}".strip()
    panels.append(Lines(r_squared, "R²", share, ylim=(0, None), missing=missing))
    return Sheet(
        followed_by(coefficients, controls, inputs.outcome).sentence,
        layers,
        panels,
        f"{PREDICTIVE} {inference_text(coefficients, inputs.adjust)}",
        across=2 if len(panels) > 2 else 1,
        alpha=alpha,
        adjust=inputs.adjust,
        equivalence_bound=inputs.equivalence_bound,
    )


def controls_by_term(
    controls: pd.DataFrame | None, layers: Sequence[int]
) -> dict[str, pd.DataFrame]:
    """Return the rows of the controls for each term, a row per layer."""
    if controls is None:
        return {}
    return {
        str(term): rows.set_index("layer").reindex(list(layers))
        for term, rows in controls.groupby("term")
    }
