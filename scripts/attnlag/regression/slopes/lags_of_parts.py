"""Regressions of the log norms of parts of layers, with the terms of another regression.

The parts are what attention heads write, or the token itself and earlier ones. Each has a
regression of its own, as each layer has in other regressions, and one row in the table. The table
also has their sum, the adjustment; with heads also that of the tokens above the floor.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.corpus.catalogue import FILES as SHARDED
from attnlag.quantities.columns import KEYS, layer_number, layers_in
from attnlag.quantities.head_shares import ABOVE, WHOLE, at_floor, norms_of_heads
from attnlag.quantities.traced_tables import WRITTEN
from attnlag.regression.design import samples
from attnlag.regression.design.design import Formula
from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.inference import controls, fallbacks, layer_fit
from attnlag.regression.inference.layer_fit import LayerFit, fit_layer
from attnlag.regression.moments import merging
from attnlag.regression.moments.in_memory import joined, moments_of_numbers
from attnlag.regression.moments.moments import KeptTerms, Moments
from attnlag.regression.settings import LagsOfPartsSettings
from attnlag.regression.units import Unit
from attnlag.storage import tables

CONTROLS_OF_HEADS = ["untrained", "trained"]
TEXTS = ["subset", "part", "term", "equivalence", "vcov_type"]
HEAD_COLUMNS = [*layer_fit.COLUMNS[:2], "part", *layer_fit.COLUMNS[2:], "rows", *CONTROLS_OF_HEADS]

# The table of heads without a regression.
NO_LAGS = pd.DataFrame(columns=HEAD_COLUMNS, dtype=float).astype(dict.fromkeys(TEXTS, str))

# What tokens write, beside the whole adjustment, with the columns of the norms.
NORMS = {WHOLE: "norm", **WRITTEN}

LAG_COLUMNS = [
    *("subset", "layer", "part", "term", "estimate", "uncorrected", "std_error", "df"),
    *("statistic", "p_value", "p_adjusted", "conf_low", "conf_high", "level", "equivalence"),
    *("vcov_type", "untrained"),
]


@dataclass(frozen=True)
class HeadNorms:
    """Norms of the heads of some tokens, and of the adjustments to them."""

    heads: Path
    norms: Path
    formula: Formula
    # Coarsest precision of the model and of stored vectors.
    precision: str = "bfloat16"


def fit_heads(
    shards: Sequence[HeadNorms],
    settings: LagsOfPartsSettings,
    *,
    random: HeadNorms | None = None,
    group_of: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Fit every head of every layer, the adjustment, and the adjustment above the floor.

    One layer of one shard is in memory at a time, and the sums of one layer. Errors are clustered
    by group if groups are given. The control is compared with the trained model on the same
    documents; neither is corrected for bias.

    Returns a row per layer, part and term, with `HEAD_COLUMNS`. ``untrained`` and ``trained``
    are NaN without the control and where it cannot be fitted.
    """
    settings = fallbacks.from_sums(settings)
    fits: list[LayerFit] = []
    compared: list[pd.DataFrame] = []
    kept: KeptTerms | None = None
    untrained_layers = pq.read_schema(random.heads).names if random else []
    for name in layers_in(pq.read_schema(shards[0].heads)):
        moments_by_shard = [_moments_of_heads(shard, name, settings.halves) for shard in shards]
        parts = [joined(moments) for moments in zip(*moments_by_shard, strict=True)]
        if kept is None:
            kept = merging.kept_terms(parts[0].terms, parts)
        fits += _fit_parts(parts, kept, settings, group_of)
        if random and name in untrained_layers:
            # The control has no part above the floor.
            untrained = _moments_of_heads(random, name)[:-1]
            compared.append(_beside_untrained(untrained, parts, settings))
    if not fits:
        return NO_LAGS.copy()
    table = layer_fit.coefficients_table(fits, settings)
    table["rows"] = np.repeat([fit.n_obs for fit in fits], len(fits[0].names))
    if compared:
        table = table.merge(pd.concat(compared), on=["layer", "part", "term"], how="left")
    else:
        table[CONTROLS_OF_HEADS] = np.nan
    return table[HEAD_COLUMNS]


def _moments_of_heads(shard: HeadNorms, name: str, halves: bool = False) -> list[Moments]:
    """Return the moments of the parts of a layer: heads, their sum, their sum above the floor."""
    norms = norms_of_parts(shard, name)
    layer = layer_number(name)
    units = [Unit(layer, part) for part in norms.column_names[len(KEYS) :]]
    return _moments(norms, units, shard.formula, halves, precision=shard.precision)


def _moments(
    norms: pa.Table,
    units: Sequence[Unit],
    formula: Formula,
    halves: bool = False,
    *,
    precision: str,
) -> list[Moments]:
    """Return the moments of a table of norms: the keys, then a column for each unit."""
    named = norms.rename_columns([*KEYS, *(unit.column for unit in units)])
    batches = tables.whole_documents(named.to_batches())
    return moments_of_numbers(batches, formula, units, halves, precision)


def _fit_parts(
    parts: Sequence[Moments],
    kept: KeptTerms,
    settings: LagsOfPartsSettings,
    group_of: Mapping[str, str] | None = None,
) -> list[LayerFit]:
    """Return the regression of each part."""
    fixed_effects = settings.fixed_effects == "document"
    fits = []
    for part in parts:
        prepared = part.with_terms(kept).prepared(fixed_effects=fixed_effects)
        if group_of is not None:
            prepared = prepared.by_group(group_of)
        fits.append(fit_layer(solve(prepared), settings.covariance))
    return fits


def _beside_untrained(
    untrained: Sequence[Moments], trained: Sequence[Moments], settings: LagsOfPartsSettings
) -> pd.DataFrame:
    """Return the coefficients before and after training by layer, part and term.

    Both are of the documents of the control. Terms without a coefficient before training have no
    row.
    """
    documents = untrained[0].clusters
    keys = ["layer", "part", "term"]
    before = controls.coefficients_by_unit(controls.fit_alone(untrained, documents, settings))
    after = controls.coefficients_by_unit(controls.fit_alone(trained, documents, settings))
    before = before.rename(columns={"estimate": "untrained"})
    after = after.rename(columns={"estimate": "trained"})
    return before.dropna(subset="untrained").merge(after, on=keys, how="left")


def norms_of_parts(source: HeadNorms, name: str) -> pa.Table:
    """Return the outcomes of the parts of a layer: the keys, then a column for each part.

    The parts are the heads by number, their sum, and their sum for tokens above the floor.
    """
    keys, norms = norms_of_heads(source.heads, name, KEYS)
    whole = pq.read_table(source.norms, columns=[name])[name].to_numpy()
    floor = at_floor(norms, keys["position"].to_numpy())
    columns = keys.columns
    for head_norms in norms.T:
        columns.append(pa.array(head_norms))
    columns.append(pa.array(whole))
    columns.append(pa.array(np.where(floor, np.nan, whole)))
    heads = [str(head) for head in range(norms.shape[1])]
    return pa.table(columns, names=[*KEYS, *heads, WHOLE, ABOVE])


@dataclass(frozen=True)
class SampledFiles:
    """Files of all shards with the documents of a large corpus that stand for it, or with all."""

    heads: Sequence[Path]
    norms: Sequence[Path]
    # The files of heads with all documents whose attention to first tokens is known.
    heads_of_sinks: Sequence[Path]
    # The documents of the sample; None: all.
    documents: Sequence[str] | None = None
    # As of `samples.Sample`.
    end: str = ""


@contextmanager
def sample_if_large(
    heads: Sequence[Path], norms: Sequence[Path], sinks: Sequence[Path]
) -> Iterator[SampledFiles]:
    """Give the files of heads and norms; those of a sample of documents if the corpus is large.

    The copies with the sample are removed when the context is left. Shares of attention are of all
    documents of the sinks.
    """
    sample = samples.Sample(heads)
    if not sample.end:
        yield SampledFiles(heads, norms, heads)
        return
    in_sinks = set[str]().union(*map(tables.document_names, sinks))
    with tempfile.TemporaryDirectory() as folder:
        yield SampledFiles(
            heads=samples.copied(heads, sample.documents, Path(folder, "heads")),
            norms=samples.copied(norms, sample.documents, Path(folder, "norms")),
            heads_of_sinks=samples.copied(heads, sorted(in_sinks), Path(folder, "sinks")),
            documents=sample.documents,
            end=sample.end,
        )


def fit_head_files(
    sample: SampledFiles,
    files: Mapping[str, Any],
    settings: LagsOfPartsSettings,
    group_of: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Return the coefficients of all heads, as `fit_heads` does, from the files of all shards.

    Heads and norms are those of the sample. Among the other ``files``, by name, are ``untrained``
    and ``untrained_norms`` (heads and norms of the control, or empty), and what covariates need:
    ``corpus``, ``token_counts``, and of each shard ``token_properties`` and ``surprisal``. The
    table has no rows if there is no design.
    """
    if settings.design is None:
        return NO_LAGS.copy()
    sharded = {name: files[name] for name in SHARDED if files[name]}
    shards = []
    for shard, paths in enumerate(zip(sample.heads, sample.norms, strict=True)):
        if sample.documents and not pq.read_metadata(paths[0]).num_rows:
            continue
        own = {name: paths_of_shards[shard] for name, paths_of_shards in sharded.items()}
        formula = Formula.read(settings.design, {**files, **own}, sample.documents)
        precision = tables.read_provenance(paths[0]).precision
        shards.append(HeadNorms(*paths, formula, precision))
    random = None
    if files["untrained"]:
        documents_of_control = tables.document_names(files["untrained"])
        formula = Formula.read(settings.design, files, documents_of_control)
        precision = tables.read_provenance(files["untrained"]).precision
        random = HeadNorms(files["untrained"], files["untrained_norms"], formula, precision)
    return fit_heads(shards, settings, random=random, group_of=group_of)


def fit_sources(
    rows: pd.DataFrame,
    random: pd.DataFrame | None,
    settings: LagsOfPartsSettings,
    precision: str = "bfloat16",
) -> pd.DataFrame:
    """Return the coefficients of the log norms of adjustments, and of what tokens write.

    All layers and parts (`NORMS`) are fitted with the same terms. ``untrained`` is not
    corrected for bias, as ``uncorrected``; it is NaN without the control. ``precision`` is the
    coarsest of the model and of stored vectors, trained or not.
    """
    assert settings.design is not None
    formula = Formula(settings.design, {})
    settings = fallbacks.by_document(settings)
    layers = sorted(map(int, rows["layer"].unique()))
    units = [Unit(layer, part) for part in NORMS for layer in layers]
    norms = _norms_by_unit(rows, units)
    parts = _moments(norms, units, formula, settings.halves, precision=precision)
    fits = _fit_parts(parts, merging.kept_terms(parts[0].terms, parts), settings)
    table = layer_fit.coefficients_table(fits, settings)
    table["untrained"] = np.nan
    if random is not None and len(random):
        drawn = _moments(_norms_by_unit(random, units), units, formula, precision=precision)
        fitted = controls.fit_alone(drawn, drawn[0].clusters, settings)
        before = controls.coefficients_by_unit(fitted)
        before = before.rename(columns={"estimate": "untrained"})
        keys = ["layer", "part", "term"]
        table = table.drop(columns="untrained").merge(before, on=keys, how="left")
    return table[LAG_COLUMNS]


def _norms_by_unit(tokens: pd.DataFrame, units: Sequence[Unit]) -> pa.Table:
    """Return the norms of a table with a row per token and layer: keys, a column for each unit."""
    wide = tokens.pivot(index=KEYS, columns="layer", values=list(NORMS.values()))
    # Sequences in their order, which the index of a pivot loses.
    keys = tokens.drop_duplicates(KEYS)[KEYS]
    wide = wide.reindex(pd.MultiIndex.from_frame(keys))
    table = pa.Table.from_pandas(keys, preserve_index=False)
    for unit in units:
        values = wide[NORMS[unit.part], unit.layer].to_numpy(dtype=np.float32)
        table = table.append_column(unit.column, pa.array(values))
    return table
