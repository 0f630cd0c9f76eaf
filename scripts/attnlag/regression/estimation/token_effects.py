"""Removal of the effects of tokens and previous tokens from a design, jointly with documents.

Tokens occur in several documents and shards, so their effects are first solved over all shards and
then removed shard by shard. The result is an ordinary design: with document effects it gives the
coefficients of the regression with a dummy for each document and each token.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.adjustments.columns import KEYS
from attnlag.regression.design import properties
from attnlag.regression.design.absorbing import Effects
from attnlag.regression.design.design import parquet_options
from attnlag.regression.design.properties import Property
from attnlag.regression.estimation import crossproducts, sampling
from attnlag.storage import tables

# The token of each effect, relative to the outcome.
OFFSETS = {"token": 0, "previous_token": -1}

# Bytes of variables in memory at a time; at least one variable.
BYTES = 64e6


def tokens_of(norms: Sequence[Path], documents: Collection[str] | None = None) -> Property:
    """Return the token at each position of each sequence, or of those of some documents."""
    return properties.read_property("token_id", norms, documents)


def levels_of(keys: pa.Table, tokens: Property, effects: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the token of each effect in each row of a design.

    -1 stands for the position before the first token of a sequence.
    """
    return {name: tokens.at(keys, OFFSETS[name], -1).astype(np.int64) for name in effects}


def complete_rows(design: pa.Table, outcomes: Sequence[str]) -> np.ndarray:
    """Return the rows of a design in which all the given outcomes have a value."""
    complete = np.ones(design.num_rows, dtype=bool)
    for name in outcomes:
        complete &= ~np.isnan(design[name].to_numpy(zero_copy_only=False))
    return complete


def solved(
    designs: Sequence[Path],
    norms: Sequence[Path],
    effects: Sequence[str],
    most_rows: int = sampling.MOST_ROWS,
) -> tuple[pa.Table, dict[str, Any]]:
    """Return the effects of tokens on each column of a design, over all shards.

    Parameters
    ----------
    most_rows : int
        With more rows, the effects are those in a sample of whole documents.

    Returns
    -------
    table : pyarrow.Table
        A row per effect and token: ``effect``, ``token_id``, and each column of the design except
        those of layers without rows.
    facts : dict
        ``absorbed``, the number of independent dummies besides those of documents;
        ``sample_end``, the ``end`` of the sample.
    """
    sample = sampling.sample_of(designs, most_rows)
    variables = [name for name in pq.read_schema(designs[0]).names if name not in KEYS]
    complete = np.ones(len(sample.rows), dtype=bool)
    for outcome in [name for name in variables if name.endswith(".y")]:
        has_row = ~np.isnan(sample.column(designs, outcome))
        # A layer that lacks a preceding layer that it needs has no rows.
        if has_row.any():
            complete &= has_row
        else:
            layer = outcome.partition(".")[0]
            variables = [name for name in variables if name.partition(".")[0] != layer]
    tokens = tokens_of(norms, sample.documents if sample.end else None)
    levels = levels_of(sample.keys(designs), tokens, effects)
    complete_levels = {name: codes[complete] for name, codes in levels.items()}
    factors = Effects.of([sample.document[complete], *complete_levels.values()])
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("effect", "token_id", *variables)}
    for name, codes in complete_levels.items():
        token = np.unique(codes)
        columns["effect"].append(np.full(len(token), name))
        columns["token_id"].append(token)
    at_once = max(1, int(BYTES // (8 * max(len(complete), 1))))
    for start in range(0, len(variables), at_once):
        block = variables[start : start + at_once]
        values = np.stack([sample.column(designs, name)[complete] for name in block], axis=1)
        for part in factors.of_levels(values)[1:]:
            for name, column in zip(block, part.T, strict=True):
                columns[name].append(column)
    solution = pa.table({name: np.concatenate(parts) for name, parts in columns.items()})
    alone = len(np.unique(factors.codes[0]))
    return solution, {"absorbed": factors.rank() - alone, "sample_end": sample.end}


def without_effects(
    design: pa.Table, tokens: Property, effects: pa.Table, sample_end: str = ""
) -> pa.Table:
    """Return a design with the effects of tokens removed from all its columns.

    Rows that some layer drops are null in all layers, because the effects were solved without them;
    so are those of documents outside the sample.
    """
    solved_columns = set(effects.schema.names)
    outcomes = [name for name in design.schema.names if name.endswith(".y")]
    complete = complete_rows(design, [name for name in outcomes if name in solved_columns])
    names = list(dict.fromkeys(effects["effect"].to_pylist()))
    keys = design.select(KEYS).combine_chunks()
    document = keys["document"].combine_chunks()
    complete &= sampling.in_sample(document.dictionary.to_pylist(), sample_end)[document.indices]
    kind = np.array(effects["effect"].to_pylist())
    places = {}
    for name, levels in levels_of(keys, tokens, names).items():
        effect_rows = np.flatnonzero(kind == name)
        token = effects["token_id"].to_numpy()[effect_rows]
        places[name] = effect_rows[np.minimum(np.searchsorted(token, levels), len(effect_rows) - 1)]
    columns = []
    for name in design.schema.names:
        column = design[name]
        if name in solved_columns and name not in KEYS:
            values = column.to_numpy(zero_copy_only=False)
            effect = effects[name].to_numpy()
            values = values - sum(effect[place] for place in places.values())
            dropped = ~complete if name.startswith("layer_") else None
            column = pa.array(np.where(complete, values, 0.0), mask=dropped)
        columns.append(column)
    return pa.table(columns, schema=design.schema)


def solve(
    designs: Sequence[Path],
    norms: Sequence[Path],
    effects: Sequence[str],
    path: Path,
    most_rows: int = sampling.MOST_ROWS,
) -> int:
    """Write the effects of tokens, see `solved`, and return their number."""
    table, facts = solved(designs, norms, effects, most_rows)
    record = tables.provenance(
        tables.of_all_shards(designs),
        "token_effects",
        {"effects": list(effects)},
        "numpy",
        "scipy",
        **facts,
    )
    tables.write_table(table, path, record)
    return table.num_rows


def take_out(design: Path, norms: Path, effects: Path, path: Path, products: Path) -> int:
    """Write the design of a shard without the effects from `solve`; return its number of rows.

    The cross-products of its documents are written in the same pass.
    """
    table, solved_for = pq.read_table(effects), tables.read_provenance(effects)
    tokens = tokens_of([norms])
    schema = pq.read_schema(design)
    record = tables.provenance(
        tables.read_provenance(design),
        "token_effects",
        solved_for.settings("token_effects"),
        "numpy",
        **{name: solved_for[name] for name in ("absorbed", "sample_end")},
    )

    def written() -> Iterator[pa.RecordBatch]:
        options = parquet_options(schema)
        recorded = schema.with_metadata(tables.metadata(record))
        with tables.parquet_writer(path, recorded, **options) as writer:
            for batch in tables.batches(design, tables.ROWS_AT_ONCE, "token effects"):
                rows = pa.Table.from_batches([batch])
                rows = without_effects(rows, tokens, table, solved_for["sample_end"])
                writer.write_table(rows)
                yield from rows.to_batches()
            counts = pq.read_metadata(design).metadata[tables.COUNTS_KEY]
            writer.add_key_value_metadata({tables.COUNTS_KEY: counts})

    # There is no half-panel jackknife with effects of tokens.
    sums_record = tables.provenance(record, "crossproducts", {"halves": False}, "numpy")
    crossproducts.write(written(), schema, products, sums_record)
    return pq.read_metadata(path).num_rows
