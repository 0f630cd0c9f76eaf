"""Coefficient of each lag by layer beside its controls, the response that lags imply, and R²."""

from collections.abc import Sequence
from types import SimpleNamespace

import pandas as pd

from attnlag import wording
from attnlag.claims.run import Claims
from attnlag.figures import templates
from attnlag.figures.legends import dashes, lag_colours
from attnlag.figures.templates import Line, Lines, Sheet
from attnlag.figures.wording import PREDICTIVE, inference_text
from attnlag.regression.labels import UNITS
from attnlag.regression.terms import distance, lags_among, named

DRAWN_BY = "plot_regression"
FIRST_REGRESSION = True
CATEGORY = "coefficients"
SUBCATEGORY = "by layer"

# Up to this number of lags and leads have a panel each, beside the controls.
MAX_PANELS = 4

TRAINED = "k"


def figure(inputs: SimpleNamespace) -> Sheet:
    """Return the coefficients beside their controls, if there are any.

    A layer without estimates is a gap, marked below.
    """
    fits = inputs.fits.sort_values("layer")
    layers = fits["layer"].tolist()
    missing = fits.loc[fits["r_squared"].isna(), "layer"].tolist()
    terms = lags_among(inputs.coefficients["term"])
    unit = f"coefficient\n({UNITS[inputs.outcome]})"
    r_squared = [Line(fits["r_squared"].to_numpy(float), "trained", TRAINED)]
    note = f"{PREDICTIVE} {inference_text(inputs.coefficients, inputs.adjust)}"
    if len(terms) > MAX_PANELS:
        panels = [panel_of_all(inputs, layers, unit, missing)]
    else:
        panels = [panel_of_term(inputs, term, layers, unit, missing) for term in terms]
        controls = controls_of(inputs, terms[0], layers)
        # There is no coefficient where norms of untrained models do not vary.
        untrained = templates.untrained_lines(controls)
        if untrained:
            trained = Line(controls["trained"], "trained", TRAINED)
            title = f"{named(terms[0])}, trained and untrained"
            if len(untrained) > 1:
                title += " (by scale)"
            panels.append(Lines([*untrained, trained], unit, title, direct=True))
            r_squared += r_squared_untrained(controls)
            note += (
                f" The comparison of {named(terms[0])} with untrained models is on the same texts "
                "and not corrected for bias."
            )
    panels += response_panels(inputs.medians, f"response\n({UNITS[inputs.outcome]})")
    within = inputs.r_squared_name.removeprefix("R²").strip()
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
        title_of(inputs.claims, terms),
        layers,
        panels,
        note,
        across=2 if len(panels) > 2 else 1,
        **templates.tests_of(inputs),
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


def profiles(inputs: SimpleNamespace, layers: Sequence[int]) -> dict[str, Line]:
    """Return the line of each lag and lead, nearest first."""
    lines = {}
    for term, colour in lag_colours(lags_among(inputs.coefficients["term"])).items():
        rows = inputs.coefficients[inputs.coefficients["term"] == term]
        style = {"linestyle": dashes(term), "alpha": inputs.alpha}
        lines[term] = templates.profile(rows, layers, colour, **style)
    return lines


def panel_of_all(
    inputs: SimpleNamespace, layers: Sequence[int], unit: str, missing: Sequence[int]
) -> Lines:
    """Return one panel of all lags and leads."""
    lines = profiles(inputs, layers)
    for term, line in lines.items():
        line.label = named(term)
    return Lines(list(lines.values()), unit, missing=missing, height=3.2)


def panel_of_term(
    inputs: SimpleNamespace,
    term: str,
    layers: Sequence[int],
    unit: str,
    missing: Sequence[int],
) -> Lines:
    """Return the panel of a lag or lead, beside tokens in random order."""
    lines = [profiles(inputs, layers)[term]]
    controls = controls_of(inputs, term, layers)
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


def r_squared_untrained(controls: pd.DataFrame) -> list[Line]:
    """Return R² of untrained models, whose lines lie on each other and have one label."""
    lines = templates.untrained_lines(controls, "_r_squared")
    for line in lines:
        line.label = ""
    if lines:
        lines[0].label = "untrained"
    return lines


def controls_of(inputs: SimpleNamespace, term: str, layers: Sequence[int]) -> pd.DataFrame:
    """Return the controls of a term by layer, without columns if there are none."""
    if inputs.controls is None:
        return pd.DataFrame(index=list(layers))
    rows = inputs.controls[inputs.controls["term"] == term]
    return rows.set_index("layer").reindex(layers)
