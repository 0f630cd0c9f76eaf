"""Comparison of models: coefficients over relative depth, and differences between two models.

Models differ in their number of layers, so a layer is placed by its relative depth, from 0 (the
first) to 1 (the last). Each layer of the deeper model is compared with the nearest layer of the
other, so two models with equal numbers of layers are compared layer by layer.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from attnlag.errors import UserError
from attnlag.regression.estimation.least_squares import Solution, solve
from attnlag.regression.inference import multiple_tests
from attnlag.regression.inference.layer_fit import clustered
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.moments import merging
from attnlag.regression.moments.moments import PreparedMoments, Stored
from attnlag.regression.settings import Errors
from attnlag.regression.terms import is_lag_or_lead
from attnlag.storage import tables

STUDY_KEYS = ["model", "corpus", "site", "regression"]

PAIR_COLUMNS: dict[str, type] = {
    **dict.fromkeys(["model_a", "model_b"], object),
    **dict.fromkeys(["corpus", "site", "regression", "term"], object),
    **dict.fromkeys(["layers_a", "layers_b"], int),
    **dict.fromkeys(["median_a", "median_b"], float),
    **dict.fromkeys(["documents", "documents_only_a", "documents_only_b"], int),
    **dict.fromkeys(["layers_compared", "layers_differing", "layers_alike"], int),
    "median_difference": float,
}


@dataclass(eq=False)
class ComparedStudy:
    """One regression of one model on one corpus at one site, from its files."""

    coefficients: pd.DataFrame
    # The provenance of the coefficients.
    record: tables.Record
    # Its cross-products, in order.
    shards: list[Path]
    # The controls of its coefficients.
    controls: pd.DataFrame
    # The comparison with random weights, by scale; empty without it.
    untrained_scales: pd.DataFrame

    @cached_property
    def keys(self) -> dict[str, str]:
        """The names of the model, the corpus, the site and the regression."""
        return {key: str(self.coefficients.loc[0, key]) for key in STUDY_KEYS}

    @property
    def layers(self) -> int:
        return int(self.coefficients["layer"].max()) + 1

    @cached_property
    def documents(self) -> list[str]:
        """The documents that contribute rows, in order."""
        frames = []
        for path in self.shards:
            table = pq.read_table(path, columns=["document", "n"])
            frames.append(table.to_pandas().astype({"document": str}))
        counts = pd.concat(frames)
        rows = counts.groupby("document", sort=False)["n"].sum()
        return rows.index[rows > 0].tolist()

    def moments(
        self, documents: Sequence[str] | None = None, *, corrected: bool = True
    ) -> Iterator[PreparedMoments]:
        """Yield the moments of each layer, as the regression fitted them, of some documents.

        Without ``corrected``, their fit is not corrected for bias.
        """
        settings = self.record.settings("regression")
        stored = Stored(self.shards)
        terms = merging.kept_terms(stored.terms, stored)
        for layer in stored:
            layer = layer if documents is None else layer.only(documents)
            yield layer.with_terms(terms).prepared(
                fixed_effects=settings["fixed_effects"] == "document",
                half_panel=corrected and settings["bias_correction"] == "half-panel",
            )


def common_inference(studies: Sequence[ComparedStudy]) -> dict[str, Any]:
    """Return the settings of the regressions, which must be the same in all studies.

    A UserError says if intervals or corrections differ: significance then has different meanings.
    Covariances may differ, as those of few documents do; differences of models have their own.
    """
    first = studies[0].record
    expected = first.settings("regression")
    problems = []
    for study in studies:
        settings = study.record.settings("regression")
        for key in ("alpha", "adjust", "equivalence_bound"):
            if settings[key] != expected[key]:
                problems.append(
                    f"{study.record.names}: found {key} {settings[key]}, expected {expected[key]} "
                    f"as in {first.names}; fit the regressions with equal settings"
                )
    if problems:
        raise UserError(problems)
    return expected


def combined_coefficients(studies: Sequence[ComparedStudy]) -> pd.DataFrame:
    """Return the tidy tables of all studies as one, with ``depth``.

    It is layer / (layers - 1): 0 for the first (or only) layer, 1 for the last.
    """
    frames = []
    for study in studies:
        depth = study.coefficients["layer"] / max(study.layers - 1, 1)
        frames.append(study.coefficients.assign(depth=depth))
    return pd.concat(frames, ignore_index=True)


@dataclass
class Profile:
    """The lag coefficients of a model by layer, with their errors."""

    # The regressors.
    terms: list[str]
    # (layers, regressors) float array: NaN in layers that could not be fitted.
    estimate: np.ndarray
    # (documents, layers, regressors) float array: what each document adds to the error of a
    # coefficient; the sum of squares is the variance (CR2).
    scores: np.ndarray
    # (layers, regressors) float array: degrees of freedom of that variance.
    df: np.ndarray

    @property
    def documents(self) -> int:
        """Number of documents."""
        return len(self.scores)

    def median(self, term: str) -> float:
        """Return the median coefficient over the layers; NaN if no layer was fitted."""
        estimates = self.estimate[:, self.terms.index(term)]
        fitted = estimates[np.isfinite(estimates)]
        return float(np.median(fitted)) if len(fitted) else np.nan


def profile(layers: Iterable[PreparedMoments]) -> Profile:
    """Return the slopes of a regression in all layers, with their errors by document."""
    estimates = []
    scores = []
    dfs = []
    for moments in layers:
        solution = solve(moments)
        df = np.full(moments.k, np.nan)
        by_document = np.full((len(moments.clusters), moments.k), np.nan)
        if isinstance(solution, Solution):
            errors = clustered(solution)
            df = errors.df
            by_document = errors.contributions
        slopes = slice(0 if moments.has_fixed_effects else 1, None)
        estimates.append(solution.estimate[slopes])
        scores.append(by_document[:, slopes])
        dfs.append(df[slopes])
    names = moments.terms[1:]
    return Profile(names, np.stack(estimates), np.stack(scores, axis=1), np.stack(dfs))


def nearest_layers(layers: int, points: int) -> np.ndarray:
    """Return the nearest of ``layers`` layers for each of ``points`` layers, by relative depth.

    The result is (points,) int. If two layers are equally near, it is the earlier one.
    """
    # Integer arithmetic keeps ties exact.
    depth_of_points = np.arange(points)[:, None] * max(layers - 1, 1)
    depth_of_layers = np.arange(layers) * max(points - 1, 1)
    return np.abs(depth_of_points - depth_of_layers).argmin(axis=1)


def differences(
    first: Profile, second: Profile, term: str, settings: Errors
) -> dict[str, float | int]:
    """Return the numbers of layers in which two models are shown to differ, and to be alike.

    They differ if their difference is shown to be beyond ± ``equivalence_bound``, and are alike if
    it is shown to be within (`multiple_tests.equivalence_test`, corrected over the layers). A layer
    may be in neither number, but not in both.

    The error of the difference comes from what each document, which both models share, adds to
    either coefficient (CR2), and t has the smaller of their degrees of freedom. Layers without a
    fit are not compared.
    """
    points = max(len(first.estimate), len(second.estimate))
    estimate_a, scores_a, df_a = _at_points(first, term, points)
    estimate_b, scores_b, df_b = _at_points(second, term, points)
    difference = estimate_a - estimate_b
    scores = scores_a - scores_b
    df = np.minimum(df_a, df_b)
    compared = np.isfinite(difference) & (first.documents >= MIN_DOCUMENTS)
    error = np.sqrt((scores**2).sum(axis=0))
    verdicts = multiple_tests.equivalence_test(
        difference[compared], error[compared], df[compared], settings
    )
    median = np.median(difference[compared]) if compared.any() else np.nan
    return {
        "layers_compared": len(verdicts),
        "layers_differing": int((verdicts == "present").sum()),
        "layers_alike": int((verdicts == "absent").sum()),
        "median_difference": float(median),
    }


def _at_points(
    profile: Profile, term: str, points: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a coefficient, what documents add to it, and its df in the layers nearest to points.

    They are (points,), (documents, points) and (points,).
    """
    layers = nearest_layers(len(profile.estimate), points)
    place = profile.terms.index(term)
    return (
        profile.estimate[layers, place],
        profile.scores[:, layers, place],
        profile.df[layers, place],
    )


def pairs_of_models(studies: Sequence[ComparedStudy], settings: Errors) -> pd.DataFrame:
    """Compare every pair of models with the same corpus, site and regression, term by term.

    Each comparison uses the documents that give rows in both models: tokenizers differ, and a
    document may be too short in one. The table has a row per pair, corpus, site, regression and lag
    or lead.
    """

    @cache
    def profile_of(study: ComparedStudy, documents: tuple[str, ...]) -> Profile:
        return profile(study.moments(documents))

    groups: dict[tuple[str, ...], list[ComparedStudy]] = {}
    for study in studies:
        alike = tuple(study.keys[key] for key in STUDY_KEYS[1:])
        groups.setdefault(alike, []).append(study)
    rows: list[dict[str, Any]] = []
    for group in groups.values():
        for pair in combinations(group, 2):
            others = set(pair[1].documents)
            common = tuple(name for name in pair[0].documents if name in others)
            first = profile_of(pair[0], common)
            second = profile_of(pair[1], common)
            for term in filter(is_lag_or_lead, first.terms):
                if term not in second.terms:
                    continue
                row = {**pair[0].keys, "term": term, "documents": len(common)}
                for side, study, profiled in zip("ab", pair, (first, second), strict=True):
                    row[f"model_{side}"] = study.keys["model"]
                    row[f"layers_{side}"] = study.layers
                    row[f"median_{side}"] = profiled.median(term)
                    row[f"documents_only_{side}"] = len(study.documents) - len(common)
                rows.append(row | differences(first, second, term, settings))
        # The scores of these models would take memory during the next comparisons.
        profile_of.cache_clear()
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS)).astype(PAIR_COLUMNS)
