#!/usr/bin/env python3
"""Run a model with random weights over some documents and store norms and directions per site.

The architecture and the tokenizer are those of the model; the weights are as they are before any
training. The regressions of these norms show what the architecture alone gives. Where vectors are
kept, the vectors of these documents are stored too. Further draws of the weights have norms alone,
of fewer documents.
"""

from contextlib import ExitStack
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import attnlag.pipeline.program as program

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from attnlag.adjustments import columns, directions
from attnlag.adjustments.norms import l2_norms
from attnlag.adjustments.settings import RandomWeightsSettings
from attnlag.corpus.documents import first_of_groups, of_draws
from attnlag.errors import counted
from attnlag.model.folder import verify_folder
from attnlag.storage import tables

# Rows per row group of vectors.
ROWS = 4096


def main(job):
    # These import transformers, which reads the settings of the network on import.
    from attnlag.adjustments import extraction, geometry, heads, layout
    from attnlag.model import loading, random_weights
    from attnlag.model.hooks import STREAM

    settings, run = job.settings, job.settings.extraction
    folder = Path(job.options.folder)
    threads = program.usable_threads(job.threads)
    torch.set_num_threads(threads)
    source = verify_folder(folder)
    shards = job.input.tokens
    record = tables.of_all_shards(shards)
    chosen = list(islice(first_of_groups(job.input.corpus), settings.documents))
    device = loading.choose_device(job.options.device)
    precision = loading.choose_dtype(folder, device, run.dtype)
    whole = random_weights.drawn_model(folder, settings.seed, run.attention_implementation)
    model = whole.base_model.to(device, precision).eval()
    name = f"{source['name']}, {record['corpus']['name']}, random weights"
    vectors, stored = run.keep == "vectors", run.storage_dtype or "float32"

    def made(kind):
        used = {"device": device.type, "dtype": str(precision).removeprefix("torch.")}
        stated = asdict(settings) | {"site": kind.partition(":")[0], "used": used}
        return tables.provenance(record, "random_weights", stated, "torch", "transformers")

    with TemporaryDirectory() as place, ExitStack() as files:
        sequences = pa.concat_tables(
            pq.read_table(path, filters=pc.field("document").isin(chosen)) for path in shards
        ).unify_dictionaries()
        path = Path(place, "tokens.parquet")
        pq.write_table(sequences, path)
        total = pc.sum(pc.list_value_length(sequences["input_ids"])).as_py() or 0
        with tqdm(total=total, unit="token", unit_scale=True, desc=f"{name}: tokens") as bar:
            adjustments = extraction.Adjustments(
                model,
                wanted=run.sites,
                modules=run.modules,
                name=source["name"],
                batch_tokens=job.options.batch_tokens,
                threads=threads,
                keep=run.keep,
                fast=run.fast,
                progress=bar.update,
                turns=run.geometry,
                by_head=run.heads,
            )
            count = len(adjustments.blocks)
            schemas = dict.fromkeys((*run.sites, STREAM), columns.schema(count))
            outputs = dict(zip(schemas, [*job.output.sites, job.output.stream], strict=True))
            turns = {site: geometry.rows_of(site) for site in run.sites if run.geometry}
            schemas |= dict.fromkeys(turns.values(), geometry.schema(count))
            outputs |= dict(zip(turns.values(), job.output.geometry, strict=True))
            parts: dict[str, list[pa.Table]] = {name: [] for name in schemas}
            wide = columns.schema(count, adjustments.width, stored)
            writers = {
                site: files.enter_context(
                    tables.parquet_writer(
                        path_of_vectors,
                        wide.with_metadata(tables.metadata(made(site))),
                        **layout.encoding(wide, stored),
                    )
                )
                for site, path_of_vectors in zip(run.sites, job.output.vectors, strict=vectors)
            }

            def keep(sequences, layers):
                # Heads have been proved by now.
                if adjustments.heads:
                    parts.setdefault(heads.ROWS, [])
                    schemas[heads.ROWS] = columns.schema(count, adjustments.heads[0].count)
                for kind, found in parts.items():
                    values = layers[kind]
                    if kind in writers:
                        table = layout.table(sequences, values, wide, stored)
                        writers[kind].write_table(table, row_group_size=ROWS)
                        values = [l2_norms(value) for value in values]
                    # Copied, because the arrays are overwritten by later calls.
                    values = [value.copy() for value in values]
                    if kind in turns.values():
                        values = geometry.columns_of(values)
                    found.append(layout.table(sequences, values, schemas[kind], "float32"))

            extraction.write_runs(path, adjustments, keep)
        del model, whole
        further = settings.draws - 1
        few = of_draws(chosen, settings.documents, settings.draws)[-1]
        pq.write_table(sequences.filter(pc.field("document").isin(few)), path)
        for draw in range(further):
            whole = random_weights.drawn_model(
                folder, settings.seed + 1 + draw, run.attention_implementation
            )
            # The first draw has proved the sites. Packed weights would not pay for few tokens.
            again = extraction.Adjustments(
                whole.base_model.to(device, precision).eval(),
                wanted=run.sites,
                modules=run.modules,
                name=source["name"],
                batch_tokens=job.options.batch_tokens,
                threads=threads,
                keep="norms",
                proved=adjustments,
            )
            norms = {site: [columns.schema(count).empty_table()] for site in (*run.sites, STREAM)}

            def keep_norms(sequences, layers, norms=norms):
                for site, found in norms.items():
                    values = [value.copy() for value in layers[site]]
                    found.append(layout.table(sequences, values, found[0].schema, "float32"))

            extraction.write_runs(path, again, keep_norms)
            files_of_draw = [*job.output.draws[draw::further], job.output.draws_stream[draw]]
            for (site, found), output in zip(norms.items(), files_of_draw, strict=True):
                table = pa.concat_tables(found).unify_dictionaries()
                tables.write_table(table, output, made(site) | {"draw": 1 + draw})
    if run.heads:
        outputs[heads.ROWS] = job.output.heads
        schemas.setdefault(heads.ROWS, columns.schema(0))
        parts.setdefault(heads.ROWS, [])
    of_centred = zip(
        run.sites, job.output.vectors, job.output.centred, job.output.distances, strict=False
    )
    for site, path_of_vectors, *others in of_centred:
        cosines, distances = centred(path_of_vectors)
        of_tokens, by_distance = f"{site}: centred", f"{site}: distances"
        outputs |= dict(zip((of_tokens, by_distance), others, strict=True))
        schemas |= {of_tokens: directions.schema(count), by_distance: distances.schema}
        parts |= {of_tokens: cosines, by_distance: [distances]}
    for kind, output in outputs.items():
        table = pa.concat_tables([schemas[kind].empty_table(), *parts[kind]]).unify_dictionaries()
        tables.write_table(table, output, made(kind))
    program.log.info(
        "%s: %s of %s x %d layers",
        name,
        counted(total, "token"),
        counted(len(chosen), "document"),
        count,
    )


def centred(path):
    """Return the centred cosines of stored vectors by row group, and their sums by distance.

    The sums leave out only the first token of a sequence, independent of ``norms.drop_first``.
    """
    file = pq.ParquetFile(path, pre_buffer=False)
    layers = columns.layers_in(file.schema_arrow)
    width = file.schema_arrow.field(layers[0]).type.list_size
    sums = directions.VectorSums.empty(len(layers), width)
    for group in range(file.num_row_groups):
        position = file.read_row_group(group, columns=["position"])["position"].to_numpy()
        for layer, name in enumerate(layers):
            sums.add(layer, directions.vectors_of(file, group, name), position)
    comparison = directions.Comparison(file, sums.means(), 1)
    return list(comparison.previous()), comparison.by_distance()


if __name__ == "__main__":
    program.run(main, RandomWeightsSettings)
