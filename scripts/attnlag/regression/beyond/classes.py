"""Slopes by class of token: the regression with separate lags, leads and levels for each class.

For the class c of the outcome, or of the token before it, the model is

    log a_t = Σ_c 1[c_t = c] (α_c + β_c log a_{t-1} + γ_c log a_{t-2}) + e_t,

with the lags of the full text, whatever the classes of the previous tokens. A document contains
tokens of many classes, so the estimates of two classes are dependent. A single regression on all
rows gives their joint clustered covariance, which a test of equal slopes needs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import special

from attnlag.regression.beyond.groups import settings_of_groups
from attnlag.regression.design import properties
from attnlag.regression.design.properties import MODERATORS, OTHER, Property, classes_of, dummies
from attnlag.regression.design.thirds import thirds_of
from attnlag.regression.estimation import crossproducts, least_squares, merging, regress
from attnlag.regression.estimation.crossproducts import Shard, Totals
from attnlag.regression.estimation.merging import TermSums
from attnlag.regression.estimation.regress import LayerFit
from attnlag.regression.estimation.stacks import Stack
from attnlag.regression.inference import bootstrap, results
from attnlag.regression.limits import FEWEST_DOCUMENTS
from attnlag.regression.settings import ClassesSettings, ClassProductsSettings, RegressionSettings
from attnlag.regression.terms import LEVEL, OF, class_of, is_lag, of_class
from attnlag.storage import tables

# Rows of a design in memory at a time; each lag is there once for each class.
ROWS_BY_CLASS = 4096

# Subset of the slopes that all classes share.
ALL = "all"


def schema_of(design: pa.Schema, classes: Sequence[str]) -> pa.Schema:
    """Return the schema of a design with the slopes and the level of each class."""
    lags = [name for name in design.names if _is_lag_of_layer(name)]
    names = [of_class(term, label) for term in (*lags, LEVEL) for label in classes]
    return pa.schema([*design, *((name, pa.float64()) for name in names)])


def expanded(
    batches: Iterable[pa.RecordBatch],
    tokens: Property,
    offset: int,
    cuts: Sequence[float] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield a design extended by the slopes and the level of each class, as `schema_of` says.

    A row whose token lacks the number is dropped by setting its outcomes to null.

    Parameters
    ----------
    tokens : Property
        The class of each token, or the number whose thirds are the classes.
    offset : int
        The token whose class is used: 0 for the outcome, -1 for the token before it.
    cuts : (2,) sequence of float, optional
        Ends of the thirds of the number.
    """
    classes = classes_of(tokens.name)
    for batch in batches:
        values = tokens.at(batch, offset)
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        lags = [
            column.to_numpy(zero_copy_only=False)
            for name, column in columns.items()
            if _is_lag_of_layer(name)
        ]
        if cuts is not None:
            measured = pa.array(~np.isnan(values))
            for name in filter(lambda name: name.endswith(".y"), columns):
                outcome = columns[name]
                columns[name] = pc.if_else(measured, outcome, pa.scalar(None, outcome.type))
            values = np.nan_to_num(thirds_of(values, cuts))
        levels = dummies(values, len(classes))
        products = [np.where(level == 1, lag, 0.0) for lag in lags for level in levels]
        schema = schema_of(batch.schema, classes)
        arrays = [*columns.values(), *map(pa.array, (*products, *levels))]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _is_lag_of_layer(name: str) -> bool:
    return name.startswith("layer_") and is_lag(name.rpartition(".")[2])


def products_of_design(
    design: Path,
    tokens: Path,
    cuts: Sequence[float] | None,
    path: Path,
    settings: ClassProductsSettings,
) -> Totals:
    """Write the cross-products of a design with slopes for each class, and return their sums.

    Parameters
    ----------
    tokens : Path
        Table of the property, of the same shard.
    cuts : (2,) sequence of float or None
        Ends of the thirds of the tokens of the corpus, if the property is a number.
    """
    property_of_tokens = properties.read_property(settings.property, [tokens])

    batches = tables.batches(design, ROWS_BY_CLASS, "cross-products by class")
    schema = schema_of(pq.read_schema(design), classes_of(settings.property))
    lengths = None
    if settings.halves:
        documents = tables.batches(design, tables.ROWS_AT_ONCE, "documents", ["document"])
        lengths = crossproducts.rows_of_documents(documents)
    recorded = {**settings.model_dump(), "cuts": cuts}
    record = tables.read_provenance(design)
    return crossproducts.write(
        expanded(batches, property_of_tokens, settings.offset, cuts),
        schema,
        path,
        tables.provenance(record, "class_crossproducts", recorded, "numpy"),
        lengths,
    )


def fit_classes(products: Sequence[Path], settings: ClassesSettings) -> "SlopesByClass":
    """Fit slopes by class to the products of all shards.

    The column ``merged`` of the tests names the classes in ``other``.
    """
    slopes = slopes_by_class([crossproducts.read_shard(path) for path in products], settings)
    slopes.tests["merged"] = ", ".join(slopes.other)
    return slopes


@dataclass
class SlopesByClass:
    """Slopes by class of token."""

    # A row per layer, lag or lead, and class; class `ALL` has the slopes shared by all classes.
    coefficients: pd.DataFrame
    # A row per layer, and lag or lead: the Wald test that all classes share one slope.
    tests: pd.DataFrame
    # Classes that are merged into ``other``.
    other: list[str]


def terms_by_class(shards: Sequence[Shard], merged: dict[str, list[str]]) -> TermSums:
    """Return the outcome and the lags and leads of each class."""
    sums: dict[str, Sequence[str]] = {"y": ("y",)}
    for term in shards[0].terms:
        if is_lag(term) and not class_of(term):
            for label, members in merged.items():
                sums[of_class(term, label)] = [of_class(term, member) for member in members]
    return sums


def covariates_beside(shards: Sequence[Shard], settings: ClassesSettings) -> TermSums:
    """Return the covariates without one that the levels of the classes determine already.

    Thirds do not determine a number.
    """
    name = settings.property + ("_previous" if settings.offset == -1 else "")
    same = {name, *(f"{name}_{label}" for label in classes_of(settings.property))}
    if settings.offset not in (0, -1) or settings.property in MODERATORS:
        same = set()
    return {
        term: parts
        for term, parts in merging.kept_terms(shards).items()
        if not (term == "y" or is_lag(term) or class_of(term) or same & set(parts))
    }


def slopes_by_class(shards: Sequence[Shard], settings: ClassesSettings) -> SlopesByClass:
    """Fit slopes by class of token, and the slopes shared by all classes, in every layer.

    The difference between a class's slope and the shared slope gets its error from leaving out each
    document in both regressions: given the regressors, the error would miss that the mix of classes
    varies by document. Covariances that need residuals are replaced by clustering by document, as
    for groups.
    """
    regression = settings_of_groups(settings.regression)
    classes = classes_of(settings.property)
    rows, documents = merging.sizes_of(shards, [of_class(LEVEL, label) for label in classes])
    merged = merging.merged_classes(
        classes, rows, documents, documents=FEWEST_DOCUMENTS, rows=settings.least_rows
    )
    levels = {
        of_class(LEVEL, label): [of_class(LEVEL, member) for member in members]
        for label, members in merged.items()
    }
    # The last class is the reference.
    common = {**covariates_beside(shards, settings), **dict(list(levels.items())[:-1])}
    by_class = terms_by_class(shards, merged)
    lags = list(dict.fromkeys(term.partition(OF)[0] for term in by_class if term != "y"))
    apart = _fitted(shards, {**by_class, **common}, regression, lags, jackknife=True)
    shared = {"y": ("y",), **{lag: (lag,) for lag in lags}}
    # Both leave out the same documents, or the same bins of them.
    bins = len(apart.stack.clusters)
    together = _fitted(shards, {**shared, **common}, regression, jackknife=True, most=bins)

    table, of_all = _tidy(apart, regression), _tidy(together, regression)
    pooled = of_all.set_index(["layer", "term"])["estimate"]
    keys = pd.MultiIndex.from_frame(table[["layer", "term"]])
    table["difference"] = table["estimate"] - pooled.reindex(keys).to_numpy()
    places = range(len(apart.stack.layers))
    errors = [errors_of_differences(apart, together, place) for place in places]
    table["difference_std_error"] = np.concatenate(errors)
    statistic = table["difference"] / table["difference_std_error"]
    table["difference_p_value"] = 2 * special.stdtr(table["df"], -statistic.abs())
    # The correction covers all layers and classes, because a reader looks at all these cells.
    table["difference_p_adjusted"] = table.groupby("term")["difference_p_value"].transform(
        results.adjusted, adjust=regression.adjust
    )
    of_classes = [merging.merged_shard(shard, {"y": ("y",), **levels}) for shard in shards]
    sizes = np.stack(merging.sizes_of(of_classes, list(levels)))
    of_corpus = np.array([[rows.sum()], [together.stack.documents.max(initial=0)]])
    count = pd.DataFrame(np.hstack([sizes, of_corpus]).T, index=[*merged, ALL])
    medians = bootstrap.medians_of_jackknife(
        apart.fits,
        apart.names,
        len(apart.stack.clusters),
        alpha=regression.alpha / max(len(merged), 1),
        draws=regression.bootstrap,
        seed=regression.seed,
    )
    names = [of_class(*pair) for pair in zip(table["term"], table["subset"], strict=True)]
    table[medians.columns] = medians.reindex(names).to_numpy()
    table = pd.concat([of_all, table], ignore_index=True)
    table["status"] = table.pop("status")
    sized = table["subset"]
    table["n_obs"], table["n_documents"] = sized.map(count[0]), sized.map(count[1])
    wald = pd.DataFrame(
        tests_of(apart, lags),
        columns=["layer", "term", "f_statistic", "df", "df_residual", "p_value"],
    )
    wald["p_adjusted"] = wald.groupby("term")["p_value"].transform(
        results.adjusted, adjust=regression.adjust
    )
    return SlopesByClass(table, wald, merged.get(OTHER, []))


@dataclass
class _Fitted:
    """A regression in every layer."""

    stack: Stack
    names: list[str]  # of its terms
    # With a test of equal slopes for each lag or lead.
    fits: list[LayerFit]


def _fitted(
    shards: Sequence[Shard],
    sums: TermSums,
    settings: RegressionSettings,
    tested: Sequence[str] = (),
    *,
    jackknife: bool = False,
    most: int | None = None,
) -> _Fitted:
    """Fit a regression whose terms are sums of terms of the shards.

    Layers are fitted one after another: with many terms, the solution of a layer needs more memory
    than the stack.
    """
    stack = merging.stack_of(shards, settings, sums, most=most)
    names = least_squares.names_of(stack)
    equal = [_contrasts(names, lag) for lag in tested]
    fitted = _Fitted(stack, names, [])
    for index in range(len(stack.layers)):
        layer = stack.of_layer(index)
        (solution,) = solutions = least_squares.solve_all(layer)
        (fit,) = regress.fit(layer, settings.covariance, None, solutions, joint=equal)
        if jackknife and fit.status == "ok":
            left_out = regress.jackknife(solution, layer.products[0], layer.totals[0])
            fit.clusters = left_out.clusters
            fit.without = left_out.thetas @ solution.back.T
        fitted.fits.append(fit)
    return fitted


def tests_of(fitted: _Fitted, lags: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the Wald tests of every layer and lag or lead, as rows of the table."""
    rows = []
    for layer, fit in zip(fitted.stack.layers, fitted.fits, strict=True):
        for lag, test in zip(lags, fit.joint, strict=True):
            rows.append((layer, lag, *test))
    return rows


def _tidy(fitted: _Fitted, settings: RegressionSettings) -> pd.DataFrame:
    """Return the tidy table of lags and leads, whose class is the subset."""
    table = results.coefficients_table(fitted.fits, fitted.stack, settings)
    table["status"] = np.repeat([fit.status for fit in fitted.fits], len(fitted.names))
    table = table[table["term"].map(is_lag)].reset_index(drop=True)
    table["subset"] = table["term"].map(class_of).replace("", ALL)
    table["term"] = table["term"].str.partition(OF)[0]
    return table


def errors_of_differences(apart: _Fitted, together: _Fitted, index: int) -> np.ndarray:
    """Return the standard errors of the differences between class slopes and shared slopes.

    They are the jackknife's: both regressions leave out the same document. NaN if there is only one
    class.
    """
    slopes = [place for place, name in enumerate(apart.names) if is_lag(name)]
    shared = [together.names.index(apart.names[place].partition(OF)[0]) for place in slopes]
    fit_apart, fit_together = apart.fits[index], together.fits[index]
    if fit_apart.status != "ok" or fit_together.status != "ok" or len(slopes) == len(set(shared)):
        return np.full(len(slopes), np.nan)
    without = fit_apart.without[:, slopes] - fit_together.without[:, shared]
    change = without - (fit_apart.estimate[slopes] - fit_together.estimate[shared])
    return np.sqrt((1 - 1 / len(change)) * (change**2).sum(axis=0))


def _contrasts(names: Sequence[str], lag: str) -> np.ndarray:
    """Return the contrasts of each class's slope of a lag with the first's, (classes - 1, K)."""
    first, *others = [place for place, name in enumerate(names) if name.partition(OF)[0] == lag]
    contrasts = np.zeros((len(others), len(names)))
    contrasts[:, first] = -1
    contrasts[np.arange(len(others)), others] = 1
    return contrasts
