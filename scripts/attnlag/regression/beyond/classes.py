"""Slopes by class of token: the regression with separate lags, leads and levels for each class.

For the class c of the outcome, or of the token before it, the model is

    log a_t = Σ_c 1[c_t = c] (α_c + β_c log a_{t-1} + γ_c log a_{t-2}) + e_t,

with the lags of the full text, whatever the classes of the previous tokens. A document contains
tokens of many classes, so the estimates of two classes are dependent. A single regression on all
rows gives their joint clustered covariance, which a test of equal slopes needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import special

from attnlag.regression.covariances import CATALOGUE
from attnlag.regression.design.properties import (
    MODERATORS,
    OTHER,
    Property,
    classes_of,
    read_property,
)
from attnlag.regression.estimation import crossproducts, merging
from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.estimation.moments import KeptTerms, Moments, map_of, product
from attnlag.regression.estimation.regress import LayerFit, fit_layer
from attnlag.regression.estimation.wald import with_bounded_eta
from attnlag.regression.inference import bootstrap, results
from attnlag.regression.labels import status
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.settings import ClassesSettings, ClassProductsSettings, RegressionSettings
from attnlag.regression.terms import LEVEL, OF, class_of, is_lag_or_lead, of_class
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

    The properties of tokens are those of the same shard, ``cuts`` those of the whole corpus.
    """
    property_of_tokens = read_property(settings.property, [tokens])
    codes = codes_of(property_of_tokens, settings.offset, cuts)
    recorded = {**settings.model_dump(), "cuts": cuts}
    record = tables.read_provenance(design)
    return crossproducts.write(
        tables.documents(design, "moments by class"),
        pq.read_schema(design),
        path,
        tables.provenance(record, "class_crossproducts", recorded, "numpy"),
        crossproducts.Cells(settings.halves, len(classes_of(settings.property)), codes),
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


def with_levels(
    layer: Moments, merged: Sequence[str], names: Sequence[str], covariates: KeptTerms
) -> Moments:
    """Return the moments of all classes, with lags of each and levels of each but the last.

    ``merged`` has what each class is merged into, "" for a class without rows. What is subtracted
    from lags is the same in all classes, which moves the levels alone.
    """
    lags = [term for term in layer.terms if is_lag_or_lead(term)]
    of_lags = [of_class(lag, name) for lag in lags for name in names]
    levels = [of_class(LEVEL, name) for name in names[:-1]]
    terms = ["y", *of_lags, *covariates, *levels]
    place = {term: 1 + index for index, term in enumerate(terms)}
    apart: KeptTerms = {term: () for term in of_lags}
    common = map_of(layer.terms, {"y": ["y"], **apart, **covariates})
    common = np.pad(common, ((0, 0), (0, len(levels))))
    maps = []
    for name in merged:
        to = common.copy()
        for lag in lags if name else []:
            to[1 + layer.terms.index(lag), place[of_class(lag, name)]] = 1
        if of_class(LEVEL, name) in place:
            to[0, place[of_class(LEVEL, name)]] = 1
        maps.append(to)

    def summed(s: np.ndarray) -> np.ndarray:
        by_class = s.reshape(-1, len(merged), *s.shape[1:])
        # The terms of all classes are many: one class at a time is in memory beside their sum.
        total = product(by_class[:, 0], maps[0])
        for place, to in enumerate(maps[1:], start=1):
            total += product(by_class[:, place], to)
        return total

    return replace(layer, s=summed(layer.s), terms=terms, centre=layer.centre @ common)


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
    regression = settings.regression.by_document()
    classes = classes_of(settings.property)

    def rows_in(block: Moments) -> np.ndarray:
        by_class = block.s[..., 0, 0].reshape(-1, len(classes), len(block.clusters))
        return by_class.sum(axis=0).T

    rows = merging.rows_by_class(layers, rows_in)
    sizes = rows.sum(axis=0), (rows > 0).sum(axis=0)
    merged = merging.merged_classes(
        classes, *sizes, documents=MIN_DOCUMENTS, rows=settings.least_rows
    )
    name_of = {member: name for name, members in merged.items() for member in members}
    of_classes = [name_of.get(label, "") for label in classes]
    covariates = covariates_beside(merging.kept_terms(layers[0].terms, layers), settings)
    lags = [term for term in layers[0].terms if is_lag_or_lead(term)]
    of_lags = {lag: [of_class(lag, name) for name in merged] for lag in lags}
    apart, together = [], []
    for layer in layers:
        each = with_levels(layer, of_classes, list(merged), covariates)
        others = {term: [term] for term in each.terms[1:] if not is_lag_or_lead(term)}
        shared = {"y": ["y"], **of_lags, **others}
        effects = regression.fixed_effects == "document"
        own, common = (each.prepared(terms, effects=effects) for terms in (None, shared))
        equal = [_contrasts(own.names, lag) for lag in lags]
        kind = regression.covariance
        apart.append(fit_layer(solve(own), kind, hypotheses=equal, jackknifed=True))
        together.append(fit_layer(solve(common), kind, jackknifed=True))

    table, of_all = _tidy(apart, regression), _tidy(together, regression)
    pooled = of_all.set_index(["layer", "term"])["estimate"]
    keys = pd.MultiIndex.from_frame(table[["layer", "term"]])
    table["difference"] = table["estimate"] - pooled.reindex(keys).to_numpy()
    errors = map(errors_of_differences, apart, together)
    table["difference_std_error"] = np.concatenate(list(errors))
    statistic = table["difference"] / table["difference_std_error"]
    table["difference_p_value"] = 2 * special.stdtr(table["df"], -statistic.abs())
    # The correction covers all layers and classes, because a reader looks at all these cells.
    table["difference_p_adjusted"] = table.groupby("term")["difference_p_value"].transform(
        results.adjusted_p_values, adjust=regression.adjust
    )
    medians = bootstrap.medians_of_jackknife(apart, regression, max(len(merged), 1))
    names = [of_class(*pair) for pair in zip(table["term"], table["subset"], strict=True)]
    table[medians.columns] = medians.reindex(names).to_numpy()
    table = pd.concat([of_all, table], ignore_index=True)
    table["status"] = table.pop("status")
    of_merged = pd.DataFrame(rows, columns=of_classes).T.groupby(level=0).sum()
    n_obs, n_documents = of_merged.sum(axis=1), (of_merged > 0).sum(axis=1)
    n_obs[ALL], n_documents[ALL] = rows.sum(), max(fit.n_documents for fit in apart)
    table["n_obs"] = table["subset"].map(n_obs)
    table["n_documents"] = table["subset"].map(n_documents)
    wald = equal_slopes(apart, lags, regression)
    wald["p_adjusted"] = wald.groupby("term")["p_value"].transform(
        results.adjusted_p_values, adjust=regression.adjust
    )
    return table, wald.assign(merged=", ".join(merged.get(OTHER, [])))


def _tidy(fits: Sequence[LayerFit], settings: RegressionSettings) -> pd.DataFrame:
    """Return the tidy table of lags and leads, whose class is the subset."""
    table = results.coefficients_table(fits, settings)
    table["status"] = np.repeat([status(fit.reason) for fit in fits], len(fits[0].names))
    table = table[table["term"].map(is_lag_or_lead)].reset_index(drop=True)
    table["subset"] = table["term"].map(class_of).replace("", ALL)
    table["term"] = table["term"].str.partition(OF)[0]
    return table


def errors_of_differences(apart: LayerFit, together: LayerFit) -> np.ndarray:
    """Return the standard errors of the differences between class slopes and shared slopes.

    They are the jackknife's: both regressions leave out the same document. NaN if there is only one
    class.
    """
    slopes = [place for place, name in enumerate(apart.names) if is_lag_or_lead(name)]
    shared = [together.names.index(apart.names[place].partition(OF)[0]) for place in slopes]
    if apart.left_out is None or together.left_out is None or len(slopes) == len(set(shared)):
        return np.full(len(slopes), np.nan)
    without = apart.left_out.coefficients[:, slopes] - together.left_out.coefficients[:, shared]
    change = without - (apart.estimate[slopes] - together.estimate[shared])
    return np.sqrt((1 - 1 / len(change)) * (change**2).sum(axis=0))


def equal_slopes(
    fits: Sequence[LayerFit], lags: Sequence[str], settings: RegressionSettings
) -> pd.DataFrame:
    """Return the tests that classes share one slope, a row for each layer and lag."""
    rows = []
    for fit in fits:
        for lag, test in zip(lags, fit.joint, strict=True):
            if CATALOGUE[settings.covariance].needs == "cr2":
                of_slopes = fit.df[_tested_slopes(fit.names, lag)]
                test = with_bounded_eta(test, len(of_slopes) / (1 / of_slopes).sum())
            rows.append((fit.layer, lag, *test))
    columns = ["layer", "term", "f_statistic", "df", "df_residual", "p_value"]
    return pd.DataFrame(rows, columns=columns)


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
