"""The controls of a regression: its coefficients if nothing interesting is going on.

There are two. The permutation of tokens within documents shows what remains if their order means
nothing (`permutation`). Random weights show what the same architecture gives before any training:
attention near a running mean makes log norms smooth, so lag 1 is large; training changes that.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.adjustments.norms import in_batches
from attnlag.adjustments.outcomes import OUTCOMES
from attnlag.regression import (
    bootstrap,
    crossproducts,
    design,
    least_squares,
    merging,
    stacks,
    token_effects,
)
from attnlag.regression.crossproducts import Shard, Totals
from attnlag.regression.least_squares import Solution
from attnlag.regression.permutation import OrderTest
from attnlag.regression.settings import DesignSettings, RegressionSettings
from attnlag.regression.stacks import Stack
from attnlag.regression.terms import is_lag

# Rows of norms in memory at a time.
ROWS = 16_384


def shard_of(
    norms: Path,
    settings: DesignSettings,
    facts: Mapping[str, Any],
    halves: int,
    stream: Path | None = None,
    effects: Sequence[str] = (),
) -> Shard:
    """Return the cross-products of the design of some norms, without writing either to a file.

    Parameters
    ----------
    norms : Path
        Norms, or another outcome, of few documents; their design is held in memory.
    settings : DesignSettings
    facts : mapping
        From ``covariates.read_facts``.
    halves : int
        2 to keep the halves of documents separate, otherwise 1.
    stream : Path or None
        Norms of the stream at the same tokens, for relative norms or a sample held in common with
        a regression of such.
    effects : sequence of str
        Effects of tokens that are removed.
    """
    outcome = OUTCOMES[settings.outcome]
    layers = list(outcome.columns(pq.read_schema(norms).names))
    batches = in_batches(outcome, norms, stream, ROWS, "design of random weights")
    return shard_of_batches(batches, layers, settings, facts, halves, effects, norms)


def shard_of_batches(
    batches: Iterable[pa.RecordBatch],
    layers: Sequence[str],
    settings: DesignSettings,
    facts: Mapping[str, Any],
    halves: int,
    effects: Sequence[str] = (),
    norms: Path | None = None,
) -> Shard:
    """Return the cross-products of the design of batches of norms or of another outcome.

    The removal of effects of tokens needs the file that the batches come from.
    """
    outcome = OUTCOMES[settings.outcome]
    schema = design.schema(layers, settings, facts)
    parts = list(design.designs(batches, settings, design.Counts(), facts))
    whole = pa.concat_tables([schema.empty_table(), *parts]).unify_dictionaries().combine_chunks()
    absorbed = 0
    if effects and norms and whole.num_rows:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "design.parquet")
            pq.write_table(whole, path)
            solved, absorbed = token_effects.solved([path], [norms], effects)
        tokens = token_effects.tokens_of([norms])
        whole = token_effects.without_effects(whole, tokens, solved).combine_chunks()
    rows = whole.to_batches()
    numbers, terms = crossproducts.layers_and_terms(schema)
    centre = np.zeros((len(numbers), 1 + len(terms)))
    if rows:
        centre = crossproducts.centre_of(rows[0], schema)
    of_documents = crossproducts.rows_of_documents(rows) if halves == 2 else None
    blocks = list(crossproducts.products_by_document(rows, schema, centre, of_documents))
    totals = Totals.empty(len(numbers), 1 + len(terms), halves)
    for block in blocks:
        totals.add(block.products)
    return Shard(
        *(terms, numbers, halves, centre, totals, lambda: iter(blocks)),
        of_logs=outcome.logarithm,
        absorbed=absorbed,
    )


def fitted_alone(
    shard: Shard, *, fixed_effects: bool, stack_mb: float
) -> tuple[pd.DataFrame, Stack, list[Solution]]:
    """Fit the cross-products of a control, without errors of the coefficients.

    Returns
    -------
    coefficients : pandas.DataFrame
        ``random_weights`` by ``layer`` and ``term``; NaN in layers that cannot be fitted.
    stack : Stack
    solutions : list of Solution
        One per layer.
    """
    merged = merging.merged_shard(shard, merging.kept_terms([shard]))
    stack = stacks.stacked([merged], fixed_effects=fixed_effects, budget=stack_mb * 1e6)
    solutions = least_squares.solve_all(stack)
    names = least_squares.names_of(stack)
    (estimates,) = bootstrap.weighted(stack, solutions, np.ones((1, len(stack.clusters))))
    coefficients = pd.DataFrame(
        {
            "layer": np.repeat(np.array(stack.layers), len(names)),
            "term": names * len(stack.layers),
            "random_weights": estimates.reshape(-1),
        }
    )
    return coefficients, stack, solutions


def random_weights(
    norms: Path,
    settings: RegressionSettings,
    facts: Mapping[str, Any],
    stream: Path | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit the same regression to the norms of the model with random weights.

    Parameters
    ----------
    norms : Path
    settings : RegressionSettings
        Settings of the regression, with the design of the control.
    facts : mapping
        From ``covariates.read_facts``.
    stream : Path or None
        Norms of the stream at the same tokens, for relative norms or a sample held in common with
        a regression of such.

    Returns
    -------
    coefficients : pandas.DataFrame
        ``random_weights`` by ``layer`` and ``term``; NaN in layers that cannot be fitted.
    layers : pandas.DataFrame
        ``random_weights_r_squared`` and ``random_weights_documents`` by ``layer``.
    """
    assert settings.control_design is not None
    halves = 2 if settings.bias_correction == "half-panel" else 1
    effects = settings.token_effects
    shard = shard_of(norms, settings.control_design, facts, halves, stream, effects)
    coefficients, stack, solutions = fitted_alone(
        shard, fixed_effects=settings.fixed_effects == "document", stack_mb=settings.stack_mb
    )
    r_squared = [
        1 - solution.ssr / solution.tss if solution.status == "ok" else np.nan
        for solution in solutions
    ]
    layers = pd.DataFrame(
        {
            "layer": stack.layers,
            "random_weights_r_squared": r_squared,
            "random_weights_documents": stack.documents,
        }
    )
    return coefficients, layers


def controls_table(
    coefficients: pd.DataFrame,
    fits: pd.DataFrame,
    order: OrderTest | None,
    random: tuple[pd.DataFrame, pd.DataFrame] | None,
) -> pd.DataFrame:
    """Return the coefficients of lags and leads beside those of the controls, a row each.

    Parameters
    ----------
    coefficients, fits : pandas.DataFrame
        The tidy tables of the regression.
    order : OrderTest or None
    random : pair of pandas.DataFrame, or None
        From `random_weights`.
    """
    lags = coefficients.loc[coefficients["term"].map(is_lag), ["layer", "term", "estimate"]]
    table = lags.merge(fits[["layer", "r_squared"]], on="layer", how="left")
    if order is not None:
        table = table.merge(order.coefficients, on=["layer", "term"], how="left")
        table = table.merge(order.layers, on="layer", how="left").assign(
            permutations=order.draws, permuted_within=order.within
        )
    if random is not None:
        table = table.merge(random[0], on=["layer", "term"], how="left")
        table = table.merge(random[1], on="layer", how="left")
    return table
