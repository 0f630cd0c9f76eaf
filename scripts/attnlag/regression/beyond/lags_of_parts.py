"""Regressions of the log norms of parts of layers, with the terms of another regression.

The parts are what attention heads write, or the token itself and earlier ones. Each has a
regression of its own, as each layer has in other regressions, and one row in the table. The table
also has their sum, the adjustment; with heads also that of the tokens above the floor.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.corpus.catalogue import FILES as SHARDED
from attnlag.quantities import head_shares
from attnlag.quantities.columns import KEYS, layer_name, layer_number, layers_in
from attnlag.quantities.head_shares import ABOVE, WHOLE, at_floor, norms_of_heads
from attnlag.quantities.traced_tables import WRITTEN
from attnlag.regression.design.design import Formula
from attnlag.regression.estimation import crossproducts, merging, moments, samples
from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.estimation.moments import KeptTerms, Moments
from attnlag.regression.estimation.regress import LayerFit, fit_layer
from attnlag.regression.inference import controls, results
from attnlag.regression.settings import HeadsSettings
from attnlag.storage import tables

CONTROLS_OF_HEADS = ["random_weights", "trained"]
TEXTS = ["subset", "part", "term", "equivalence", "vcov_type"]
HEAD_COLUMNS = [*results.COLUMNS[:2], "part", *results.COLUMNS[2:], "rows", *CONTROLS_OF_HEADS]

# The table of heads without a regression.
NO_LAGS = pd.DataFrame(columns=HEAD_COLUMNS, dtype=float).astype(dict.fromkeys(TEXTS, str))

# What tokens write, beside the whole adjustment, with the columns of the norms.
NORMS = {WHOLE: "norm", **WRITTEN}

LAG_COLUMNS = [
    *("subset", "layer", "part", "term", "estimate", "uncorrected", "std_error", "df"),
    *("statistic", "p_value", "p_adjusted", "conf_low", "conf_high", "equivalence", "vcov_type"),
    "random_weights",
]


class HeadNorms(NamedTuple):
    """Norms of the heads of some tokens, and of the adjustments to them."""

    heads: Path
    norms: Path
    formula: Formula
    # Coarsest precision of the model and of stored vectors.
    precision: str = "bfloat16"


def of_heads(
    shards: Sequence[HeadNorms],
    settings: HeadsSettings,
    *,
    random: HeadNorms | None = None,
    group_of: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Fit every head of every layer, the adjustment, and the adjustment above the floor.

    One layer of one shard is in memory at a time, and the sums of one layer. Errors are clustered
    by group if groups are given. The control is compared with the trained model on the same
    documents; neither is corrected for bias.
    """
    settings = settings.from_sums()
    cells: list[tuple[int, str]] = []
    fits: list[LayerFit] = []
    of_controls: list[pd.DataFrame] = []
    kept: KeptTerms | None = None
    untrained_layers = pq.read_schema(random.heads).names if random else []
    for name in layers_in(pq.read_schema(shards[0].heads)):
        first = len(cells)
        of_shards = [
            _moments(
                norms_of_parts(shard, name, first),
                shard.formula,
                settings.halves,
                precision=shard.precision,
            )
            for shard in shards
        ]
        parts = [moments.joined(part) for part in zip(*of_shards, strict=True)]
        kept = merging.kept_terms(parts[0].terms, parts) if kept is None else kept
        fits += _fitted(parts, kept, settings, group_of)
        names = [*map(str, range(len(parts) - 2)), WHOLE, ABOVE]
        cells += [(layer_number(name), part) for part in names]
        if random and name in untrained_layers:
            norms = norms_of_parts(random, name, first)
            # The control has no part above the floor.
            norms = norms.drop_columns(norms.column_names[-1])
            untrained = _moments(norms, random.formula, precision=random.precision)
            alone = {
                model: controls.fitted_alone(own, untrained[0].clusters, settings)[0]
                for model, own in (("random_weights", untrained), ("trained", parts))
            }
            of_controls.append(pd.DataFrame(alone).dropna(subset="random_weights"))
    if not fits:
        return NO_LAGS.copy()
    table = _table_of(fits, cells, settings)
    table["rows"] = np.repeat([fit.n_obs for fit in fits], len(table) // len(fits))
    table[CONTROLS_OF_HEADS] = np.nan
    if of_controls:
        keys = pd.MultiIndex.from_product([range(len(cells)), fits[0].names])
        table[CONTROLS_OF_HEADS] = pd.concat(of_controls).reindex(keys).to_numpy()
    return table[HEAD_COLUMNS]


def _moments(
    norms: pa.Table, formula: Formula, halves: bool = False, *, precision: str
) -> list[Moments]:
    """Return the moments of a table of norms: the keys, then a column for each part."""
    batches = tables.whole_documents(norms.to_batches())
    layers = layers_in(norms.schema)
    return crossproducts.of_batches(batches, formula, layers, halves, precision)


def _fitted(
    parts: Sequence[Moments],
    kept: KeptTerms,
    settings: HeadsSettings,
    group_of: Mapping[str, str] | None = None,
) -> list[LayerFit]:
    effects = settings.fixed_effects == "document"
    fits = []
    for part in parts:
        prepared = part.prepared(kept, effects=effects, group_of=group_of)
        fits.append(fit_layer(solve(prepared), settings.covariance))
    return fits


def _table_of(
    fits: Sequence[LayerFit], cells: Sequence[tuple[int, str]], settings: HeadsSettings
) -> pd.DataFrame:
    """Return the table of `results.coefficients_table`, whose "layers" are numbers of cells.

    ``cells`` has the layer and the ``part`` of each. All are one family of tests.
    """
    table = results.coefficients_table(fits, settings)
    layers, parts = zip(*(cells[place] for place in table["layer"]), strict=True)
    return table.assign(layer=layers, part=parts)


def norms_of_parts(source: HeadNorms, name: str, first: int) -> pa.Table:
    """Return the outcomes of a layer in the form of norms by layer: the keys, then the parts.

    The parts are the heads in order, their sum, and their sum for tokens above the floor. Their
    columns are numbered from ``first``.
    """
    keys, norms = norms_of_heads(source.heads, name, KEYS)
    whole = pq.read_table(source.norms, columns=[name])[name].to_numpy()
    floor = at_floor(norms, keys["position"].to_numpy())
    values = [*norms.T, whole, np.where(floor, np.nan, whole)]
    names = [layer_name(first + place) for place in range(len(values))]
    return pa.table([*keys.columns, *map(pa.array, values)], names=[*KEYS, *names])


def shares_and_lags(
    heads: Sequence[Path],
    norms: Sequence[Path],
    sinks: Sequence[Path],
    files: Mapping[str, Any],
    settings: HeadsSettings,
    group_of: Mapping[str, str] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, samples.Sample]:
    """Return the shares and the coefficients of all heads, and the sample of documents they are of.

    They are from the files of all shards; other ``files`` are as in `of_files`. Shares of attention
    are of all documents of the sinks. Without a design, there are no coefficients.
    """
    sample, lags = samples.Sample(heads), NO_LAGS.copy()
    documents, with_sinks = sample.documents if sample.end else None, heads
    with tempfile.TemporaryDirectory() as folder:
        if documents is not None:
            in_sinks = set[str]().union(*map(tables.document_names, sinks))
            heads = samples.copied(heads, documents, Path(folder, "heads"))
            norms = samples.copied(norms, documents, Path(folder, "norms"))
            with_sinks = samples.copied(with_sinks, sorted(in_sinks), Path(folder, "sinks"))
        shares = head_shares.table(heads, norms, sinks, with_sinks, drop_first=settings.drop_first)
        if settings.design is not None:
            lags = of_files(heads, norms, files, documents, settings, group_of)
    return shares.assign(sampled=documents is not None), lags, sample


def of_files(
    heads: Sequence[Path],
    norms: Sequence[Path],
    files: Mapping[str, Any],
    documents: Sequence[str] | None,
    settings: HeadsSettings,
    group_of: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Return the coefficients of all heads, as `of_heads` does, from the files of all shards.

    The files of heads and norms may have some ``documents`` only; other ``files`` are what
    covariates and the control need.
    """
    assert settings.design is not None
    sharded = {name: files[name] for name in SHARDED if files[name]}
    shards = []
    for shard, paths in enumerate(zip(heads, norms, strict=True)):
        if documents and not pq.read_metadata(paths[0]).num_rows:
            continue
        of_shard = {name: of_shards[shard] for name, of_shards in sharded.items()}
        formula = Formula.read(settings.design, {**files, **of_shard}, documents)
        precision = tables.read_provenance(paths[0]).precision
        shards.append(HeadNorms(*paths, formula, precision))
    random = None
    if files["random_weights"]:
        documents_of_control = tables.document_names(files["random_weights"])
        formula = Formula.read(settings.design, files, documents_of_control)
        precision = tables.read_provenance(files["random_weights"]).precision
        random = HeadNorms(
            files["random_weights"], files["random_weights_norms"], formula, precision
        )
    return of_heads(shards, settings, random=random, group_of=group_of)


def of_sources(
    rows: pd.DataFrame,
    random: pd.DataFrame | None,
    settings: HeadsSettings,
    precision: str = "bfloat16",
) -> pd.DataFrame:
    """Return the coefficients of the log norms of adjustments, and of what tokens write.

    All layers and parts (`NORMS`) are fitted with the same terms. ``random_weights`` is not
    corrected for bias, as ``uncorrected``. ``precision`` is the coarsest of the model and of stored
    vectors, trained or not.
    """
    assert settings.design is not None
    formula = Formula(settings.design, {})
    settings = settings.by_document()
    layers = sorted(map(int, rows["layer"].unique()))
    cells = [(layer, part) for part in NORMS for layer in layers]

    def norms_of(tokens: pd.DataFrame) -> pa.Table:
        wide = tokens.pivot(index=KEYS, columns="layer", values=list(NORMS.values()))
        # Sequences in their order, which the index of a pivot loses.
        keys = tokens.drop_duplicates(KEYS)[KEYS]
        wide = wide.reindex(pd.MultiIndex.from_frame(keys))
        table = pa.Table.from_pandas(keys, preserve_index=False)
        for place, (layer, part) in enumerate(cells):
            values = wide[NORMS[part], layer].to_numpy(dtype=np.float32)
            table = table.append_column(layer_name(place), pa.array(values))
        return table

    parts = _moments(norms_of(rows), formula, settings.halves, precision=precision)
    fits = _fitted(parts, merging.kept_terms(parts[0].terms, parts), settings)
    table = _table_of(fits, cells, settings)
    table["random_weights"] = np.nan
    if random is not None and len(random):
        drawn = _moments(norms_of(random), formula, precision=precision)
        untrained, _ = controls.fitted_alone(drawn, drawn[0].clusters, settings)
        keys = pd.MultiIndex.from_product([range(len(cells)), fits[0].names])
        table["random_weights"] = untrained.reindex(keys).to_numpy()
    return table[LAG_COLUMNS]
