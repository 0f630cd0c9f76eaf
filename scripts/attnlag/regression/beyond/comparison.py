"""Comparison of models: coefficients over relative depth, and differences between two models.

Models differ in their number of layers, so a layer is placed by its relative depth, from 0 (the
first) to 1 (the last). Two profiles of coefficients are compared at the depths of the layers of
the deeper model; the profile of the other model is interpolated linearly between its layers. Two
models with equal numbers of layers are thus compared layer by layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from attnlag.errors import UserError
from attnlag.regression.estimation import crossproducts, least_squares, merging, regress, stacks
from attnlag.regression.estimation.least_squares import LEAST_VARIATION
from attnlag.regression.estimation.stacks import Stack
from attnlag.regression.inference import bootstrap, results
from attnlag.regression.labels import FEWEST_POINTS
from attnlag.regression.limits import FEWEST_DOCUMENTS
from attnlag.regression.terms import is_lag
from attnlag.storage import tables

STUDY_KEYS = ["model", "corpus", "site", "regression"]


PAIR_COLUMNS = {
    "model_a": object,
    "model_b": object,
    "control_a": bool,
    "control_b": bool,
    "corpus": object,
    "site": object,
    "regression": object,
    "term": object,
    "layers_a": int,
    "layers_b": int,
    "median_a": float,
    "median_b": float,
    "points": int,
    "correlation": float,
    "correlation_observed": float,
    "conf_low": float,
    "conf_high": float,
    "draws": int,
    "documents": int,
    "documents_only_a": int,
    "documents_only_b": int,
    "layers_compared": int,
    "layers_differing": int,
    "layers_alike": int,
    "median_difference": float,
}


@dataclass
class Study:
    """One regression of one model on one corpus at one site."""

    model: str
    corpus: str
    site: str
    regression: str
    # True for the random-weights twin of a model.
    control: bool
    coefficients: pd.DataFrame
    # Provenance of the table.
    record: dict[str, Any]
    # Files of its cross-products, in order.
    shards: list[Path]

    @property
    def layers(self) -> int:
        return int(self.coefficients["layer"].max()) + 1

    @property
    def controls(self) -> pd.DataFrame:
        """The controls of its coefficients, from the table beside them; empty without one."""
        path = self.shards[0].parents[1] / "controls.parquet"
        return pd.read_parquet(path) if path.exists() else pd.DataFrame()


def read_study(path: Path) -> Study:
    """Read a study from its ``coefficients.parquet`` and the cross-products beside it."""
    coefficients = pd.read_parquet(path)
    record = tables.read_provenance(path)
    shards = tables.shards(path.parent / "crossproducts" / "0000.parquet")
    model, corpus, site, regression = map(str, coefficients.loc[0, STUDY_KEYS])
    control = record["model"]["source"] == "random"
    return Study(model, corpus, site, regression, control, coefficients, record, shards)


def common_inference(studies: Sequence[Study]) -> dict[str, Any]:
    """Return the settings of the regressions, which must be the same in all studies.

    Raises
    ------
    UserError
        If intervals or corrections differ, because significance then has different meanings.
    """
    found = [study.record["stages"]["regression"] for study in studies]
    problems = [
        f"{study.model}, {study.corpus}: found {key} {settings[key]}, expected {found[0][key]} "
        f"as in {studies[0].model}, {studies[0].corpus}; fit the regressions with equal settings"
        for study, settings in zip(studies, found, strict=True)
        for key in ("alpha", "adjust", "covariance", "cluster", "negligible")
        if settings[key] != found[0][key]
    ]
    if problems:
        raise UserError(problems)
    return found[0]


def relative_depth(layer: np.ndarray | pd.Series, layers: int) -> Any:
    """Return layer / (layers - 1): 0 for the first (or only) layer, 1 for the last."""
    return layer / max(layers - 1, 1)


def combined_coefficients(studies: Sequence[Study]) -> pd.DataFrame:
    """Return the tidy tables of all studies as one, with ``depth`` and ``control``."""
    frames = [
        study.coefficients.assign(
            depth=relative_depth(study.coefficients["layer"], study.layers), control=study.control
        )
        for study in studies
    ]
    return pd.concat(frames, ignore_index=True)


def restricted(stack: Stack, documents: Sequence[str]) -> Stack:
    """Return a stack of the given documents, in the given order."""
    if list(documents) == stack.clusters:
        return stack
    place = {document: index for index, document in enumerate(stack.clusters)}
    products = stack.products[:, :, [place[document] for document in documents]]
    return replace(
        stack,
        clusters=list(documents),
        products=products,
        totals=products.sum(axis=2),
        documents=(products[:, 0, :, 0] > 0.5).sum(axis=1),
    )


@dataclass
class Profile:
    """The lag coefficients of a model by layer, with their bootstrap draws."""

    # The regressors.
    terms: list[str]
    # (layers, regressors) float array: NaN in layers that could not be fitted.
    estimate: np.ndarray
    # (draws, layers, regressors) float array
    draws: np.ndarray
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
        known = estimates[np.isfinite(estimates)]
        return float(np.median(known)) if len(known) else np.nan


def profile(stack: Stack, draws: int, seed: int) -> Profile:
    """Return the slopes of a stack with their errors and their bootstrap by document.

    All layers and terms share the same draws of documents, and so do models with the same
    documents in the same order. With too few documents there are no draws.
    """
    documents = len(stack.clusters)
    solutions = least_squares.solve_all(stack)
    slopes = slice(0 if stack.fixed_effects else 1, None)
    estimate = bootstrap.weighted(stack, solutions, np.ones((1, documents))).estimates[0, :, slopes]
    draws = draws if documents >= FEWEST_DOCUMENTS else 0
    drawn = bootstrap.drawn(stack, solutions, draws, seed, with_errors=False)
    df = np.stack([sums.df for sums in regress.sums_by_document(stack, solutions)])[:, slopes]
    scores = regress.cr2_scores(stack, solutions)[..., slopes]
    return Profile(stack.terms[1:], estimate, drawn.estimates[:, :, slopes], scores, df)


def interpolation(layers: int, points: int) -> np.ndarray:
    """Return the (points, layers) weights of linear interpolation over relative depth.

    The points are the relative depths of a model with ``points`` layers. A model with one layer
    has the same value at every depth.
    """
    depths = relative_depth(np.arange(layers), layers)
    grid = relative_depth(np.arange(points), points)
    return np.stack([np.interp(grid, depths, row) for row in np.eye(layers)], axis=1)


def nearest_layers(layers: int, points: int) -> np.ndarray:
    """Return the nearest of ``layers`` layers for each of ``points`` layers, by relative depth.

    If two layers are equally near, the earlier one is returned.
    """
    # Integer arithmetic keeps ties exact.
    own = np.arange(points)[:, None] * max(layers - 1, 1)
    other = np.arange(layers) * max(points - 1, 1)
    return np.abs(own - other).argmin(axis=1)


def correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation along the last axis; NaN if a profile is constant."""
    if one.shape[-1] < FEWEST_POINTS:
        return np.full(one.shape[:-1], np.nan)
    parts = []
    for values in (one, other):
        centred = values - values.mean(axis=-1, keepdims=True)
        size = np.linalg.norm(centred, axis=-1, keepdims=True)
        constant = size <= LEAST_VARIATION * np.linalg.norm(values, axis=-1, keepdims=True)
        parts.append(np.where(constant, np.nan, centred) / np.where(constant, 1, size))
    return np.clip((parts[0] * parts[1]).sum(axis=-1), -1, 1)


def profile_correlation(
    one: Profile, other: Profile, term: str, alpha: float
) -> dict[str, float | int]:
    """Return the correlation of two profiles of a term over depth, with its interval.

    Errors of the coefficients make two profiles look less alike than they are. Their contribution
    to the sums of squares and products over depth is the covariance of the draws over depth, which
    is subtracted before the correlation is taken. The interval is the basic bootstrap interval:
    the draws scatter about the observed correlation as the corrected correlation does about the
    true one.

    A point is left out if either profile has no value there, or if the value would be interpolated
    from a layer that was not fitted. A draw in which a point has no value is left out too; the
    number of the other draws is returned.
    """
    points = max(len(one.estimate), len(other.estimate))
    estimates, draws = [], []
    known = np.ones(points, dtype=bool)
    for part in (one, other):
        column = part.terms.index(term)
        estimate = part.estimate[:, column]
        fitted = np.isfinite(estimate)
        weights = interpolation(len(estimate), points)
        known &= ~(weights[:, ~fitted] > 0).any(axis=1)
        # The weights of these layers are 0 at all points kept, but 0 × NaN would be NaN.
        estimates.append(np.where(fitted, estimate, 0) @ weights.T)
        draws.append(np.where(fitted, part.draws[:, :, column], 0) @ weights.T)
    pair = np.stack(estimates)[:, known]
    drawn = np.stack(draws)[:, :, known]
    drawn = drawn[:, np.isfinite(drawn).all(axis=(0, 2))]
    observed = float(correlation(*pair))
    corrected, low, high = observed, np.nan, np.nan
    if drawn.shape[1] > 1 and np.isfinite(observed):
        noise = products_of_errors(drawn, one.documents)
        corrected = float(disattenuated(pair, noise))
        again = disattenuated(drawn, noise)
        again = again[np.isfinite(again)]
        if np.isfinite(corrected) and len(again):
            upper, lower = np.quantile(again, [1 - alpha / 2, alpha / 2])
            low, high = np.clip(corrected + observed - np.array([upper, lower]), -1, 1)
        corrected = np.clip(corrected, -1, 1)
    return {
        "points": int(known.sum()),
        "correlation": float(corrected),
        "correlation_observed": observed,
        "conf_low": float(low),
        "conf_high": float(high),
        "draws": drawn.shape[1],
    }


def products_over_depth(pair: np.ndarray) -> np.ndarray:
    """Return sums of squares and products about the means over depth: (…, 2, 2) of (2, …, points).

    Parameters
    ----------
    pair : (2, …, points) array
        The profiles of two models.
    """
    centred = pair - pair.mean(axis=-1, keepdims=True)
    return np.einsum("a...p,b...p->...ab", centred, centred)


def products_of_errors(drawn: np.ndarray, documents: int) -> np.ndarray:
    """Return the contribution of errors to the products over depth: a mean over draws, (2, 2).

    The variance over redrawn documents is (G - 1) / G times that of an estimate.
    """
    errors = drawn - drawn.mean(axis=1, keepdims=True)
    return products_over_depth(errors).mean(axis=0) * documents / (documents - 1)


def disattenuated(pair: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return correlations over depth corrected for errors; NaN if no variance is left."""
    products = products_over_depth(pair) - noise
    one, other = products[..., 0, 0], products[..., 1, 1]
    # Identical profiles without errors leave only rounding.
    left = np.maximum(noise.diagonal(), 0) * LEAST_VARIATION
    known = (one > left[0]) & (other > left[1])
    size = np.sqrt(np.where(known, one * other, 1))
    return np.where(known, products[..., 0, 1] / size, np.nan)


def differences(
    one: Profile, other: Profile, term: str, *, alpha: float, adjust: str, negligible: float
) -> dict[str, float | int]:
    """Return the numbers of layers in which two models are shown to differ, and to be alike.

    They differ if their difference is shown to be beyond ± ``negligible``, and are alike if it is
    shown to be within (`results.verdicts`). A layer may be in neither number, but not in both.

    Each layer of the deeper model is compared with the nearest layer of the other. The error of the
    difference comes from what each document, which both models share, adds to either coefficient
    (CR2), and t has the smaller of their degrees of freedom. Layers that were not fitted are not
    compared.

    Parameters
    ----------
    one, other : Profile
        Profiles over the same documents.
    adjust : str
        Correction of the verdicts over the layers.
    negligible : float
        Largest difference that is regarded as negligible.
    """
    points = max(len(one.estimate), len(other.estimate))
    estimates, scores, dfs = [], [], []
    for part in (one, other):
        column = part.terms.index(term)
        matched = nearest_layers(len(part.estimate), points)
        estimates.append(part.estimate[matched, column])
        scores.append(part.scores[:, matched, column])
        dfs.append(part.df[matched, column])
    difference = estimates[0] - estimates[1]
    error = np.sqrt(((scores[0] - scores[1]) ** 2).sum(axis=0))
    compared = np.isfinite(difference)
    difference, error = difference[compared], error[compared]
    if one.documents < FEWEST_DOCUMENTS or not compared.any():
        none = {"layers_compared": 0, "layers_differing": 0, "layers_alike": 0}
        return {**none, "median_difference": np.nan}
    verdicts = results.verdicts(
        difference,
        error,
        np.minimum(*dfs)[compared],
        negligible=negligible,
        alpha=alpha,
        adjust=adjust,
    )
    return {
        "layers_compared": int(compared.sum()),
        "layers_differing": int((verdicts == "present").sum()),
        "layers_alike": int((verdicts == "absent").sum()),
        "median_difference": float(np.median(difference)),
    }


def stack_of(study: Study) -> Stack:
    """Return the cross-products of a study, as its regression fitted them."""
    used = study.record["stages"]["regression"]
    shards = [crossproducts.read_shard(path) for path in study.shards]
    if used["bias_correction"] == "none":
        shards = [crossproducts.without_halves(shard) for shard in shards]
    kept = merging.kept_terms(shards)
    shards = [merging.merged_shard(shard, kept) for shard in shards]
    return stacks.stacked(shards, fixed_effects=used["fixed_effects"] == "document")


def documents_of(study: Study) -> list[str]:
    """Return the documents that contribute rows to a study, in order."""
    parts = [pq.read_table(shard, columns=["document", "n"]).to_pandas() for shard in study.shards]
    counts = pd.concat([part.astype({"document": str}) for part in parts])
    rows = counts.groupby("document", sort=False)["n"].sum()
    return rows.index[rows > 0].tolist()


def pairs(
    studies: Sequence[Study],
    *,
    draws: int,
    seed: int,
    alpha: float,
    adjust: str,
    negligible: float,
) -> pd.DataFrame:
    """Compare every pair of models with the same corpus, site and regression, term by term.

    Each comparison uses the documents that contribute rows in both models: tokenizers differ, and
    a document may be too short in one of the models.

    Parameters
    ----------
    draws, seed : int
        Number of draws and seed of the bootstrap by document.
    alpha : float
        Level of significance; intervals cover 1 - ``alpha``.
    adjust : str
        Correction of p-values over the layers.
    negligible : float
        Largest difference that is regarded as negligible.

    Returns
    -------
    pairs : pandas.DataFrame
        One row per pair of models, corpus, site, regression and lag or lead.
    """
    groups: dict[tuple[str, str, str], list[Study]] = {}
    for study in studies:
        groups.setdefault((study.corpus, study.site, study.regression), []).append(study)
    rows: list[dict[str, Any]] = []
    for group in groups.values():
        rows += _pairs_of_group(
            group, draws=draws, seed=seed, alpha=alpha, adjust=adjust, negligible=negligible
        )
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS)).astype(PAIR_COLUMNS)


def _pairs_of_group(
    group: Sequence[Study],
    *,
    draws: int,
    seed: int,
    alpha: float,
    adjust: str,
    negligible: float,
) -> list[dict[str, Any]]:
    documents = [documents_of(study) for study in group]

    @cache
    def profile_of(place: int, common: tuple[str, ...]) -> Profile:
        return profile(restricted(stack_of(group[place]), common), draws, seed)

    rows = []
    for (a, one), (b, other) in combinations(enumerate(group), 2):
        there = set(documents[b])
        common = tuple(document for document in documents[a] if document in there)
        profile_a, profile_b = profile_of(a, common), profile_of(b, common)
        for term in profile_a.terms:
            if not is_lag(term) or term not in profile_b.terms:
                continue
            rows.append(
                {
                    "model_a": one.model,
                    "model_b": other.model,
                    "control_a": one.control,
                    "control_b": other.control,
                    "corpus": one.corpus,
                    "site": one.site,
                    "regression": one.regression,
                    "term": term,
                    "layers_a": one.layers,
                    "layers_b": other.layers,
                    "median_a": profile_a.median(term),
                    "median_b": profile_b.median(term),
                    **profile_correlation(profile_a, profile_b, term, alpha),
                    "documents": len(common),
                    "documents_only_a": len(documents[a]) - len(common),
                    "documents_only_b": len(documents[b]) - len(common),
                    **differences(
                        profile_a,
                        profile_b,
                        term,
                        alpha=alpha,
                        adjust=adjust,
                        negligible=negligible,
                    ),
                }
            )
    return rows
