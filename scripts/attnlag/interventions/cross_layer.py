"""Regressions of the log norms of one layer on those of earlier ones, the counterpart of effects.

They have the rows, the lags, the covariates and the document effects of a regression of layers on
themselves, whose designs they read. Layer m at token t is regressed on the log norms of earlier
layers l some tokens before,

    log a[m,t] = Σ_l Σ_k b[l,k] log a[l,t-k] + covariates + e[m,t]

with all of them together, of which Σ_l b[l,k] is the counterpart of the effect of all earlier
layers at one token, or with one layer and lag at a time, alone and with log a[l,t] held fixed.
Errors are CR2, with Satterthwaite's degrees of freedom. The moments of a document take a fraction
of the memory of its rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.quantities.columns import layer_name
from attnlag.regression.design import design
from attnlag.regression.estimation.least_squares import Unfitted, solve
from attnlag.regression.inference.layer_fit import contrast
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.moments.moments import Moments
from attnlag.storage import tables

# The columns of a table of `joint_predictions`.
TARGET_KEYS = ["source_site", "target_site", "target_layer", "lag"]
PREDICTION = [
    *TARGET_KEYS,
    "predicted",
    "predicted_std_error",
    "predicted_df",
    "predicted_documents",
]

# The columns of `single_predictions`.
PAIR_KEYS = ["source_site", "target_site", "source_layer", "target_layer", "lag"]
ALONE = ["predictive", "predictive_std_error", "predictive_df"]
GIVEN = ["predictive_given", "predictive_given_std_error"]
PREDICTIVE_COLUMNS = [*ALONE, *GIVEN]

# Rows of designs that are in memory together.
ROWS_AT_ONCE = 2**14


class Coefficient(NamedTuple):
    """A coefficient with its clustered error; NaN if it is not estimated."""

    estimate: float
    std_error: float
    df: float
    documents: int


@dataclass(frozen=True)
class Designs:
    """The designs of a regression at the site of the sources and at that of the targets."""

    source: Sequence[Path]
    target: Sequence[Path]
    # "document" or "none".
    fixed_effects: str

    def batches(
        self, sources: Sequence[str], targets: Sequence[str]
    ) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
        """Yield the rows of whole documents, with some columns of either site.

        The designs of both sites have the same rows.
        """
        for source, target in zip(self.source, self.target, strict=True):
            yield from zip(_rows(source, sources), _rows(target, targets), strict=True)

    @property
    def lags(self) -> list[int]:
        """The lags of the regression, in tokens."""
        _, terms = self.terms()
        return [int(term.removeprefix("lag_")) for term in terms if term.startswith("lag_")]

    def terms(self) -> tuple[list[int], list[str]]:
        """Return the layers and the terms of the sources' design."""
        return design.layers_and_terms(pq.read_schema(self.source[0]))

    def covariates(self) -> list[str]:
        """Return the terms that all layers share."""
        _, terms = self.terms()
        names = set(pq.read_schema(self.source[0]).names)
        return [term for term in terms if term in names]


def _rows(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield some columns of a design in batches of whole documents."""
    batches = tables.batches(path, ROWS_AT_ONCE, "designs", ["document", *columns])
    return tables.whole_documents(batches, ROWS_AT_ONCE)


def column(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """Return a column of a design, (rows,) float64, NaN for null."""
    return batch.column(name).to_numpy(zero_copy_only=False)


def sum_designs(
    designs: Designs, targets: Sequence[int], sources: Sequence[str], covariates: Sequence[str]
) -> Moments:
    """Return the moments of target layers, columns of the sources' design and covariates.

    The outcomes are the terms ``y_M`` for target layer M. Rows are those with all values.
    """
    outcomes = [f"{layer_name(layer)}.y" for layer in targets]
    terms = [*(f"y_{layer}" for layer in targets), *sources, *covariates]
    centre = np.zeros(1 + len(terms))
    documents: list[str] = []
    sums: list[np.ndarray] = []
    regressors = [*sources, *covariates]
    for source, target in designs.batches(regressors, outcomes):
        columns = [column(target, name) for name in outcomes]
        columns += [column(source, name) for name in regressors]
        w = np.stack([np.ones(len(source)), *columns], axis=1)
        complete = np.isfinite(w).all(axis=1)
        if not sums and complete.any():
            # Near the means, for numerical precision.
            centre[1:] = w[complete, 1:].mean(axis=0)
        w -= centre
        names, starts = tables.runs(source)
        for name, start, stop in zip(names, starts, [*starts[1:], len(w)], strict=True):
            rows = w[start:stop][complete[start:stop]]
            documents.append(name)
            sums.append(rows.T @ rows)
    s = np.zeros((1, 0, len(centre), len(centre)))
    if sums:
        s = np.stack(sums)[None]
    with_rows = int((s[0, :, 0, 0] > 0).sum())
    return Moments(max(targets), terms, documents, centre, s, with_rows)


def contrasts(
    moments: Moments, fixed_effects: str, combinations: Mapping[int, Sequence[str]]
) -> dict[int, Coefficient]:
    """Return sums of coefficients in a regression of ``y`` on all other terms, by lag.

    ``combinations`` has the terms that are summed, one or several, for each lag. The sums are NaN
    if documents are too few, or regressors constant or collinear.
    """
    documents = moments.documents
    unknown = Coefficient(np.nan, np.nan, np.nan, documents)
    solution = solve(moments.prepared(fixed_effects=fixed_effects == "document"))
    if isinstance(solution, Unfitted) or documents < MIN_DOCUMENTS:
        return dict.fromkeys(combinations, unknown)
    names = solution.moments.names
    rows = np.zeros((len(combinations), len(names)))
    for row, terms in zip(rows, combinations.values(), strict=True):
        row[[names.index(term) for term in terms]] = 1
    sums = contrast(solution, rows)
    numbers = zip(combinations, sums.value, sums.std_error, sums.df, strict=True)
    found = {}
    for lag, estimate, std_error, df in numbers:
        found[lag] = Coefficient(float(estimate), float(std_error), float(df), documents)
    return found


def joint_predictions(designs: Designs, target: int) -> dict[int, Coefficient]:
    """Return what all layers before a target predict together, by lag.

    It is the sum of their coefficients at this lag, Σ_l b[l,k]: the change of the target that the
    regression predicts if the norms of one token grow by the same proportion in all these layers.
    There is none for the first layer.
    """
    if target == 0:
        return {}
    covariates = designs.covariates()
    by_lag = {}
    for lag in designs.lags:
        by_lag[lag] = [f"{layer_name(layer)}.lag_{lag}" for layer in range(target)]
    sources = list(chain.from_iterable(by_lag.values()))
    moments = sum_designs(designs, [target], sources, covariates)
    terms = {"y": [f"y_{target}"]}
    for term in [*sources, *covariates]:
        terms[term] = [term]
    return contrasts(moments.with_terms(terms), designs.fixed_effects, by_lag)


def single_predictions(designs: Designs, targets: Sequence[int]) -> pd.DataFrame:
    """Return what single layers predict of later target layers, by lag.

    The columns are the source layer, the target layer and the lag, `ALONE` and, with the source
    layer at the target's token held fixed, `GIVEN`.
    """
    covariates = designs.covariates()
    rows = []
    for source in range(max(targets, default=0)):
        later = [target for target in targets if target > source]
        own = f"{layer_name(source)}.y"
        lags = {lag: f"{layer_name(source)}.lag_{lag}" for lag in designs.lags}
        moments = sum_designs(designs, later, [own, *lags.values()], covariates)
        for target in later:
            for lag, name in lags.items():
                terms = {"y": [f"y_{target}"], name: [name]}
                for term in covariates:
                    terms[term] = [term]
                one = {lag: [name]}
                alone = contrasts(moments.with_terms(terms), designs.fixed_effects, one)[lag]
                terms[own] = [own]
                given = contrasts(moments.with_terms(terms), designs.fixed_effects, one)[lag]
                rows.append((source, target, lag, *alone[:3], *given[:2]))
    return pd.DataFrame(rows, columns=[*PAIR_KEYS[2:], *PREDICTIVE_COLUMNS])
