"""Norms and coefficients by layer, site beside site."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from attnlag.adjustments.sites import SITES
from attnlag.figures.drawing import (
    NORMS,
    draw_lags,
    frame,
    is_below,
    label_layers,
    mark_unfitted,
    quantiles_of,
    rule_values,
    unfitted_layers,
)
from attnlag.figures.files import style
from attnlag.figures.inputs.regressions import SitesInputs
from attnlag.figures.inputs.sampling import sample_norms
from attnlag.figures.legends import (
    GREY,
    band_text,
    handle_of,
    lag_colours,
    mark_entries,
    strip_height,
)
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.wording import (
    PREDICTIVE,
    inference_text,
    sizes_in_words,
    tokens_shown,
)
from attnlag.regression.labels import UNITS
from attnlag.regression.terms import lags_among, named
from attnlag.storage.tables import row_count

DRAWN_BY = ("plot_sites",)

CATEGORY = "coefficients"

SUBCATEGORY = "sites side by side"


@dataclass
class SitePanels:
    """One site's column of panels.

    Attributes
    ----------
    site : str
    layers : list of int
    quantiles : (layers, 5) float array
        Quantiles of the log norms, from `quantiles_of`.
    coefficients, fits : pandas.DataFrame
        The tidy tables of one regression.
    """

    site: str
    layers: list[int]
    quantiles: np.ndarray
    coefficients: pd.DataFrame
    fits: pd.DataFrame


@dataclass
class Data:
    """Data of the figure.

    Attributes
    ----------
    sites : list of SitePanels
        One column per site; the axes of a row are shared.
    alpha : float
        Level of significance; the bands are those of the tables, 1 - ``alpha``.
    adjust : str
        The correction in ``p_adjusted``.
    drop_first : int
        Number of tokens of each sequence that the norms leave out, for the footnote.
    tokens : int
        Number of tokens in the corpus, of which the norms may be a sample.
    negligible : float or None
        Coefficients shown to be within this bound are drawn as crosses.
    outcome : str
        Outcome of the regression.
    """

    sites: list[SitePanels]
    alpha: float
    adjust: str
    drop_first: int
    tokens: int = 0
    negligible: float | None = None
    outcome: str = "norm"


def reduce(inputs: SitesInputs) -> Data:
    """Reduce the norms of each site to quantiles, one site at a time."""
    first = inputs.studies[0]
    panels = []
    for site, norms, study in zip(inputs.sites, inputs.norms, inputs.studies, strict=True):
        sample = sample_norms(norms, first.drop_first)
        quantiles = np.stack([quantiles_of(logs) for logs in sample.log_norms])
        panels.append(SitePanels(site, sample.layers, quantiles, study.coefficients, study.fits))
    tokens = row_count(inputs.norms[0])
    return Data(
        panels,
        **first.inference,
        drop_first=first.drop_first,
        tokens=tokens,
        negligible=first.negligible,
        outcome=first.outcome,
    )


def title_of(data: Data) -> str:
    """Return the size of the nearest lag or lead at each site."""
    term = lags_among(list(data.sites[0].coefficients["term"]))[0]
    estimates = {
        panels.site: panels.coefficients.loc[panels.coefficients["term"] == term, "estimate"]
        for panels in data.sites
    }
    return sizes_in_words(term, estimates) or "Norms and coefficients by layer"


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the sites side by side, norms by layer above coefficients by layer.

    A narrow figure has a row for each site, with its coefficients at the right.
    """
    sites, alpha, adjust, drop_first = data.sites, data.alpha, data.adjust, data.drop_first
    palette = lag_colours(lags_among(list(sites[0].coefficients["term"])))
    tables = [panels.coefficients for panels in sites]
    missing = [
        unfitted_layers(table, panels.layers) for table, panels in zip(tables, sites, strict=True)
    ]
    entries = {
        **{named(lag): handle_of(lag, palette) for lag in palette},
        **mark_entries(
            alpha,
            adjust,
            band=band_text(alpha),
            negligible=data.negligible,
            unfitted=any(missing),
        ),
    }
    strip = strip_height([entries], size.canvas)
    if size.narrow:
        figure = Figure(figsize=size.tall(1.8 * len(sites) + strip + 1.8), layout="constrained")
        pairs = figure.subplots(len(sites), 2, sharex=True, sharey="col", squeeze=False)
    else:
        figure = Figure(figsize=size.tall(5.3 + strip + 1.1), layout="constrained")
        pairs = figure.subplots(2, len(sites), sharex=True, sharey="row", squeeze=False).T
    for panels, table, without, (norms, slopes) in zip(sites, tables, missing, pairs, strict=True):
        numbers = panels.layers
        lowest, low, middle, high, highest = panels.quantiles.T
        for below, above, alpha_of_band in ((lowest, highest, 0.2), (low, high, 0.35)):
            norms.fill_between(
                numbers, below, above, color=NORMS, alpha=alpha_of_band, linewidth=0, zorder=2
            )
        norms.plot(numbers, middle, color=NORMS, linewidth=1.5, marker="o", markersize=3, zorder=3)
        norms.set_title(SITES[panels.site].label, loc="left", weight="bold")
        slopes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
        draw_lags(slopes, table, numbers, palette, alpha, list(palette))
        mark_unfitted(slopes, without, 0.03)
        slopes.margins(y=0.08)
        for axes in (norms, slopes):
            label_layers(axes, numbers)
            rule_values(axes)
            if any(is_below(other, axes) for other in figure.axes):
                axes.set_xlabel("")
        if size.narrow:
            norms.set_ylabel("log norm")
            slopes.set_ylabel("coefficient")
        elif panels is sites[0]:
            norms.set_ylabel("log norm\n(natural log)")
            slopes.set_ylabel(f"coefficient\n({UNITS[data.outcome]})")
    sns.despine(figure)
    for line in pairs.T:
        figure.align_ylabels(list(line if size.narrow else line[:1]))

    covariance = sites[0].coefficients["vcov_type"].iloc[0]
    first = "first" if drop_first == 1 else f"first {drop_first}"
    dropped = f" except the {first} of each sequence" if drop_first else ""
    places = ("Left", "Right") if size.narrow else ("Above", "Below")
    units = f"Natural logarithms. Coefficients: {UNITS[data.outcome]}. " if size.narrow else ""
    frame(
        figure,
        title,
        f"{places[0]}: median norm of each layer, with bands for the middle 50% and 90% of "
        f"{tokens_shown(data.tokens)}{dropped}. {places[1]}: coefficients of the regression in "
        f"each layer. {units}{PREDICTIVE} {inference_text(covariance, adjust)}",
        legends=[entries],
    )
    return figure
