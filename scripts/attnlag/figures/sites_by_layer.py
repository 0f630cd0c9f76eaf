"""Norms and coefficients of all sites side by side, by layer."""

from attnlag import wording
from attnlag.claims.side_by_side import lags_side_by_side
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import lag_colours
from attnlag.figures.norms_by_layer import norms_panel
from attnlag.figures.sampling import sample_norms
from attnlag.figures.templates import Lines, Sheet, profile, tests_of
from attnlag.figures.wording import PREDICTIVE, inference_text, rows_in_words
from attnlag.quantities.catalogue import SITES
from attnlag.regression.labels import UNITS
from attnlag.regression.terms import named

DRAWN_BY = "plot_sites"
CATEGORY = "coefficients"
SUBCATEGORY = "sites side by side"


def figure(inputs: Inputs) -> Sheet:
    """Return a column for each site: norms above coefficients."""
    first = inputs.regressions[0]
    settings = first.settings
    drop_first = first.record.settings("design")["drop_first"]
    terms = first.terms
    colours = lag_colours(terms)
    norms = []
    slopes = []
    claims = {}
    for regression in inputs.regressions:
        paths = inputs.paths("norms", regression.site_folder)
        sample = sample_norms(paths).from_position(drop_first)
        label = SITES[regression.site].label
        norms.append(norms_panel(sample, 0, label, "norm (log scale)", share="norms"))
        lines = []
        for term, colour in colours.items():
            rows = regression.coefficients[regression.coefficients["term"] == term]
            kind = {"label": named(term), "alpha": settings["alpha"]}
            lines.append(profile(rows, sample.layers, colour, **kind))
        slopes.append(Lines(lines, f"coefficient\n({UNITS[settings['outcome']]})", share="slopes"))
        claims[label] = regression.claims
    lags = lags_side_by_side(terms[0], claims)
    return Sheet(
        wording.title(lags, heading=wording.LAGS_SIDE_BY_SIDE) or "Coefficients of all sites",
        sample.layers,
        [*norms, *slopes],
        f"Norms: median, middle 50% and 90% of the tokens. {PREDICTIVE} "
        f"{inference_text(first.coefficients, settings['adjust'])}",
        across=len(norms),
        # All sites have the same tokens.
        extent=rows_in_words(first.fits),
        **tests_of(settings),
    )
