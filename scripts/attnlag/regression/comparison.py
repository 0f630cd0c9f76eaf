"""Models compared: their coefficients over relative depth, and how far two of them agree.

Models differ in their number of layers, so a layer is placed by its relative depth, from 0 (the
first) to 1 (the last). Two profiles of coefficients are compared at the depths of the layers of
the deeper model: the other profile is interpolated linearly between its layers. Two models of
equally many layers are thus compared layer by layer.
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
from attnlag.regression import bootstrap, crossproducts, least_squares
from attnlag.regression.crossproducts import Stack
from attnlag.regression.inference import FEWEST_DOCUMENTS
from attnlag.regression.labels import FEWEST_POINTS
from attnlag.regression.least_squares import LEAST_VARIATION
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
    "points": int,
    "correlation": float,
    "conf_low": float,
    "conf_high": float,
    "draws": int,
    "documents": int,
    "documents_only_a": int,
    "documents_only_b": int,
    "layers_compared": int,
    "layers_agreeing": int,
    "share_agreeing": float,
}


@dataclass
class Study:
    """One regression of one model over one corpus at one site.

    Attributes
    ----------
    model, corpus, site, regression : str
    control : bool
        True for the random-weights twin of a model.
    coefficients : pandas.DataFrame
        The tidy table.
    record : dict
        What made the table.
    shards : list of Path
        The files of its cross-products, in order.
    """

    model: str
    corpus: str
    site: str
    regression: str
    control: bool
    coefficients: pd.DataFrame
    record: dict[str, Any]
    shards: list[Path]

    @property
    def layers(self) -> int:
        return int(self.coefficients["layer"].max()) + 1

    def of_term(self, term: str) -> pd.DataFrame:
        """Return the coefficients of a term, one per layer, of the regression of all rows."""
        table = self.coefficients
        return table[(table["subset"] == "all") & (table["term"] == term)]


def read_study(path: Path) -> Study:
    """Read a study from its ``coefficients.parquet``; its cross-products lie beside that."""
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
        Where intervals or corrections differ: significance is then not the same thing.
    """
    found = [study.record["stages"]["regression"] for study in studies]
    problems = [
        f"{study.model}, {study.corpus}: found {key} {settings[key]}, expected {found[0][key]} "
        f"as in {studies[0].model}, {studies[0].corpus}; fit the regressions alike"
        for study, settings in zip(studies, found, strict=True)
        for key in ("alpha", "adjust", "covariance")
        if settings[key] != found[0][key]
    ]
    if problems:
        raise UserError(problems)
    return found[0]


def relative_depth(layer: np.ndarray | pd.Series, layers: int) -> Any:
    """Return layer / (layers - 1): 0 for the first, 1 for the last; 0 for the only one."""
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
    """Return a stack of some of its documents, in the order that is asked for."""
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
    """The lag coefficients of a model by layer, and what they are in each bootstrap draw.

    Attributes
    ----------
    terms : list of str
        The regressors.
    estimate : (layers, regressors) float array
        NaN in a layer that could not be fitted.
    draws : (draws, layers, regressors) float array
    """

    terms: list[str]
    estimate: np.ndarray
    draws: np.ndarray


def profile(stack: Stack, draws: int, seed: int) -> Profile:
    """Return the slopes of a stack and their bootstrap by document.

    All layers and terms are of the same draws of documents, and so are those of another model
    with as many documents in the same order. Without enough documents there are no draws.
    """
    documents = len(stack.clusters)
    solutions = least_squares.solve_all(stack)
    slopes = slice(0 if stack.fixed_effects else 1, None)
    estimate = bootstrap.weighted(stack, solutions, np.ones((1, documents)))[0, :, slopes]
    draws = draws if documents >= FEWEST_DOCUMENTS else 0
    drawn = bootstrap.drawn(stack, solutions, draws, seed)[:, :, slopes]
    return Profile(stack.terms[1:], estimate, drawn)


def interpolation(layers: int, points: int) -> np.ndarray:
    """Return the (points, layers) weights of linear interpolation over relative depth.

    The points are the relative depths of a model of ``points`` layers. A model of one layer
    has the same value at every depth.
    """
    depths = relative_depth(np.arange(layers), layers)
    grid = relative_depth(np.arange(points), points)
    return np.stack([np.interp(grid, depths, row) for row in np.eye(layers)], axis=1)


def nearest_layers(layers: int, points: int) -> np.ndarray:
    """Return for each layer of a model of ``points`` layers the nearest of one of ``layers``.

    Nearest in relative depth; of two that are equally near, the earlier.
    """
    # In whole numbers, so that a tie is a tie.
    own = np.arange(points)[:, None] * max(layers - 1, 1)
    other = np.arange(layers) * max(points - 1, 1)
    return np.abs(own - other).argmin(axis=1)


def correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation along the last axis; NaN where a profile is constant."""
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

    A point where either profile has no value, or would be interpolated from a layer that was
    not fitted, is left out. The interval is the percentile interval of the draws; a draw in
    which one of the points has no value is left out, and the rest are counted.
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
        # Nothing known hangs on these layers, but 0 × NaN would be NaN.
        estimates.append(np.where(fitted, estimate, 0) @ weights.T)
        draws.append(np.where(fitted, part.draws[:, :, column], 0) @ weights.T)
    found = correlation(estimates[0][known], estimates[1][known])
    drawn = correlation(draws[0][:, known], draws[1][:, known])
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [alpha / 2, 1 - alpha / 2]) if len(drawn) else (np.nan, np.nan)
    return {
        "points": int(known.sum()),
        "correlation": float(found),
        "conf_low": float(low),
        "conf_high": float(high),
        "draws": len(drawn),
    }


def agreement(one: pd.DataFrame, other: pd.DataFrame, alpha: float) -> dict[str, float | int]:
    """Return in how many layers two models agree in sign and significance.

    Each layer of the deeper model is held against the nearest of the other. They agree if both
    coefficients are significant, by their corrected p-values, with the same sign, or if neither
    is significant. Layers that were not fitted are not compared.

    Parameters
    ----------
    one, other : pandas.DataFrame
        One term of the tidy tables, a row per layer.
    alpha : float
        Level of significance.
    """
    signs = []
    for rows in (one, other):
        rows = rows.sort_values("layer")
        p, estimate = rows["p_adjusted"].to_numpy(), rows["estimate"].to_numpy()
        signs.append(np.where(np.isnan(p), np.nan, np.sign(estimate) * (p < alpha)))
    points = max(map(len, signs))
    matched = [sign[nearest_layers(len(sign), points)] for sign in signs]
    compared = ~np.isnan(matched[0]) & ~np.isnan(matched[1])
    layers, agreeing = int(compared.sum()), int((matched[0] == matched[1]).sum())
    return {
        "layers_compared": layers,
        "layers_agreeing": agreeing,
        "share_agreeing": agreeing / layers if layers else np.nan,
    }


def documents_of(study: Study) -> list[str]:
    """Return the documents that give rows in a study, in order."""
    parts = [pq.read_table(shard, columns=["document", "n"]).to_pandas() for shard in study.shards]
    counts = pd.concat([part.astype({"document": str}) for part in parts])
    rows = counts.groupby("document", sort=False)["n"].sum()
    return rows.index[rows > 0].tolist()


def pairs(studies: Sequence[Study], *, draws: int, seed: int, alpha: float) -> pd.DataFrame:
    """Compare every two models over the same corpus, site and regression, lag by lag, lead by lead.

    Correlations and their intervals are of the documents that give rows in both models:
    tokenizers differ, and a document may be too short for one of them. Agreement is that of
    the tidy tables, which each hold all documents of their model.

    Parameters
    ----------
    studies : sequence of Study
    draws, seed : int
        Of the bootstrap by document.
    alpha : float
        Level of significance; intervals cover 1 - ``alpha``.

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
        rows += _pairs_of_group(group, draws, seed, alpha)
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS)).astype(PAIR_COLUMNS)


def _pairs_of_group(
    group: Sequence[Study], draws: int, seed: int, alpha: float
) -> list[dict[str, Any]]:
    documents = [documents_of(study) for study in group]

    @cache
    def profile_of(place: int, common: tuple[str, ...]) -> Profile:
        study = group[place]
        effects = study.record["stages"]["regression"]["fixed_effects"] == "document"
        shards = [crossproducts.read_shard(path) for path in study.shards]
        stack = crossproducts.stacked(shards, fixed_effects=effects)
        return profile(restricted(stack, common), draws, seed)

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
                    **profile_correlation(profile_a, profile_b, term, alpha),
                    "documents": len(common),
                    "documents_only_a": len(documents[a]) - len(common),
                    "documents_only_b": len(documents[b]) - len(common),
                    **agreement(one.of_term(term), other.of_term(term), alpha),
                }
            )
    return rows
