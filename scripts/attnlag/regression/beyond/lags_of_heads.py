"""Regressions of the log norms of attention heads, with the terms and controls of another one.

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

from attnlag.adjustments.columns import KEYS, layer_name, layer_number, layers_in
from attnlag.regression.beyond.heads import ABOVE, WHOLE, at_floor, norms_of_heads
from attnlag.regression.design import covariates
from attnlag.regression.design.properties import Property, read_property
from attnlag.regression.estimation import crossproducts, least_squares, merging, regress
from attnlag.regression.estimation.stacks import Stack
from attnlag.regression.inference import controls, permutation, results
from attnlag.regression.settings import HeadsSettings

# The empty table, without a regression.
COLUMNS = ["subset", "layer", "part", "term", "estimate", "std_error", "statistic", "df"]
COLUMNS += ["p_value", "p_adjusted", "conf_low", "conf_high", "finding", "vcov_type"]
COLUMNS += ["uncorrected"]
CONTROLS = ["permuted_mean", "random_weights", "trained"]
COLUMNS += ["rows", *CONTROLS]
TEXTS = ("subset", "part", "term", "finding", "vcov_type")
NOTHING = pd.DataFrame({name: pd.Series(dtype=str if name in TEXTS else float) for name in COLUMNS})


@dataclass
class Source:
    """Norms of the heads of some tokens, and of the adjustments to them."""

    heads: Path
    norms: Path
    facts: Mapping[str, Any] = field(default_factory=dict)  # from `covariates.read_facts`
    classes: Property | None = None  # within which tokens are permuted; None: documents


def coefficients(
    shards: Sequence[Source],
    settings: HeadsSettings,
    *,
    random: Source | None = None,
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
        As from `results.coefficients_table`, with the ``part`` of each layer, the ``rows`` of its
        fit, and the controls ``permuted_mean`` and ``random_weights``, the latter beside the
        ``trained`` model on the same documents, neither corrected for bias; NaN without them.
    """
    settings = settings.from_sums()
    rows: list[pd.DataFrame] = []
    fits: list[regress.LayerFit] = []
    kept: merging.TermSums | None = None
    stack: Stack | None = None
    known = set(pq.read_schema(random.heads).names) if random else set()
    for name in layers_in(pq.read_schema(shards[0].heads)):
        products: list[crossproducts.Shard] = []
        orders: list[list[permutation.PermutedProducts]] = []
        for source in shards:
            table = _values(source, name)
            products.append(_shard(source, table, settings))
            if settings.draws:
                orders.append(_orders(source, table, settings))
        parts = [*map(str, range(len(products[0].layers) - 2)), WHOLE, ABOVE]
        kept = merging.kept_terms(products) if kept is None else kept
        stack = merging.stack_of(products, settings, kept, group_of=group_of)
        of_layer = regress.fit(stack, settings.covariance, folds=None)
        terms = least_squares.names_of(stack)
        frame = pd.DataFrame({"part": np.repeat(parts, len(terms)), "term": terms * len(parts)})
        frame["layer"] = layer_number(name)
        frame["rows"] = np.repeat([fit.n_obs for fit in of_layer], len(terms))
        frame["permuted_mean"] = np.nan
        if settings.draws:
            frame["permuted_mean"] = _permuted(orders, kept)
        frame[["random_weights", "trained"]] = np.nan
        if random and name in known:
            places = np.repeat(np.arange(len(parts)), len(terms))
            keys = pd.MultiIndex.from_arrays([places, frame["term"]])
            beside = _random_weights(random, name, settings, products)
            frame[beside.columns] = beside.reindex(keys).to_numpy()
        rows.append(frame)
        fits += of_layer
    if stack is None:
        return NOTHING.copy()
    beside = pd.concat(rows, ignore_index=True)
    of_all = replace(stack, layers=list(range(len(fits))))
    table = results.coefficients_table(fits, of_all, settings)
    table["layer"] = beside["layer"]
    return table.join(beside[["part", "rows", *CONTROLS]])[COLUMNS]


def _values(source: Source, name: str) -> pa.Table:
    """Return the outcomes of a layer in the form of norms by layer: the keys, then the parts.

    The parts are the heads in order, their sum, and their sum for tokens above the floor.
    """
    keys, of_heads = norms_of_heads(source.heads, name, KEYS)
    whole = pq.read_table(source.norms, columns=[name])[name].to_numpy()
    floor = at_floor(of_heads, keys["position"].to_numpy())
    values = [*of_heads.T, whole, np.where(floor, np.nan, whole)]
    names = [layer_name(place) for place in range(len(values))]
    return pa.table([*keys.columns, *map(pa.array, values)], names=[*KEYS, *names])


def _shard(source: Source, table: pa.Table, settings: HeadsSettings) -> crossproducts.Shard:
    assert settings.design is not None
    return controls.shard_of_batches(
        table.to_batches(),
        layers_in(table.schema),
        settings.design,
        source.facts,
        halves=2 if settings.halves else 1,
    )


def _orders(
    source: Source, table: pa.Table, settings: HeadsSettings
) -> list[permutation.PermutedProducts]:
    """Return the sums of a shard in permuted orders, for all parts but the last and for the last.

    A token without a norm in some part would not be permuted at all. The last part, which leaves
    out tokens at the floor, is therefore permuted separately.
    """
    design = settings.design
    assert design is not None
    names = layers_in(table.schema)
    return [
        permutation.permuted_products(
            table.select([*KEYS, *of_parts]).to_batches(permutation.ROWS),
            design,
            source.facts,
            draws=settings.draws,
            seed=settings.seed,
            fixed_effects=settings.fixed_effects == "document",
            classes=source.classes,
        )
        for of_parts in (names[:-1], names[-1:])
    ]


def _permuted(
    orders: Sequence[Sequence[permutation.PermutedProducts]], kept: merging.TermSums
) -> np.ndarray:
    """Return the mean coefficients over permuted orders, (parts × terms,)."""
    means = []
    for of_shards in zip(*orders, strict=True):
        merged = permutation.merged_terms(permutation.merged_products(of_shards), kept)
        means.append(permutation.estimates_of_orders(merged)[1][1:].mean(axis=0))
    return np.concatenate(means).reshape(-1)


def _random_weights(
    source: Source, name: str, settings: HeadsSettings, trained: Sequence[crossproducts.Shard]
) -> pd.DataFrame:
    """Return the coefficients of all parts but the last, by the part's place and by term."""
    table = _values(source, name)
    untrained = _shard(source, table.drop_columns(layers_in(table.schema)[-1]), settings)
    documents = controls.documents_of(untrained)
    shards_of = {
        "random_weights": [untrained],
        "trained": [crossproducts.of_documents(shard, documents) for shard in trained],
    }
    fits = {
        column: controls.fitted_alone(shards, settings)[0] for column, shards in shards_of.items()
    }
    by_term = [fit.set_index(["layer", "term"])["estimate"] for fit in fits.values()]
    return pd.concat(by_term, axis=1, keys=fits).dropna(subset="random_weights")


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
    of_shards = {name: files[name] for name in covariates.SHARDED if files[name]}
    shards = []
    for shard, (of_heads, of_layers) in enumerate(zip(heads, norms, strict=True)):
        if documents and not pq.read_metadata(of_heads).num_rows:
            continue
        own = {name: paths[shard] for name, paths in of_shards.items()}
        classes = None
        if settings.draws and settings.within != "document":
            classes = read_property(settings.within, [own["token_properties"]], documents)
        facts = covariates.read_facts(settings.design, {**files, **own}, documents)
        shards.append(Source(of_heads, of_layers, facts, classes))
    random = None
    if files["random_weights"]:
        table = pq.read_table(files["random_weights"], columns=["document"])
        facts = covariates.read_facts(settings.design, files, set(table["document"].to_pylist()))
        random = Source(files["random_weights"], files["random_weights_norms"], facts)
    return coefficients(shards, settings, random=random, group_of=group_of)
