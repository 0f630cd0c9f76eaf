"""Coefficient of each lag by layer beside its controls, the response that lags imply, and R²."""

from collections.abc import Sequence

import pandas as pd

from attnlag import wording
from attnlag.claims.fits import FitTables
from attnlag.claims.regression import farthest_response
from attnlag.claims.run import Claims
from attnlag.errors import counted
from attnlag.figures import templates
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import dashes, lag_colours
from attnlag.figures.templates import Line, Lines, Sheet
from attnlag.figures.wording import PREDICTIVE, inference_text, rows_in_words
from attnlag.regression.labels import R_SQUARED, UNITS
from attnlag.regression.terms import distance, lags_among, named

DRAWN_BY = "plot_regression"
FIRST_REGRESSION = True
CATEGORY = "coefficients"
SUBCATEGORY = "by layer"

# Up to this number of lags and leads have a panel each, beside the controls.
MAX_PANELS = 4

TRAINED = "k"


def figure(inputs: Inputs) -> Sheet:
    """Return the coefficients of a regression beside their controls, if there are any."""
    regression = inputs.regression
    return coefficients(regression.fit, regression.claims)


def coefficients(fitted: FitTables, claims: Claims) -> Sheet:
    """Return the coefficients of a fit beside their controls, if there are any.

    A layer without estimates is a gap, marked below.
    """
    settings = fitted.settings
    fits = fitted.goodness.sort_values("layer")
    layers = fits["layer"].tolist()
    missing = fits.loc[fits["r_squared"].isna(), "layer"].tolist()
    terms = lags_among(fitted.coefficients["term"])
    unit = f"coefficient\n({UNITS[settings.outcome]})"
    r_squared = [Line(fits["r_squared"].to_numpy(float), "trained", TRAINED)]
    note = f"{PREDICTIVE} {inference_text(fitted.coefficients, settings.adjust)}"
    if len(terms) > MAX_PANELS:
        panels = [panel_of_all(fitted, layers, unit, missing)]
    else:
        panels = [panel_of_term(fitted, term, layers, unit, missing) for term in terms]
        controls = controls_of(fitted, terms[0], layers)
        # There is no coefficient where norms of untrained models do not vary.
        untrained = templates.untrained_lines(controls)
        if untrained:
            trained = Line(controls["trained"], "trained", TRAINED)
            title = f"{named(terms[0])}, trained and untrained"
            if len(untrained) > 1:
                title += " (by scale)"
            panels.append(Lines([*untrained, trained], unit, title, direct=True))
            r_squared += templates.untrained_lines(controls, "_r_squared")
            note += (
                f" The comparison of {named(terms[0])} with untrained models is on the same texts "
                "and not corrected for bias."
            )
    unit = f"response\n({UNITS[settings.outcome]})"
    responses = response_panels(fitted.medians, unit)
    if responses:
        note += extrapolated(claims, terms)
    panels += responses
    within = R_SQUARED[settings.fixed_effects].removeprefix("R²").strip()
    panels.append(
        Lines(
            r_squared,
            "R²",
            f"variance explained {within}".strip(),
            ylim=(0, None),
            missing=missing,
            direct=len(r_squared) > 1,
        )
    )
    return Sheet(
        title_of(claims, terms),
        layers,
        panels,
        note,
        across=2 if len(panels) > 2 else 1,
        extent=rows_in_words(fits),
        alpha=settings.alpha,
        adjust=settings.adjust,
        equivalence_bound=settings.equivalence_bound,
    )


def title_of(claims: Claims, terms: Sequence[str]) -> str:
    """Return what follows a larger adjustment, and the lag before training."""
    nearest = next(iter(terms), "")
    # What is no percentage is a coefficient.
    first = next(iter(claims.all("follows")), claims.one("lag", nearest))
    if first is None:
        return "No coefficient could be estimated"
    later = claims.one("response", "2") if first.claim == "follows" else None
    notes = ["median layer", *wording.texts([claims.one("untrained_extremes", nearest)], "title")]
    return wording.title([first, later], ending=f" ({'; '.join(notes)})")


def profiles(fitted: FitTables, layers: Sequence[int]) -> dict[str, Line]:
    """Return the line of each lag and lead, nearest first."""
    lines = {}
    for term, colour in lag_colours(lags_among(fitted.coefficients["term"])).items():
        rows = fitted.coefficients[fitted.coefficients["term"] == term]
        style = {"linestyle": dashes(term), "alpha": fitted.settings.alpha}
        lines[term] = templates.profile(rows, layers, colour, **style)
    return lines


def panel_of_all(
    fitted: FitTables, layers: Sequence[int], unit: str, missing: Sequence[int]
) -> Lines:
    """Return one panel of all lags and leads."""
    lines = profiles(fitted, layers)
    for term, line in lines.items():
        line.label = named(term)
    return Lines(list(lines.values()), unit, missing=missing, height=3.2)


def panel_of_term(
    fitted: FitTables,
    term: str,
    layers: Sequence[int],
    unit: str,
    missing: Sequence[int],
) -> Lines:
    """Return the panel of a lag or lead, beside tokens in random order."""
    lines = [profiles(fitted, layers)[term]]
    controls = controls_of(fitted, term, layers)
    if "permuted_low" in controls:
        lines.append(templates.permuted(controls["permuted_low"], controls["permuted_high"]))
    return Lines(lines, unit, named(term), share="lags", missing=missing, direct=True)


def response_panels(medians: pd.DataFrame, unit: str) -> list[Lines]:
    """Return the panel of the responses that the lags imply, if there are any."""
    rows = medians[medians["term"].str.startswith("response_")]
    if rows["median"].isna().all():
        return []
    line = Line(
        rows["median"].to_numpy(),
        color=TRAINED,
        low=rows["conf_low"].to_numpy(),
        high=rows["conf_high"].to_numpy(),
    )
    distances = rows["term"].map(distance).to_numpy()
    title = "response in the median layer"
    return [Lines([line], unit, title, x=distances, xlabel="tokens later")]


def extrapolated(claims: Claims, terms: Sequence[str]) -> str:
    """Return where the responses are extrapolated; empty if no tokens further back predict."""
    omitted = claims.one("omitted_lags")
    if omitted is None or omitted.above == 0:
        return ""
    return (
        f" Responses beyond {counted(farthest_response(terms, omitted), 'token')} are extrapolated "
        f"from these lags, though tokens further back still predict in {omitted.above} of "
        f"{counted(omitted.layers, 'layer')}."
    )


def controls_of(fitted: FitTables, term: str, layers: Sequence[int]) -> pd.DataFrame:
    """Return the controls of a term by layer."""
    rows = fitted.controls[fitted.controls["term"] == term]
    return rows.set_index("layer").reindex(list(layers))
