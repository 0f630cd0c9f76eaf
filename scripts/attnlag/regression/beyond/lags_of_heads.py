"""Regressions of the log norms of attention heads, with the terms of another one.

Each head has a regression of its own, as each layer has in other regressions, and one row in the
table. The table also contains the sum of the heads, the adjustment, for all tokens and for those
above the floor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.quantities.columns import KEYS, layer_name, layer_number, layers_in
from attnlag.quantities.head_shares import ABOVE, WHOLE, at_floor, norms_of_heads
from attnlag.regression.design import covariates
from attnlag.regression.estimation import merging, moments, regress
from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.estimation.moments import Moments
from attnlag.regression.inference import controls, results
from attnlag.regression.settings import HeadsSettings

CONTROLS_OF_HEADS = ["random_weights", "trained"]
TEXTS = ["subset", "part", "term", "equivalence", "vcov_type"]
HEAD_COLUMNS = ["subset", "layer", "part", "term", "estimate", "std_error", "statistic", "df"]
HEAD_COLUMNS += ["p_value", "p_adjusted", "conf_low", "conf_high", "equivalence", "vcov_type"]
HEAD_COLUMNS += ["uncorrected", "rows", *CONTROLS_OF_HEADS]

# The table without a regression.
NO_LAGS = pd.DataFrame(columns=HEAD_COLUMNS, dtype=float).astype(dict.fromkeys(TEXTS, str))


@dataclass
class HeadNorms:
    """Norms of the heads of some tokens, and of the adjustments to them."""

    heads: Path
    norms: Path
    facts: Mapping[str, Any] = field(default_factory=dict)  # from `covariates.read_facts`


def coefficients(
    shards: Sequence[HeadNorms],
    settings: HeadsSettings,
    *,
    random: HeadNorms | None = None,
    group_of: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Fit every head of every layer, the adjustment, and the adjustment above the floor.

    One layer of one shard is in memory at a time, and the sums of one layer.

    Parameters
    ----------
    group_of : mapping of document to group, optional
        If given, errors are clustered by group instead of by document.

    Returns
    -------
    table : pandas.DataFrame
        As from `table_of_parts`, with the ``rows`` of each fit, and the control ``random_weights``
        beside the ``trained`` model on the same documents, neither corrected for bias; NaN without
        it.
    """
    settings = settings.from_sums()
    cells: list[tuple[int, str]] = []
    fits: list[regress.LayerFit] = []
    beside: list[pd.DataFrame] = []
    sums: merging.TermSums | None = None
    untrained_layers = set(pq.read_schema(random.heads).names) if random else set()
    for name in layers_in(pq.read_schema(shards[0].heads)):
        of_shards = [_moments(shard, norms_of_parts(shard, name), settings) for shard in shards]
        of_parts = [moments.joined(part) for part in zip(*of_shards, strict=True)]
        parts = [*map(str, range(len(of_parts) - 2)), WHOLE, ABOVE]
        sums = merging.kept_terms(of_parts[0].terms, of_parts) if sums is None else sums
        fits += fitted_parts(of_parts, sums, settings, group_of)
        cells += [(layer_number(name), part) for part in parts]
        keys = pd.MultiIndex.from_product([range(len(parts)), fits[-1].names])
        controls_of_layer = pd.DataFrame(np.nan, index=keys, columns=CONTROLS_OF_HEADS)
        if random and name in untrained_layers:
            controls_of_layer.update(_random_weights(random, name, settings, of_parts))
        beside.append(controls_of_layer)
    if not fits:
        return NO_LAGS.copy()
    table = table_of_parts(fits, cells, settings)
    table["rows"] = np.repeat([fit.n_obs for fit in fits], len(table) // len(fits))
    table[CONTROLS_OF_HEADS] = pd.concat(beside).to_numpy()
    return table[HEAD_COLUMNS]


def fitted_parts(
    parts: Sequence[Moments],
    sums: merging.TermSums,
    settings: HeadsSettings,
    group_of: Mapping[str, str] | None = None,
) -> list[regress.LayerFit]:
    """Fit parts of layers, each a regression of its own with the same terms."""
    solutions = map(solve, merging.regressed(parts, sums, settings, group_of))
    return [regress.fit(solution, settings.covariance) for solution in solutions]


def table_of_parts(
    fits: Sequence[regress.LayerFit], cells: Sequence[tuple[int, str]], settings: HeadsSettings
) -> pd.DataFrame:
    """Return the table of `results.coefficients_table` of fits of parts of layers.

    ``cells`` has the layer and the ``part`` of each fit. All are one family of tests.
    """
    numbered = [replace(fit, layer=place) for place, fit in enumerate(fits)]
    table = results.coefficients_table(numbered, settings)
    layers, parts = zip(*(cells[place] for place in table["layer"]), strict=True)
    return table.assign(layer=layers, part=parts)


def norms_of_parts(source: HeadNorms, name: str) -> pa.Table:
    """Return the outcomes of a layer in the form of norms by layer: the keys, then the parts.

    The parts are the heads in order, their sum, and their sum for tokens above the floor.
    """
    keys, of_heads = norms_of_heads(source.heads, name, KEYS)
    norms = pq.read_table(source.norms, columns=[name])[name].to_numpy()
    floor = at_floor(of_heads, keys["position"].to_numpy())
    values = [*of_heads.T, norms, np.where(floor, np.nan, norms)]
    names = [layer_name(place) for place in range(len(values))]
    return pa.table([*keys.columns, *map(pa.array, values)], names=[*KEYS, *names])


def _moments(source: HeadNorms, norms: pa.Table, settings: HeadsSettings) -> list[Moments]:
    assert settings.design is not None
    return controls.moments_of_batches(
        norms.to_batches(),
        layers_in(norms.schema),
        settings.design,
        source.facts,
        halves=2 if settings.halves else 1,
    )


def _random_weights(
    source: HeadNorms, name: str, settings: HeadsSettings, trained: Sequence[Moments]
) -> pd.DataFrame:
    """Return the coefficients of all parts but the last, by the part's place and by term."""
    norms = norms_of_parts(source, name)
    untrained = _moments(source, norms.drop_columns(layers_in(norms.schema)[-1]), settings)
    parts_of = {
        "random_weights": untrained,
        "trained": [part.only(untrained[0].clusters) for part in trained],
    }
    by_term = {
        column: controls.fitted_alone(parts, settings)[0] for column, parts in parts_of.items()
    }
    return pd.DataFrame(by_term).dropna(subset="random_weights")


def of_files(
    heads: Sequence[Path],
    norms: Sequence[Path],
    files: Mapping[str, Any],
    documents: Sequence[str] | None,
    settings: HeadsSettings,
    *,
    group_of: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Return the coefficients of all heads, as `coefficients` does, from the files of all shards.

    Parameters
    ----------
    files : mapping of str to Path or list of Path
        What covariates and the control need: files of shards, and those with random weights.
    documents : sequence of str, optional
        The documents in the files of heads and norms; by default all.
    """
    assert settings.design is not None
    sharded = {name: files[name] for name in covariates.SHARDED if files[name]}
    shards = []
    for shard, (of_heads, of_layers) in enumerate(zip(heads, norms, strict=True)):
        if documents and not pq.read_metadata(of_heads).num_rows:
            continue
        of_shard = {name: paths[shard] for name, paths in sharded.items()}
        facts = covariates.read_facts(settings.design, {**files, **of_shard}, documents)
        shards.append(HeadNorms(of_heads, of_layers, facts))
    random = None
    if files["random_weights"]:
        table = pq.read_table(files["random_weights"], columns=["document"])
        facts = covariates.read_facts(settings.design, files, set(table["document"].to_pylist()))
        random = HeadNorms(files["random_weights"], files["random_weights_norms"], facts)
    return coefficients(shards, settings, random=random, group_of=group_of)
