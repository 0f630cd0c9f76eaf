"""Slopes by class of token: the regression with separate lags, leads and levels for each class.

For the class c of the outcome, or of the token before it, the model is

    log a_t = Σ_c 1[c_t = c] (α_c + β_c log a_{t-1} + γ_c log a_{t-2}) + e_t,

with the lags of the full text, whatever the classes of the previous tokens. A document contains
tokens of many classes, so the estimates of two classes are dependent. A single regression on all
rows gives their joint clustered covariance, which a test of equal slopes needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.quantities.estimates import Estimates
from attnlag.regression.covariances import CATALOGUE
from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.estimation.wald import with_bounded_eta
from attnlag.regression.inference import bootstrap, fallbacks, layer_fit, multiple_tests
from attnlag.regression.inference.layer_fit import LayerFit, fit_layer
from attnlag.regression.labels import status
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.moments import merging
from attnlag.regression.moments.moments import (
    KeptTerms,
    Moments,
    RowPartition,
    map_of,
    mapped,
    write_moments,
)
from attnlag.regression.properties import (
    MODERATORS,
    OTHER,
    Property,
    classes_of,
    read_property,
)
from attnlag.regression.settings import ClassesSettings, ClassProductsSettings, RegressionSettings
from attnlag.regression.terms import LEVEL, OF, class_of, class_term, is_lag_or_lead, lag_places
from attnlag.storage import tables

# Subset of the slopes that all classes share.
ALL = "all"


def codes_of(
    tokens: Property, offset: int, cuts: Sequence[float] | None = None
) -> Callable[[pa.RecordBatch], np.ndarray]:
    """Return the function that gives the class of each row of a design; NaN without the number.

    Classes of a number assume no form of the dependence on it (Hainmueller, Mummolo and Xu 2019).
    Equal numbers are in the same third, so the thirds of one with few values differ in size. The
    class is that of the token at the offset from the outcome; ``cuts`` are the ends of the thirds.
    The function raises UserError for a row whose token has no properties.
    """

    def codes(batch: pa.RecordBatch) -> np.ndarray:
        values = tokens.at(batch, offset)
        if cuts is None:
            return values
        return np.where(np.isnan(values), np.nan, np.searchsorted(cuts, values, side="left"))

    return codes


def sum_design(
    design: Path,
    tokens: Path,
    cuts: Sequence[float] | None,
    path: Path,
    settings: ClassProductsSettings,
) -> int:
    """Write the moments of the rows of each class of a design; return the number of documents.

    The properties of tokens are those of the same shard, ``cuts`` those of the whole corpus. Raise
    UserError if they are of other tokens than the design.
    """
    property_of_tokens = read_property(settings.property, [tokens])
    codes = codes_of(property_of_tokens, settings.offset, cuts)
    recorded = {**settings.model_dump(), "cuts": cuts}
    record = tables.read_provenance(design)
    return write_moments(
        tables.documents(design, "moments by class"),
        pq.read_schema(design),
        path,
        tables.provenance(record, "class_crossproducts", recorded, "numpy"),
        RowPartition(settings.halves, len(classes_of(settings.property)), codes),
    )


def covariates_beside(terms: KeptTerms, settings: ClassesSettings) -> KeptTerms:
    """Return the covariates without one that the levels of the classes determine already.

    Thirds do not determine a number.
    """
    name = settings.property + ("_previous" if settings.offset == -1 else "")
    same = {name, *(f"{name}_{label}" for label in classes_of(settings.property))}
    if settings.offset not in (0, -1) or settings.property in MODERATORS:
        same = set()
    return {
        term: parts
        for term, parts in terms.items()
        if not (term == "y" or is_lag_or_lead(term) or same & set(parts))
    }


def with_levels(layer: Moments, classes: "MergedClasses", covariates: KeptTerms) -> Moments:
    """Return the moments of all classes, with lags of each and levels of each but the last.

    What is subtracted from lags is the same in all classes, which moves the levels alone.
    """
    lags = list(filter(is_lag_or_lead, layer.terms))
    lags_by_class = [class_term(lag, name) for lag in lags for name in classes.names]
    levels = [class_term(LEVEL, name) for name in classes.names[:-1]]
    terms = ["y", *lags_by_class, *covariates, *levels]
    place = {term: 1 + index for index, term in enumerate(terms)}
    none: KeptTerms = {term: () for term in lags_by_class}
    common = map_of(layer.terms, {"y": ["y"], **none, **covariates})
    common = np.pad(common, ((0, 0), (0, len(levels))))
    by_class = layer.products.reshape(-1, len(classes.merged_into), *layer.products.shape[1:])
    total = np.zeros((by_class.shape[0], by_class.shape[2], len(terms) + 1, len(terms) + 1))
    # The terms of all classes are many: one class at a time is in memory beside their sum.
    for number, name in enumerate(classes.merged_into):
        to_class = common.copy()
        if name:
            for lag in lags:
                to_class[1 + layer.terms.index(lag), place[class_term(lag, name)]] = 1
        level = class_term(LEVEL, name)
        if level in place:
            to_class[0, place[level]] = 1
        total += mapped(by_class[:, number], to_class)
    return replace(layer, products=total, terms=terms, centre=layer.centre @ common)


def slopes_by_class(
    layers: Sequence[Moments], settings: ClassesSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit slopes by class of token, and the slopes shared by all classes, in every layer.

    The difference between a class's slope and the shared slope gets its error from leaving out each
    document in both regressions: given the regressors, the error would miss that the mix of classes
    varies by document. Covariances that need residuals are replaced by clustering by document, as
    for groups.

    The second table has the tests that all classes share one slope. What is merged into ``other``
    is no class, and is not in them. The degrees of freedom of the AHT test are at most the harmonic
    mean of Satterthwaite's of the slopes: without this bound, classes in few documents make it
    reject equal slopes too often.
    """
    regression = fallbacks.by_document(settings.regression)
    classes = merge_classes(layers, settings)
    terms = layers[0].terms
    covariates = covariates_beside(merging.kept_terms(terms, layers), settings)
    lags = list(filter(is_lag_or_lead, terms))
    separate_fits, pooled_fits = fit_classes(layers, lags, classes, covariates, regression)
    slopes = table_of_slopes(separate_fits, pooled_fits, classes, regression)
    return slopes, table_of_tests(separate_fits, lags, classes, regression)


@dataclass(frozen=True)
class MergedClasses:
    """The classes that have slopes, after small ones were merged."""

    # Their names, each with the classes that make it up.
    members: dict[str, list[str]]
    # What each class is merged into, "" for a class without rows.
    merged_into: list[str]
    # (documents, classes) int array: rows of each class before merging, in the layer with most.
    rows: np.ndarray

    @property
    def names(self) -> list[str]:
        return list(self.members)


def merge_classes(layers: Sequence[Moments], settings: ClassesSettings) -> MergedClasses:
    """Return the classes with enough rows and documents, and the others merged into ``other``."""
    classes = classes_of(settings.property)

    def rows_in(moments: Moments) -> np.ndarray:
        by_class = moments.products[..., 0, 0].reshape(-1, len(classes), len(moments.clusters))
        return by_class.sum(axis=0).T

    rows = merging.rows_by_class(layers, rows_in)
    members = merging.merged_classes(
        classes,
        size=rows.sum(axis=0),
        present=(rows > 0).sum(axis=0),
        documents=MIN_DOCUMENTS,
        rows=settings.least_rows,
    )
    name_of = {label: name for name, labels in members.items() for label in labels}
    return MergedClasses(members, [name_of.get(label, "") for label in classes], rows)


def fit_classes(
    layers: Sequence[Moments],
    lags: Sequence[str],
    classes: MergedClasses,
    covariates: KeptTerms,
    regression: RegressionSettings,
) -> tuple[list[LayerFit], list[LayerFit]]:
    """Fit every layer with slopes of each class, and with slopes that all share."""
    fixed_effects = regression.fixed_effects == "document"
    separate_fits = []
    pooled_fits = []
    for layer in layers:
        moments = with_levels(layer, classes, covariates)
        pooled: dict[str, Sequence[str]] = {"y": ["y"]}
        for lag in lags:
            pooled[lag] = [class_term(lag, name) for name in classes.names]
        for term in moments.terms[1:]:
            if not is_lag_or_lead(term):
                pooled[term] = [term]
        separate = moments.prepared(fixed_effects=fixed_effects)
        equal = {lag: _contrasts(separate.names, lag) for lag in lags}
        kind = regression.covariance
        separate_fits.append(fit_layer(solve(separate), kind, hypotheses=equal, jackknifed=True))
        shared = moments.with_terms(pooled).prepared(fixed_effects=fixed_effects)
        pooled_fits.append(fit_layer(solve(shared), kind, jackknifed=True))
    return separate_fits, pooled_fits


def table_of_slopes(
    separate_fits: Sequence[LayerFit],
    pooled_fits: Sequence[LayerFit],
    classes: MergedClasses,
    regression: RegressionSettings,
) -> pd.DataFrame:
    """Return the shared slopes, then those of each class beside them; the class is the subset."""
    table = _tidy(separate_fits, regression)
    pooled = _tidy(pooled_fits, regression)
    shared = pooled.set_index(["layer", "term"])["estimate"]
    keys = pd.MultiIndex.from_frame(table[["layer", "term"]])
    errors = map(errors_of_differences, separate_fits, pooled_fits)
    differences = Estimates(
        value=(table["estimate"] - shared.reindex(keys).to_numpy()).to_numpy(),
        std_error=np.concatenate(list(errors)),
        df=table["df"].to_numpy(),
    )
    table["difference"] = differences.value
    table["difference_std_error"] = differences.std_error
    with np.errstate(divide="ignore", invalid="ignore"):
        table["difference_p_value"] = differences.p_value
    # The correction covers all layers and classes, because a reader looks at all these cells.
    table["difference_p_adjusted"] = table.groupby("term")["difference_p_value"].transform(
        multiple_tests.adjusted_p_values, adjust=regression.adjust
    )
    subsets = max(len(classes.names), 1)
    medians = bootstrap.medians_of_jackknife(separate_fits, regression, subsets)
    names = [class_term(*pair) for pair in zip(table["term"], table["subset"], strict=True)]
    table[medians.columns] = medians.reindex(names).to_numpy()
    table = pd.concat([pooled, table], ignore_index=True)
    table["status"] = table.pop("status")
    rows = pd.DataFrame(classes.rows, columns=classes.merged_into).T.groupby(level=0).sum()
    n_obs = rows.sum(axis=1)
    n_obs[ALL] = classes.rows.sum()
    n_documents = (rows > 0).sum(axis=1)
    n_documents[ALL] = max(fit.n_documents for fit in separate_fits)
    table["n_obs"] = table["subset"].map(n_obs)
    table["n_documents"] = table["subset"].map(n_documents)
    return table


def table_of_tests(
    separate_fits: Sequence[LayerFit],
    lags: Sequence[str],
    classes: MergedClasses,
    regression: RegressionSettings,
) -> pd.DataFrame:
    """Return the tests that classes share one slope, a row for each layer and lag.

    ``merged`` names the classes that are in none of them.
    """
    rows = []
    for fit in separate_fits:
        for lag in lags:
            test = fit.errors.tests[lag]
            if CATALOGUE[regression.covariance].needs == "cr2":
                df = fit.df[_tested_slopes(fit.names, lag)]
                test = with_bounded_eta(test, len(df) / (1 / df).sum())
            rows.append((fit.layer, lag, *test))
    columns = ["layer", "term", "f_statistic", "df", "df_residual", "p_value"]
    table = pd.DataFrame(rows, columns=columns)
    table["p_adjusted"] = table.groupby("term")["p_value"].transform(
        multiple_tests.adjusted_p_values, adjust=regression.adjust
    )
    return table.assign(merged=", ".join(classes.members.get(OTHER, [])))


def _tidy(fits: Sequence[LayerFit], settings: RegressionSettings) -> pd.DataFrame:
    """Return the tidy table of lags and leads, whose class is the subset."""
    table = layer_fit.coefficients_table(fits, settings)
    table["status"] = np.repeat([status(fit.reason) for fit in fits], len(fits[0].names))
    table = table[table["term"].map(is_lag_or_lead)].reset_index(drop=True)
    table["subset"] = table["term"].map(class_of).replace("", ALL)
    table["term"] = table["term"].str.partition(OF)[0]
    return table


def errors_of_differences(separate: LayerFit, pooled: LayerFit) -> np.ndarray:
    """Return the standard errors of the differences between class slopes and shared slopes.

    They are the jackknife's: both regressions leave out the same document. NaN if there is only one
    class, or no fit. The result is (slopes,).
    """
    slopes = lag_places(separate.names)
    shared = [pooled.names.index(_lag_of(separate.names[place])) for place in slopes]
    if separate.left_out is None or pooled.left_out is None or len(slopes) == len(set(shared)):
        return np.full(len(slopes), np.nan)
    differences = separate.estimate[slopes] - pooled.estimate[shared]
    left_out = separate.left_out.coefficients[:, slopes] - pooled.left_out.coefficients[:, shared]
    change = left_out - differences
    return np.sqrt((1 - 1 / len(change)) * (change**2).sum(axis=0))


def _lag_of(term: str) -> str:
    """Return the lag or lead whose slope in a class a term is."""
    return term.partition(OF)[0]


def _tested_slopes(names: Sequence[str], lag: str) -> list[int]:
    """Return the places of the slopes of a lag in the classes that have one of their own."""
    slopes = []
    for place, name in enumerate(names):
        term, _, of = name.partition(OF)
        if term == lag and of != OTHER:
            slopes.append(place)
    return slopes


def _contrasts(names: Sequence[str], lag: str) -> np.ndarray:
    """Return the contrasts of each tested slope of a lag with the first, (slopes - 1, K)."""
    slopes = _tested_slopes(names, lag)
    contrasts = np.zeros((max(len(slopes) - 1, 0), len(names)))
    contrasts[:, slopes[:1]] = -1
    contrasts[np.arange(len(contrasts)), slopes[1:]] = 1
    return contrasts
