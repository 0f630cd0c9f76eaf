"""The controls of a regression: its coefficients if nothing interesting is going on.

There are two. The permutation of tokens within documents shows what remains if their order means
nothing (`permutation`). Random weights show what the same architecture gives before any training:
attention near a running mean makes log norms smooth, so lag 1 is large; training changes that.

An untrained model is never corrected for bias: its running mean becomes smoother along a document,
so that the halves of a document differ, and a half-panel jackknife extrapolates the difference. It
is compared with the trained model on the same documents, without correction too.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.adjustments.norms import in_batches
from attnlag.adjustments.outcomes import OUTCOMES
from attnlag.regression.design import design
from attnlag.regression.estimation import crossproducts, least_squares, merging, token_effects
from attnlag.regression.estimation.crossproducts import Shard
from attnlag.regression.estimation.least_squares import Solution
from attnlag.regression.estimation.stacks import Stack
from attnlag.regression.inference import bootstrap
from attnlag.regression.inference.permutation import OrderTest
from attnlag.regression.settings import DesignSettings, HeadsSettings, RegressionSettings
from attnlag.regression.terms import is_lag, is_lead
from attnlag.storage import tables


def shard_of(
    norms: Path,
    settings: DesignSettings,
    facts: Mapping[str, Any],
    stream: Path | None = None,
    effects: Sequence[str] = (),
) -> Shard:
    """Return the cross-products of the design of some norms, without writing either to a file.

    Parameters
    ----------
    norms : Path
        Norms, or another outcome, of few documents; their design is held in memory.
    stream : Path or None
        Norms of the stream at the same tokens, for relative norms or a sample held in common with
        a regression of such.
    """
    outcome = OUTCOMES[settings.outcome]
    layers = list(outcome.columns(pq.read_schema(norms).names))
    batches = in_batches(outcome, norms, stream, tables.ROWS_AT_ONCE, "design of random weights")
    return shard_of_batches(batches, layers, settings, facts, 1, effects, norms)


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
    schema = design.schema(layers, settings, facts)
    rows = pa.concat_tables(
        [schema.empty_table(), *design.designs(batches, settings, design.Counts(), facts)]
    )
    rows = rows.unify_dictionaries().combine_chunks()
    absorbed = 0
    if effects and norms and rows.num_rows:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "design.parquet")
            pq.write_table(rows, path)
            solved, made = token_effects.solved([path], [norms], effects)
        absorbed = made["absorbed"]
        tokens = token_effects.tokens_of([norms])
        rows = token_effects.without_effects(rows, tokens, solved).combine_chunks()
    facts = {"of_logs": OUTCOMES[settings.outcome].logarithm, "absorbed": absorbed}
    return crossproducts.shard_of_rows(rows.to_batches(), schema, halves, **facts)


def fitted_alone(
    shards: Sequence[Shard], settings: RegressionSettings | HeadsSettings
) -> tuple[pd.DataFrame, Stack, list[Solution]]:
    """Fit cross-products without any correction and without errors of the coefficients.

    Returns
    -------
    coefficients : pandas.DataFrame
        ``estimate`` by ``layer`` and ``term``; NaN in layers that cannot be fitted.
    """
    stack = merging.stack_of([crossproducts.without_halves(shard) for shard in shards], settings)
    solutions = least_squares.solve_all(stack)
    names = least_squares.names_of(stack)
    unweighted = np.ones((1, len(stack.clusters)))
    (estimates,) = bootstrap.weighted(stack, solutions, unweighted).estimates
    coefficients = pd.DataFrame(
        {
            "layer": np.repeat(np.array(stack.layers), len(names)),
            "term": names * len(stack.layers),
            "estimate": estimates.reshape(-1),
        }
    )
    return coefficients, stack, solutions


def random_weights(
    norms: Sequence[Path],
    settings: RegressionSettings,
    facts: Mapping[str, Any],
    trained: Sequence[Shard],
    streams: Sequence[Path] = (),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit the same regression to an untrained model, and to the trained one on the same documents.

    The half-panel correction applies to neither.

    Parameters
    ----------
    norms : sequence of Path
        Norms of each draw of the weights. The first draw has all documents of the control; the
        others have the first of these, and serve the spread over draws.
    streams : sequence of Path
        Norms of the stream at the same tokens, for relative norms or a sample held in common with
        a regression of such; otherwise empty. There may be more of them than of ``norms``.

    Returns
    -------
    coefficients : pandas.DataFrame
        By ``layer`` and ``term``: ``random_weights``, its standard deviation over the draws
        ``random_weights_sd``, and ``trained``; NaN in layers that cannot be fitted.
    layers : pandas.DataFrame
        By ``layer``: the sums of the coefficients of lags, the R² of both models, and the numbers
        of documents and draws.
    """
    design_of_control = settings.control_design
    assert design_of_control is not None
    draws = [
        shard_of(path, design_of_control, facts, stream, settings.token_effects)
        for path, stream in zip(norms, streams or repeat(None), strict=False)
    ]

    def fitted(shards: Sequence[Shard]) -> tuple[pd.Series, pd.DataFrame]:
        coefficients, stack, solutions = fitted_alone(shards, settings)
        is_sum = coefficients["term"].map(lambda term: is_lag(term) and not is_lead(term))
        of_lags = coefficients[is_sum].groupby("layer")["estimate"]
        layers = pd.DataFrame(
            {
                "sum": of_lags.sum(min_count=1).reindex(stack.layers),
                "r_squared": [1 - solution.ssr / solution.tss for solution in solutions],
                "documents": stack.documents,
            },
            index=pd.Index(stack.layers, name="layer"),
        )
        return coefficients.set_index(["layer", "term"])["estimate"], layers

    untrained, its_layers = fitted(draws[:1])
    # Effects of tokens were removed over all documents, and cost these few no degrees of freedom.
    same_documents = [
        replace(crossproducts.of_documents(shard, documents_of(draws[0])), absorbed=0)
        for shard in trained
    ]
    beside, of_trained = fitted(same_documents)
    shared = documents_of(draws[-1])
    over = [fitted([crossproducts.of_documents(draw, shared)])[0] for draw in draws]
    coefficients = pd.DataFrame(
        {
            "random_weights": untrained,
            "random_weights_sd": pd.concat(over, axis=1).std(axis=1, skipna=False),
            "trained": beside.reindex(untrained.index),
        }
    )
    its_layers = its_layers.add_prefix("random_weights_").assign(
        random_weights_draws=len(draws),
        random_weights_draws_documents=len(shared),
        trained_sum=of_trained["sum"],
        trained_r_squared=of_trained["r_squared"],
    )
    return coefficients.reset_index(), its_layers.reset_index()


def documents_of(shard: Shard) -> list[str]:
    """Return the documents of a shard, in order."""
    return [document for block in shard.batches() for document in block.documents]


def controls_table(
    coefficients: pd.DataFrame,
    fits: pd.DataFrame,
    order: OrderTest | None,
    random: tuple[pd.DataFrame, pd.DataFrame] | None,
) -> pd.DataFrame:
    """Return the coefficients of lags and leads beside those of the controls, a row each."""
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
