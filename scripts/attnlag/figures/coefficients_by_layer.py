"""Coefficient of each lag by layer, with tokens in random order and before training, and R²."""

from types import SimpleNamespace

import pandas as pd

from attnlag.claims.lags import followed_by
from attnlag.figures import templates
from attnlag.figures.legends import dashes, lag_colours
from attnlag.figures.templates import Line, Lines, Sheet
from attnlag.figures.wording import PREDICTIVE, inference_text
from attnlag.regression.labels import UNITS
from attnlag.regression.terms import lags_among, named

DRAWN_BY = "plot_regression"
FIRST_REGRESSION = True
CATEGORY = "coefficients"
SUBCATEGORY = "by layer"

# Up to this number of lags and leads have a panel each, beside the controls.
MOST_PANELS = 4


def figure(inputs: SimpleNamespace) -> Sheet:
    """Return the coefficients beside their controls, if there are any.

    A layer without estimates is a gap, marked below.
    """
    coefficients = inputs.coefficients
    fits = inputs.fits.sort_values("layer")
    layers = fits["layer"].tolist()
    missing = fits.loc[fits["r_squared"].isna(), "layer"].tolist()
    terms = lags_among(coefficients["term"])
    lines = {
        term: templates.profile(
            coefficients[coefficients["term"] == term],
            layers,
            colour,
            alpha=inputs.alpha,
            linestyle=dashes(term),
        )
        for term, colour in lag_colours(terms).items()
    }
    controls = {}
    if inputs.controls is not None:
        for term, rows in inputs.controls.groupby("term"):
            controls[term] = rows.set_index("layer").reindex(layers)
    unit = f"coefficient\n({UNITS[inputs.outcome]})"
    r_squared = [Line(fits["r_squared"].to_numpy(float), color="k")]
    panels = []
    if len(terms) > MOST_PANELS:
        for term, line in lines.items():
            line.label = named(term)
        panels.append(Lines(list(lines.values()), unit, missing=missing, height=3.2))
    else:
        for term, line in lines.items():
            of_panel, rows = [line], controls.get(term, pd.DataFrame())
            if "permuted_low" in rows:
                of_panel.append(templates.permuted(rows["permuted_low"], rows["permuted_high"]))
            panels.append(Lines(of_panel, unit, named(term), share="lags", missing=missing))
        first = controls.get(terms[0], pd.DataFrame())
        # There is no coefficient where norms before training do not vary.
        if before := templates.before_training(first):
            before.append(Line(first["trained"], "trained, on the same texts", "k"))
            title = f"{named(terms[0])} before and after training, not corrected for bias"
            panels.append(Lines(before, unit, title))
            r_squared += templates.before_training(first, "_r_squared")
    within = inputs.r_squared_name.removeprefix("R²").strip()
    share = f"variance explained {within}".strip()
    panels.append(Lines(r_squared, "R²", share, ylim=(0, None), missing=missing))
    return Sheet(
        followed_by(coefficients, inputs.controls, inputs.outcome).sentence,
        layers,
        panels,
        f"{PREDICTIVE} {inference_text(coefficients, inputs.adjust)}",
        across=2 if len(panels) > 2 else 1,
        **templates.tests_of(inputs),
    )
