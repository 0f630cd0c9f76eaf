"""Coefficient of each lag by layer beside its controls, and R² below."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from attnlag.figures.drawing import (
    draw_controls,
    draw_lags,
    frame,
    is_below,
    label_layers,
    mark_unfitted,
    rule_values,
    unfitted_layers,
)
from attnlag.figures.files import style
from attnlag.figures.inputs.regressions import CoefficientsInputs
from attnlag.figures.legends import (
    GREY,
    RANDOM_LINE,
    band_text,
    control_entries,
    handle_of,
    lag_colours,
    mark_entries,
    strip_height,
)
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.wording import (
    PREDICTIVE,
    inference_text,
)
from attnlag.regression.labels import UNITS, plural
from attnlag.regression.terms import is_lead, lags_among, named

DRAWN_BY = ("plot_regression",)

CATEGORY = "coefficients"

SUBCATEGORY = "by layer"

# Up to this number of panels, those of lags are stacked; more of them are side by side.
MOST_BELOW = 3

# Number of panels in a row on a slide.
MOST_BESIDE = 3

# Number of lags and leads whose sizes the title states.
MOST_TERMS = 2

# Coefficients of random weights may be ten times those of the trained model. The scale is linear
# up to about this value and logarithmic beyond, so that both can be read.
LINEAR_UP_TO = 0.3
TICKS = (-3, -1, -0.3, -0.1, 0, 0.1, 0.3, 1, 3)


@dataclass
class Data:
    """Data of the figure.

    Attributes
    ----------
    coefficients, fits : pandas.DataFrame
        The tidy tables of one regression. A layer without estimates is a gap, marked below.
    alpha : float
        Level of significance; the bands are those of the table, 1 - ``alpha``.
    adjust : str
        The correction in ``p_adjusted``.
    critical_values : mapping of term to float, or None
        If given, the bands are joint over the layers.
    controls : pandas.DataFrame or None
        Controls of each lag and lead. With controls, each lag and lead has a panel of its own,
        because the controls of several would overlap.
    within : bool
        Whether the means of documents are removed.
    negligible : float or None
        Coefficients shown to be within this bound are drawn as crosses.
    r_squared_name : str
        Name of R², which refers to the variance within documents with document effects.
    outcome : str
        Outcome of the regression.
    """

    coefficients: pd.DataFrame
    fits: pd.DataFrame
    alpha: float
    adjust: str
    critical_values: Mapping[str, float] | None = None
    controls: pd.DataFrame | None = None
    within: bool = False
    negligible: float | None = None
    r_squared_name: str = "R²"
    outcome: str = "norm"


def reduce(inputs: CoefficientsInputs) -> Data:
    """Return the data without reducing the tables."""
    return Data(
        inputs.coefficients,
        inputs.fits,
        **inputs.inference,
        critical_values=inputs.critical_values,
        controls=inputs.controls,
        within=inputs.stages["regression"]["fixed_effects"] == "document",
        negligible=inputs.negligible,
        r_squared_name=inputs.r_squared_name,
        outcome=inputs.outcome,
    )


def title_of(data: Data) -> str:
    """Return the direction of the nearest term, and the sizes of the first terms and controls."""
    terms = lags_among(list(data.coefficients["term"]))
    medians = data.coefficients.groupby("term")["estimate"].median()
    nearest = medians[terms[0]]
    scope = "Within documents" if data.within else "Pooled over documents"
    if "n_documents" in data.fits and data.fits["n_documents"].max() == 1:
        scope = "In one document"
    many = plural(data.outcome)
    if not np.isfinite(nearest):
        return f"{scope}, no coefficient of {many} could be estimated"
    lead = is_lead(terms[0])
    if abs(nearest) <= (data.negligible or 0.0):
        claim = f"{many} hardly depend on those {'after' if lead else 'before'} them"
    else:
        others = "large" if nearest > 0 else "small"
        claim = f"large {many} {'precede' if lead else 'follow'} {others} ones"
    sizes = [f"{named(term)} is {medians[term]:.2f}" for term in terms[:MOST_TERMS]]
    if data.controls is not None and "random_weights" in data.controls:
        random = data.controls.groupby("term")["random_weights"].median()
        for place, term in enumerate(terms[:MOST_TERMS]):
            if np.isfinite(random.get(term, np.nan)):
                weights = "" if place else "with random weights "
                sizes[place] += f" ({weights}{random[term]:.2f})"
    return f"{scope}, {claim}: {' and '.join(sizes)} in the median layer"


def with_joint_bands(
    coefficients: pd.DataFrame, critical_values: Mapping[str, float]
) -> pd.DataFrame:
    """Return the tidy table with the intervals estimate ± critical value × standard error."""
    reach = coefficients["term"].map(dict(critical_values)) * coefficients["std_error"]
    return coefficients.assign(
        conf_low=coefficients["estimate"] - reach, conf_high=coefficients["estimate"] + reach
    )


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the coefficient of each lag by layer with R² below."""
    coefficients, controls, critical_values = data.coefficients, data.controls, data.critical_values
    alpha, adjust = data.alpha, data.adjust
    fits = data.fits.sort_values("layer")
    numbers = fits["layer"].tolist()
    terms = lags_among(list(coefficients["term"]))
    palette = lag_colours(terms)
    covariance = coefficients["vcov_type"].iloc[0]
    if critical_values is not None:
        coefficients = with_joint_bands(coefficients, critical_values)
    r_squared = fits["r_squared"].to_numpy(dtype=float)
    missing = unfitted_layers(coefficients, numbers)

    drawn = control_entries(controls, alpha)
    groups = [[term] for term in terms] if drawn else [terms]
    band = band_text(alpha, joint=critical_values is not None)
    entries = drawn | mark_entries(
        alpha, adjust, band=band, negligible=data.negligible, unfitted=bool(missing)
    )
    if not drawn:
        entries = {**{named(term): handle_of(term, palette) for term in terms}, **entries}

    strip = strip_height([entries], size.canvas)
    figure, panels, bottom = _panels_of_groups(len(groups), strip, size)
    # Narrow panels have no room for the unit, which the footnote then states.
    unit = "" if size.narrow else f"\n({UNITS[data.outcome]})"
    for axes, group in zip(panels, groups, strict=True):
        axes.axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
        if drawn and controls is not None:
            draw_controls(axes, controls[controls["term"] == group[0]], numbers)
            name = named(group[0])
            axes.set_ylabel(name if size.narrow else f"coefficient of {name}{unit}")
        else:
            axes.set_ylabel(f"coefficient{unit}")
        draw_lags(axes, coefficients, numbers, palette, alpha, group)
        mark_unfitted(axes, missing, 0.03)
        axes.margins(y=0.08)
    random = controls is not None and "random_weights" in controls
    if random:
        # The panels share their scale.
        panels[0].set_yscale("asinh", linear_width=LINEAR_UP_TO)
        shown = [tick for tick in TICKS if abs(tick) != 0.1 or not size.narrow]
        panels[0].yaxis.set_major_locator(FixedLocator(shown))
        panels[0].yaxis.set_minor_locator(NullLocator())
        panels[0].yaxis.set_major_formatter("{x:g}")
    mark_unfitted(bottom, missing, 0.1)
    bottom.plot(numbers, r_squared, color="k", linewidth=1.1, marker="o", markersize=3)
    highest = r_squared
    if random and controls is not None:
        of_random = controls.drop_duplicates("layer").set_index("layer").reindex(numbers)
        values = of_random["random_weights_r_squared"].to_numpy(float)
        bottom.plot(numbers, values, zorder=1.7, **RANDOM_LINE)
        highest = np.concatenate([r_squared, values])
    bottom.set_ylim(0, 1.15 * np.nanmax(highest, initial=0.0) or 1.0)
    within = data.r_squared_name.removeprefix("R²").strip()
    bottom.set_ylabel("R²" if size.narrow else f"R²\n({within or 'share of variance'})")
    bottom.locator_params(axis="y", nbins=4)
    for axes in figure.axes:
        label_layers(axes, numbers)
        if any(is_below(other, axes) for other in figure.axes):
            # The panel below has the same axis of layers.
            axes.tick_params(labelbottom=False)
            axes.set_xlabel("")
        rule_values(axes)
    sns.despine(figure)
    figure.align_ylabels()
    notes = [PREDICTIVE]
    if size.narrow:
        notes.append(
            f"Coefficients: {UNITS[data.outcome]}. R²: share of variance"
            f"{' ' if within else ''}{within}."
        )
    if critical_values is not None:
        notes.append("Joint bands cover all layers of a term simultaneously (bootstrap max-t).")
    if random and controls is not None:
        notes.append("The scale of the coefficients is linear near zero, logarithmic beyond 0.3.")
        own = controls[controls["term"] == terms[0]]["trained"].median()
        notes.append(
            "Random weights are not corrected for bias; on the same documents, likewise "
            f"uncorrected, {named(terms[0])} of the trained model has a median of {own:.2f}."
        )
    if drawn and controls is not None and "permuted_mean" in controls:
        notes.append("The permuted coefficients are not corrected for bias.")
    notes.append(inference_text(covariance, adjust))
    frame(figure, title, " ".join(notes), legends=[entries])
    return figure


def _panels_of_groups(groups: int, strip: float, size: Size) -> tuple[Figure, list[Axes], Axes]:
    """Return a figure with a panel for each group of lags, and one for R² after them."""
    if size.flat:
        # The panels are side by side, in two rows if there are many.
        rows = 1 if groups + 1 <= MOST_BESIDE else 2
        columns = -(-(groups + 1) // rows)
    else:
        columns = 1 if groups <= MOST_BELOW else 2
        rows = -(-groups // columns)
    # R² uses the free place beside the last group, if there is one, instead of a row.
    beside = groups < rows * columns
    each = (2.3 if groups == 1 else 1.7) if size.narrow else 3.5 if groups == 1 else 2.1
    heights = [each] * rows + [1.1 if size.narrow else 1.3] * (not beside)
    figure = Figure(figsize=size.tall(sum(heights) + strip + 1.3), layout="constrained")
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    panels: list[Axes] = []
    for place in range(groups):
        first = panels[0] if panels else None
        # All lags share one scale, so that they can be compared.
        cell = grid[divmod(place, columns)]
        panels.append(figure.add_subplot(cell, sharex=first, sharey=first))
    cell = grid[divmod(groups, columns)] if beside else grid[rows, :]
    # A panel of double width has room for more numbers.
    wide = columns == 2 and not beside
    return figure, panels, figure.add_subplot(cell, sharex=None if wide else panels[0])
