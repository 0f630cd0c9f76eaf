"""The path of training: the same regression at earlier checkpoints of a model.

What random weights give depends on the scale at which they are drawn; a model's own checkpoints
have no such choice. Each is compared with the final weights on the same documents, in the layers
that can be fitted with both. No checkpoint is corrected for bias: at an early one the halves of a
document differ, and a half-panel jackknife would extrapolate the difference.

Intervals come from the jackknife over documents (`controls.jackknife`). Each is left out in turn,
of the checkpoint and of the final weights at once. The difference of both is a mean over the
layers, as that from random weights is: without a document another layer may be the median one, and
intervals of the difference of medians covered the true one in up to 100%.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from attnlag.corpus.catalogue import LOSS
from attnlag.errors import UserError
from attnlag.quantities.estimates import level_of
from attnlag.quantities.outcomes import in_batches
from attnlag.regression.design.design import Formula
from attnlag.regression.estimation.least_squares import Solution, Unfitted
from attnlag.regression.inference.controls import fit_alone, jackknife
from attnlag.regression.moments.in_memory import moments_of_numbers
from attnlag.regression.moments.moments import Moments
from attnlag.regression.settings import DesignSettings, TrainingSettings
from attnlag.regression.terms import is_lag_or_lead, is_lead
from attnlag.regression.units import layer_units
from attnlag.storage import tables

# The name of the final weights in the column ``revision``. They have no step.
FINAL = "final"

LAGS_SUMMED = "lags_summed"
R_SQUARED = "r_squared"

COLUMNS = [
    *("step", "revision", "quantity", "estimate", "conf_low", "conf_high", "level", "final"),
    *("difference", "std_error", "df", "difference_low", "difference_high"),
    *("layers", "documents", "loss"),
]


@dataclass(frozen=True)
class Checkpoint:
    """What is regressed at one step of training.

    Parameters
    ----------
    step : int or None
        Number of steps of training; None for the final weights.
    revision : str
        Name of the weights.
    layers : sequence of Moments
        Moments of each layer.
    loss : float
        Mean of the property `LOSS` over the tokens, in nats; NaN if it was not measured.
    """

    step: int | None
    revision: str
    layers: Sequence[Moments]
    loss: float = np.nan


@dataclass(frozen=True)
class TrainingTables:
    """A regression along the training of a model.

    Parameters
    ----------
    medians : pandas.DataFrame
        A row for each checkpoint and quantity, in the order of the steps and the final weights
        last. A quantity is a lag or lead, the sum of the lags (``lags_summed``) or ``r_squared``.
        ``estimate`` is its value in the median layer with its interval (``conf_low``,
        ``conf_high``), ``final`` that of the final weights in the same layers, ``difference`` the
        mean over these layers of the checkpoint's values minus the final ones. ``layers`` counts
        the layers that are fitted with both weights, and ``loss`` is in nats a token. What is
        unknown is NaN.
    layers : pandas.DataFrame
        A row for each checkpoint, layer and quantity. ``estimate`` is NaN in a layer that cannot be
        fitted.
    """

    medians: pd.DataFrame
    layers: pd.DataFrame


def moments_of(formula: Formula, norms: Path, stream: Path | None = None) -> list[Moments]:
    """Return the moments of each layer from a file of norms.

    Relative norms need the file of the stream at the same tokens.
    """
    outcome = formula.outcome
    names = outcome.columns(pq.read_schema(norms).names)
    units = layer_units(names)
    progress = "design of a checkpoint"
    batches = in_batches(outcome, norms, stream, tables.ROWS_AT_ONCE, progress)
    precision = tables.read_provenance(norms).precision
    return moments_of_numbers(batches, formula, units, precision=precision)


def loss_of(tokens: pd.DataFrame, documents: Collection[str]) -> float:
    """Return the loss of a model on some documents, in nats a token.

    Parameters
    ----------
    tokens : pandas.DataFrame
        A row for each token, with the columns ``document`` and `LOSS`.
    documents : collection of str
        Names of the documents.

    Returns
    -------
    float
        NaN if the table lacks the property, or has no value of it in these documents.
    """
    if LOSS not in tokens:
        return np.nan
    return float(tokens.loc[tokens["document"].isin(documents), LOSS].mean())


def stored_loss(paths: Sequence[Path], documents: Collection[str]) -> float:
    """Return `loss_of` from the files of all shards; NaN without files."""
    if not paths:
        return np.nan
    return loss_of(tables.read_shards(paths, ["document", LOSS]).to_pandas(), documents)


def formula_of(design: DesignSettings, files: Mapping[str, Any], norms: Path) -> Formula:
    """Return the formula of a regression of the documents in a file of norms.

    ``files`` are those that covariates need, by name.
    """
    return Formula.read(design, files, tables.document_names(norms))


def fit(
    checkpoints: Sequence[Checkpoint], final: Checkpoint, settings: TrainingSettings
) -> TrainingTables:
    """Fit a regression to each checkpoint, and to the final weights on the same documents.

    Parameters
    ----------
    checkpoints : sequence of Checkpoint
        At least one, all of the same documents.
    final : Checkpoint
        The final weights, perhaps of further documents.
    settings : TrainingSettings
        Whether documents have effects, and the level of the intervals.

    Returns
    -------
    TrainingTables
        With fewer documents than ``MIN_DOCUMENTS``, no interval is known.

    Raises
    ------
    UserError
        If the checkpoints are not of the same documents.
    """
    documents = checkpoints[0].layers[0].clusters
    for checkpoint in checkpoints:
        if checkpoint.layers[0].clusters != documents:
            raise UserError(
                f"revisions: found other documents at step {checkpoint.step} than at step "
                f"{checkpoints[0].step}, expected the same ones at all steps"
            )
    final_values = _values(final.layers, documents, settings)
    medians = []
    layers = []
    for checkpoint in sorted(checkpoints, key=lambda one: one.step or 0):
        values = _values(checkpoint.layers, documents, settings)
        medians.append(_medians(checkpoint, values, final_values, settings.alpha))
        layers.append(_by_layer(checkpoint, values))
    medians.append(_medians(final, final_values, final_values, settings.alpha))
    layers.append(_by_layer(final, final_values))
    return TrainingTables(
        pd.concat(medians, ignore_index=True), pd.concat(layers, ignore_index=True)
    )


@dataclass(frozen=True)
class _Values:
    """Quantities of each layer, of all documents and without each of them.

    ``numbers`` are (1 + documents, layers, quantities), all documents first, NaN where a layer
    cannot be fitted. ``rows`` are those of each document in the layer with most.
    """

    layers: list[int]
    quantities: list[str]
    numbers: np.ndarray
    rows: np.ndarray

    @property
    def fitted(self) -> np.ndarray:
        """Which layers are fitted to all documents, (layers,) bool."""
        return np.isfinite(self.numbers[0]).all(axis=1)

    @property
    def documents(self) -> int:
        return len(self.numbers) - 1


def _values(
    layers: Sequence[Moments], documents: Sequence[str], settings: TrainingSettings
) -> _Values:
    """Fit some documents in each layer, and without each of them."""
    solutions = fit_alone(layers, documents, settings)
    names = solutions[0].moments.names
    quantities = [name for name in names if is_lag_or_lead(name)]
    lags = [name for name in quantities if not is_lead(name)]
    numbers = []
    for solution in solutions:
        coefficients, r_squared = _without_each(solution)
        table = pd.DataFrame(coefficients, columns=names)
        columns = [table[name] for name in quantities]
        if len(lags) > 1:
            columns.append(table[lags].sum(axis=1, skipna=False))
        columns.append(pd.Series(r_squared))
        numbers.append(np.stack(columns, axis=1))
    if len(lags) > 1:
        quantities.append(LAGS_SUMMED)
    quantities.append(R_SQUARED)
    return _Values(
        layers=[solution.moments.layer for solution in solutions],
        quantities=quantities,
        numbers=np.stack(numbers, axis=1),
        rows=np.max([solution.moments.products[0, :, 0, 0] for solution in solutions], axis=0),
    )


def _without_each(solution: Solution | Unfitted) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients, (1 + documents, K), and R², (1 + documents,), of all and without each.

    They come from the sums of all documents and from those less the ones of a document.
    """
    moments = solution.moments
    total = moments.total[:, None]
    sums = np.concatenate([total, total - moments.products], axis=1)
    if isinstance(solution, Unfitted):
        unknown = np.full(sums.shape[1], np.nan)
        return np.repeat(unknown[:, None], moments.k, axis=1), unknown
    a, b, c = solution.equations(sums)
    theta = solution.thetas(a, b)
    fitted = (a[0] @ theta[..., None])[..., 0]
    residual = c[0] + (theta * (fitted - 2 * b[0])).sum(axis=1)
    rows = sums[0, :, 0, 0]
    sum_of_y = sums[0, :, 0, 1]
    squares = sums[0, :, 1, 1]
    about_mean = squares - sum_of_y**2 / np.maximum(rows, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        r_squared = 1 - residual / about_mean
    return solution.coefficients(theta), r_squared


def _medians(checkpoint: Checkpoint, values: _Values, final: _Values, alpha: float) -> pd.DataFrame:
    """Return the rows of a checkpoint, a quantity each, beside the final weights."""
    shared = values.fitted & final.fitted
    rows = []
    for place, quantity in enumerate(values.quantities):
        row = {
            "step": checkpoint.step,
            "revision": checkpoint.revision,
            "quantity": quantity,
            "level": level_of(alpha),
            "layers": int(shared.sum()),
            "documents": values.documents,
            "loss": checkpoint.loss,
        }
        if shared.any():
            own = values.numbers[:, shared, place]
            others = final.numbers[:, shared, place]
            median = np.median(own, axis=1)
            ends = jackknife(median[0], median[1:], values.rows, alpha)
            row |= {
                "estimate": median[0],
                "conf_low": ends.get("conf_low"),
                "conf_high": ends.get("conf_high"),
                "final": np.median(others[0]),
            }
            difference = (own - others).mean(axis=1)
            ends = jackknife(difference[0], difference[1:], values.rows, alpha)
            row |= {
                "difference": difference[0],
                "std_error": ends.get("std_error"),
                "df": ends.get("df"),
                "difference_low": ends.get("conf_low"),
                "difference_high": ends.get("conf_high"),
            }
        rows.append(row)
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    numbers = [name for name in COLUMNS if name not in ("step", "revision", "quantity")]
    table = table.astype(dict.fromkeys(numbers, float)).astype({"layers": int, "documents": int})
    table["step"] = table["step"].astype("Int64")
    return table


def _by_layer(checkpoint: Checkpoint, values: _Values) -> pd.DataFrame:
    """Return a row for each layer and quantity of a checkpoint."""
    index = pd.MultiIndex.from_product(
        [values.layers, values.quantities], names=["layer", "quantity"]
    )
    table = pd.DataFrame({"estimate": values.numbers[0].ravel()}, index).reset_index()
    table["step"] = pd.Series([checkpoint.step] * len(table), dtype="Int64")
    table["revision"] = checkpoint.revision
    return table[["step", "revision", "layer", "quantity", "estimate"]]
