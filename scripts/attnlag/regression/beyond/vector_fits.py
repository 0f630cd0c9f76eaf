"""Ridge regressions of adjustment vectors on previous ones, with R² in unseen documents.

R² = 1 - Σ SSE / Σ SST over folds of documents, each predicted by a fit without it; SST is about the
mean vector of that fit. The penalty of a fold is chosen by cross-validation among the other folds.
A reduced rank projects the predictions onto their leading principal directions (Mukherjee and Zhu,
2011, Statistical Analysis and Data Mining 4, 612-622).
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import scipy.linalg

from attnlag.adjustments.columns import layer_number, layers_in
from attnlag.regression.beyond.vector_pairs import (
    Frame,
    Rows,
    folds_of_documents,
    frame_of,
    paired_vectors,
    rows_of,
    sums_by_document,
    vectors_by_block,
)
from attnlag.regression.beyond.vector_products import (
    LayerProducts,
    PairSums,
    layer_products,
    side_by_side,
    summed_over_shards,
)
from attnlag.regression.beyond.vector_ridge import (
    can_be_fitted,
    chosen_penalties,
    median_penalty,
    participation_ratio,
    r_squared_of_products,
    ridge,
    sum_of,
)
from attnlag.regression.inference.bootstrap import weights_of_draws
from attnlag.regression.settings import VectorsSettings

# Predictors of the vector: the previous vector, and those that its R² is compared with.
VECTOR, SCALAR, DOCUMENT = "vector", "scalar", "document_mean"
PERMUTED, RANDOM = "permuted_order", "random_weights"
PREDICTORS = (VECTOR, SCALAR, DOCUMENT, PERMUTED, RANDOM)

FIT = ("predictor", "rank", "ridge", "r_squared")
FITS_COLUMNS = [
    *("layer", *FIT, "conf_low", "conf_high", "documents", "rows"),
    *("participation_ratio", "mean_share", "half_rank"),
]

# The rank with half of the full R² is looked for up to this one.
HIGHEST = 64


@dataclass
class VectorModel:
    """A prediction of y from x."""

    # x, y, (p,) and (c,) float64 arrays: means of x and y.
    x: np.ndarray
    y: np.ndarray
    # (p, c) float64 array: B in the prediction of y': its mean plus (x - mean)' B.
    coefficients: np.ndarray
    # (c, r) float64 array: principal directions of the predictions, in order.
    directions: np.ndarray
    # (lags,) float64 array: factors of the prediction that multiplies whole vectors.
    factors: np.ndarray


def fit_model(total: PairSums, penalty: float, rank: int) -> VectorModel:
    """Return the prediction fitted to some rows, with ``rank`` principal directions."""
    xx, xy = total.centred()
    p, c = xy.shape
    coefficients = ridge(xx, xy, penalty)
    # Since (x'x + penalty) B = x'y, these are the squares of the penalised predictions.
    squares = coefficients.T @ xy
    directions = np.zeros((c, 0))
    if rank:
        bounds = [c - rank, c - 1]
        directions = scipy.linalg.eigh(squares + squares.T, subset_by_index=bounds)[1][:, ::-1]
        directions = np.ascontiguousarray(directions)
    by_lag = xx.reshape(p // c, c, p // c, c)
    factors = np.linalg.lstsq(
        np.einsum("idjd->ij", by_lag), np.einsum("idd->i", xy.reshape(-1, c, c))
    )[0]
    return VectorModel(*total.means, coefficients, directions, factors)


def document_losses(
    blocks: Iterable[np.ndarray],
    rows: Rows,
    fold_of_document: np.ndarray,
    settings: VectorsSettings,
    frame: Frame,
    models: Mapping[int, VectorModel],
    ranks: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of squares of each document, given the fit without its fold.

    Parameters
    ----------
    models : mapping of int to VectorModel
        Fit without each fold, by fold.

    Returns
    -------
    losses : (documents, 4 + ranks) float64 array
        Squares about the mean, then the squared errors of the prediction, of the scalar prediction,
        of the mean of the document's other tokens, and of each reduced rank.
    gains : (directions,) float64 array
        Squares less squared errors of the prediction of each rank from 1 on, over all documents.
    """
    first = next(iter(models.values()))
    count, width, gained = len(rows.documents), len(first.y), np.zeros(first.directions.shape[1])
    losses = np.zeros((count, 4 + len(ranks)))
    sums, n = np.zeros((count, width)), np.zeros(count)
    single = {
        fold: [values.astype(np.float32) for values in vars(model).values()]
        for fold, model in models.items()
    }
    lags = settings.products.lags
    for fold, pairs in paired_vectors(blocks, rows, fold_of_document, lags, frame):
        mean_x, mean_y, coefficients, directions, factors = single[fold]
        x, y = pairs.x, pairs.y
        x -= mean_x
        y -= mean_y
        predicted = x @ coefficients
        scaled = np.einsum("ilj,l->ij", x.reshape(len(x), -1, width), factors)
        square = np.einsum("ij,ij->i", y, y) + pairs.outside
        along, towards = predicted @ directions, y @ directions
        gains = np.cumsum(along * (2 * towards - along), axis=1)
        gained += gains.sum(axis=0, dtype=np.float64)
        errors = [
            square,
            *(_squared_errors(guess, y) + pairs.outside for guess in (predicted, scaled)),
            square,
            *(square - gains[:, rank - 1] for rank in ranks),
        ]
        for column, values in enumerate(errors):
            losses[:, column] += np.bincount(pairs.document, values, count)
        codes, sums_of_documents = sums_by_document(pairs.document, y)
        sums[codes] += sums_of_documents
        n += np.bincount(pairs.document, minlength=count)
    # The mean of the other tokens is n / (n - 1) times as far from a token as the mean of all.
    several = n > 1
    within = losses[:, 3] - np.einsum("ij,ij->i", sums, sums) / np.maximum(n, 1)
    losses[:, 3] = np.where(several, (n / np.maximum(n - 1, 1)) ** 2 * within, losses[:, 3])
    return losses, gained


def _squared_errors(guess: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return ‖y - guess‖² of each row, overwriting the guess."""
    guess -= y
    return np.einsum("ij,ij->i", guess, guess)


def intervals(losses: np.ndarray, settings: VectorsSettings) -> np.ndarray:
    """Return percentile intervals of R² over draws of whole documents.

    Parameters
    ----------
    losses : (documents, 1 + k) float64 array
        Squares about the mean, then the squared errors of k predictions.

    Returns
    -------
    bounds : (2, k) float64 array
        NaN without draws.
    """
    if not settings.bootstrap or len(losses) < 2:
        return np.full((2, losses.shape[1] - 1), np.nan)
    blocks = weights_of_draws(len(losses), settings.bootstrap, settings.seed)
    drawn = np.concatenate([weights @ losses for weights in blocks])
    with np.errstate(invalid="ignore", divide="ignore"):
        r_squared = 1 - drawn[:, 1:] / drawn[:, :1]
    return np.quantile(r_squared, [settings.alpha / 2, 1 - settings.alpha / 2], axis=0)


def mean_share(total: PairSums, frame: Frame) -> float:
    """Return the share of the mean vector in Σ ‖a‖²."""
    y = total.y if frame.components is None else frame.components @ total.y
    centre = frame.centre.astype(np.float64)
    square = total.yy + 2 * centre @ y + total.n * centre @ centre
    mean = centre + y / total.n
    return float(total.n * mean @ mean / square)


def rows_of_fits(
    products: LayerProducts,
    control: Sequence[PairSums] | None,
    files: Iterable[tuple[Path, Rows, np.ndarray]],
    column: str,
    settings: VectorsSettings,
) -> list[dict[str, Any]]:
    """Return the rows of the table for a layer.

    Parameters
    ----------
    products : LayerProducts
        Products over all shards.
    control : sequence of PairSums, or None
        Sums in each fold for the model with random weights.
    files : iterable of (path, rows, fold of each document)
        The vectors of all shards.
    column : str
        Column of the layer in the files.
    """
    folds = np.flatnonzero(products.n).tolist()
    observed, permuted = (
        [sums[fold].single() for fold in folds] for sums in (products.observed, products.permuted)
    )
    p, c = products.xy.shape[1:]
    full = min(p, c)
    ranks = [rank for rank in settings.ranks if rank < full]
    predictors = [(VECTOR, full), (SCALAR, None), (DOCUMENT, None)]
    predictors += [(VECTOR, rank) for rank in ranks]
    shared: dict[str, Any] = {"layer": layer_number(column), "documents": 0, "rows": 0}
    if not can_be_fitted(observed, settings.ridge):
        last = [(PERMUTED, full)] if control is None else [(PERMUTED, full), (RANDOM, full)]
        return [shared | dict(zip(FIT, row, strict=False)) for row in [*predictors, *last]]
    total = sum_of(observed)
    shared["rows"] = int(total.n)
    shared["participation_ratio"] = participation_ratio(total)
    shared["mean_share"] = mean_share(total, products.frame)
    penalties, penalties_of_permuted = chosen_penalties([observed, permuted], settings.ridge)
    directions = min(max([HIGHEST, *ranks]), full)
    models = {
        fold: fit_model(total - observed[k], penalties[k], directions)
        for k, fold in enumerate(folds)
    }
    losses_of_files, gains_of_files = zip(
        *(
            document_losses(
                vectors_by_block(path, column), rows, folds, settings, products.frame, models, ranks
            )
            for path, rows, folds in files
        ),
        strict=True,
    )
    losses = np.concatenate(losses_of_files)
    losses = losses[losses[:, 0] > 0]
    shared["documents"] = len(losses)
    penalty = median_penalty(penalties)
    low, high = intervals(losses, settings)
    summed = losses.sum(axis=0)
    half = (summed[0] - summed[1]) / 2
    enough = np.flatnonzero(np.sum(gains_of_files, axis=0) >= half)
    shared["half_rank"] = float(1 + enough[0]) if half > 0 and len(enough) else np.nan
    table = [
        shared
        | {
            "predictor": predictor,
            "rank": rank,
            "ridge": penalty if predictor == VECTOR else np.nan,
            "r_squared": 1 - summed[1 + place] / summed[0],
            "conf_low": low[place],
            "conf_high": high[place],
        }
        for place, (predictor, rank) in enumerate(predictors)
    ]
    fit = PERMUTED, full, *r_squared_of_products(permuted, penalties_of_permuted)
    table.append(shared | dict(zip(FIT, fit, strict=True)))
    if control is not None:
        control = [sums for sums in control if sums.n]
        fit = RANDOM, full, np.nan, np.nan
        if can_be_fitted(control, settings.ridge):
            # Its variances differ so much that fits with small penalties need double precision.
            (penalties,) = chosen_penalties([[s.single() for s in control]], settings.ridge)
            fit = RANDOM, full, *r_squared_of_products(control, penalties)
        rows_of_control = {"rows": int(sum(sums.n for sums in control))}
        table.append(shared | dict(zip(FIT, fit, strict=True)) | rows_of_control)
    return table


def table_of(
    products: Sequence[Path],
    activations: Sequence[Path],
    control: Path | None,
    fold_of: Mapping[str, int],
    settings: VectorsSettings,
    threads: int,
) -> pd.DataFrame:
    """Return the table of R² by layer, predictor and rank; layers are computed in parallel.

    Parameters
    ----------
    products, activations : sequence of Path
        Files of all shards.
    control : Path or None
        Vectors of the model with random weights for some documents.
    fold_of : mapping
        Fold of each document.
    """
    names = layers_in(pq.read_schema(activations[0]))

    # All layers share those of a single shard.
    @functools.lru_cache(maxsize=1)
    def rows_in(path: Path) -> tuple[Rows, np.ndarray]:
        rows = rows_of(path, settings.products)
        return rows, np.array([fold_of[document] for document in rows.documents], int)

    rows_of_control = None if control is None else rows_of(control, settings.products)

    def rows_of_layer(index: int) -> list[dict[str, Any]]:
        random = None
        if control is not None and rows_of_control is not None:
            random = layer_products(
                vectors_by_block(control, names[index]),
                rows_of_control,
                folds_of_documents(rows_of_control.documents, settings.products.folds),
                settings.products,
                frame_of(control, names[index], settings.products.components),
                permute=False,
            ).observed
        files = ((path, *rows_in(path)) for path in activations)
        return rows_of_fits(
            summed_over_shards(products, index), random, files, names[index], settings
        )

    layers = side_by_side(rows_of_layer, range(len(names)), threads)
    rows = [row for rows in layers for row in rows]
    table = pd.DataFrame(rows, columns=FITS_COLUMNS).astype({"rank": "Int64"})
    # Smaller ranks first, then the predictors that the vector is compared with.
    order = {predictor: place for place, predictor in enumerate(PREDICTORS)}
    return table.sort_values(
        ["layer", "predictor", "rank"],
        key=lambda column: column.map(order) if column.name == "predictor" else column,
        ignore_index=True,
    )
