"""All claims about one regression, in the order in which its tables are made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from attnlag.claims import checkpoints, fits, lags, subsets, training
from attnlag.claims.fits import FitTables
from attnlag.claims.row import Row
from attnlag.quantities.catalogue import OUTCOMES
from attnlag.regression.inference.response import MAX_DISTANCE
from attnlag.regression.labels import UNITS
from attnlag.regression.terms import distance, is_lead, lags_among, nearest_lag

RANDOM_ORDER = "tokens in random order"

# Claims whose numbers are in the unit of the coefficients.
IN_UNITS_OF_COEFFICIENTS = {
    *("lag", "lag_range", "response", "without_one_document", "omitted_lags", "halves"),
    *("groups", "groups_extremes", "groups_apart", "nested_model", "random_order"),
    *("classes", "classes_extremes", "classes_apart"),
    *("training_first", "training_highest", "training_settled", "training_final"),
}


@dataclass(frozen=True)
class Further:
    """Tables of a regression beside its fit, empty or None where nothing asks for them.

    Parameters
    ----------
    slopes, tests : DataFrame
        ``classes`` and ``equal_slopes``: slopes by class of tokens, and tests that they are equal.
    trait : str
        The property by which tokens are classified.
    steps : DataFrame
        ``nested_models``.
    by_step : DataFrame, optional
        ``training``: the regression at earlier checkpoints.
    """

    slopes: pd.DataFrame = field(default_factory=pd.DataFrame)
    tests: pd.DataFrame = field(default_factory=pd.DataFrame)
    trait: str = ""
    steps: pd.DataFrame = field(default_factory=pd.DataFrame)
    by_step: pd.DataFrame | None = None


def claims_of_regression(
    fitted: FitTables, texts: int, further: Further = Further()
) -> Iterator[Row]:
    """Yield the claims of a regression; ``texts`` is the number of different texts."""
    unit = UNITS[fitted.settings.outcome]
    for row in _claims(fitted, texts, further):
        if row.claim in IN_UNITS_OF_COEFFICIENTS and not row.unit:
            row = replace(row, unit=unit)
        yield row


def _claims(fitted: FitTables, texts: int, further: Further) -> Iterator[Row]:
    goodness = fitted.goodness
    settings = fitted.settings
    usable = fits.usable(goodness)
    yield fits.fitted_layers(goodness)
    yield from fits.without_attention(goodness)
    yield from fits.unfitted_layers(goodness)
    if len(usable):
        yield from fits.few_texts(fitted)
        yield from fits.dominating_document(usable)
        terms = fitted.coefficients["term"].unique().tolist()
        omitted = lags.omitted_lags(usable, terms, settings.alpha, settings.adjust)
        yield from _sizes(fitted, texts, farthest_response(terms, omitted))
        yield from fits.pooled_medians(fitted)
        yield from fits.order(fitted.controls, settings)
        yield from training.by_scale(
            fitted.untrained_scales,
            bound=settings.equivalence_bound,
            nearest=nearest_lag(fitted.coefficients["term"]),
        )
        if further.by_step is not None:
            yield from _along_training(fitted, further.by_step)
        yield from fits.explained(fitted)
        yield from _doubts(fitted, omitted)
        yield from fits.rows_dropped(usable)
        yield fits.tails(usable)
        yield from fits.few_clusters(fitted)
    if len(fitted.groups):
        yield from subsets.groups(fitted.groups)
    if len(further.tests):
        trait = further.trait
        yield from subsets.classes(
            further.slopes, further.tests, trait, settings.alpha, settings.adjust
        )
    if len(further.steps):
        yield from lags.as_more_is_held_fixed(further.steps)


def _sizes(fitted: FitTables, texts: int, farthest: int) -> Iterator[Row]:
    """Yield each lag and lead with its controls, the responses, and the nearest lag's influence.

    ``farthest`` is the largest distance of a response.
    """
    settings = fitted.settings
    shared: dict[str, Any] = {
        "equivalence_bound": settings.equivalence_bound,
        "texts": texts,
    }
    medians: dict[Any, Any] = fitted.medians.set_index("term").to_dict("index")
    terms = lags_among(fitted.coefficients["term"])
    nearest = nearest_lag(terms)
    for term in terms:
        row = lags.size(fitted.coefficients, term, medians[term], adjust=settings.adjust, **shared)
        permuted = [*fits.random_order(fitted.controls, term)]
        for control in permuted:
            row = replace(row, baseline=RANDOM_ORDER, baseline_value=control.value)
        yield row
        yield lags.over_layers(fitted.coefficients, term)
        if term == nearest and OUTCOMES[settings.outcome].logarithm and not is_lead(term):
            yield lags.follows(row, settings.outcome)
        yield from permuted
    for tokens in range(1, farthest + 1):
        response = lags.response(fitted.medians, tokens, **shared)
        if response:
            yield response
    if len(fitted.influence):
        without = lags.without_one_document(
            fitted.coefficients, fitted.influence, settings.equivalence_bound
        )
        if without:
            yield without


def farthest_response(terms: Sequence[str], omitted: Row) -> int:
    """Return the largest distance in tokens at which a response is claimed.

    Beyond the longest lag of the terms, a response is an extrapolation, which does not hold where
    ``omitted``, the claim of `lags.omitted_lags`, counts layers in which further lags are shown.
    """
    if omitted.above > 0:
        return max([distance(term) for term in lags_among(terms) if not is_lead(term)], default=0)
    return MAX_DISTANCE


def _along_training(fitted: FitTables, by_step: pd.DataFrame) -> Iterator[Row]:
    """Yield how each lag and lead goes along training, and the loss."""
    for term in lags_among(fitted.coefficients["term"]):
        yield from checkpoints.course(by_step, term, bound=fitted.settings.equivalence_bound)
    yield from checkpoints.losses(by_step)


def _doubts(fitted: FitTables, omitted: Row) -> Iterator[Row]:
    """Yield whether halves of texts differ, lags are too few, and the nearest is not linear.

    ``omitted`` says whether lags are too few.
    """
    usable = fits.usable(fitted.goodness)
    settings = fitted.settings
    terms = fitted.coefficients["term"].unique().tolist()
    if settings.bias_correction != "none":
        yield from lags.halves(usable, fitted.coefficients, settings.alpha, settings.adjust)
    yield omitted
    yield from lags.curvature(usable, terms, settings.alpha, settings.adjust)
