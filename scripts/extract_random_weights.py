#!/usr/bin/env python3
"""Run a model with random weights over some documents and store the norms, in one file per site.

The architecture and the tokenizer are those of the model; the weights are as they are before any
training. The regressions of these norms show what the architecture alone gives. Where vectors are
kept, the vectors of these documents are stored too.
"""

from contextlib import ExitStack
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from attnlag.adjustments import columns
from attnlag.adjustments.settings import RandomWeightsSettings
from attnlag.corpus.documents import first_of_groups
from attnlag.errors import counted
from attnlag.model.folder import verify_folder
from attnlag.pipeline import program
from attnlag.storage import tables

# Rows of a row group of vectors.
ROWS = 4096

parser = program.argument_parser(__doc__, RandomWeightsSettings)
parser.add_argument("tokens", type=Path, help="the sequences, first shard; others lie beside it")
parser.add_argument("--corpus", type=Path, required=True, help="the corpus (Parquet)")
parser.add_argument("--model", type=Path, required=True, help="the trained model's folder")
parser.add_argument(
    "--output", type=Path, nargs="+", required=True, help="one file per site, in their order"
)
parser.add_argument(
    "--vectors", type=Path, nargs="*", default=[], help="likewise, for vectors; none: no vectors"
)
parser.add_argument(
    "--stream", type=Path, required=True, help="file for the norms of what each block receives"
)
program.add_model_options(parser, batch_tokens=4096)


def main(args):
    # These import transformers, which reads at once whether it may use the network.
    from attnlag.adjustments import extraction
    from attnlag.adjustments.norms import l2_norms
    from attnlag.model import loading, random_weights
    from attnlag.model.hooks import STREAM

    settings, run = args.settings, args.settings.extraction
    threads = program.usable_threads(args.threads)
    torch.set_num_threads(threads)
    source = verify_folder(args.model)
    shards = tables.shards(args.tokens)
    record = tables.of_all_shards(tables.read_provenance(shards[0]))
    chosen = list(islice(first_of_groups(args.corpus), settings.documents))
    device = loading.choose_device(args.device)
    precision = loading.choose_dtype(args.model, device, run.dtype)
    whole = random_weights.drawn_model(args.model, settings.seed, run.attention_implementation)
    model = whole.base_model.to(device, precision).eval()
    name = f"{source['name']}, {record['corpus']['name']}, random weights"
    vectors, stored = run.keep == "vectors", run.storage_dtype or "float32"

    def made(site):
        stated = asdict(settings) | {"site": site}
        return tables.provenance(record, "random_weights", stated, "torch", "transformers")

    with TemporaryDirectory() as folder, ExitStack() as files:
        sequences = pa.concat_tables(
            pq.read_table(path, filters=pc.field("document").isin(chosen)) for path in shards
        ).unify_dictionaries()
        path = Path(folder, "tokens.parquet")
        pq.write_table(sequences, path)
        total = pc.sum(pc.list_value_length(sequences["input_ids"])).as_py() or 0
        with tqdm(total=total, unit="token", unit_scale=True, desc=f"{name}: tokens") as bar:
            adjustments = extraction.Adjustments(
                model,
                wanted=run.sites,
                modules=run.modules,
                name=source["name"],
                batch_tokens=args.batch_tokens,
                threads=threads,
                keep=run.keep,
                fast=run.fast,
                progress=bar.update,
            )
            schema = columns.schema(len(adjustments.blocks))
            parts: dict[str, list[pa.Table]] = {site: [] for site in (*run.sites, STREAM)}

            wide = columns.schema(len(adjustments.blocks), adjustments.width, stored)
            writers = {
                site: files.enter_context(
                    tables.parquet_writer(
                        path_of_vectors,
                        wide.with_metadata(tables.metadata(made(site))),
                        **extraction.encoding(wide, stored),
                    )
                )
                for site, path_of_vectors in zip(run.sites, args.vectors, strict=vectors)
            }

            def keep(sequences, layers):
                for site, tables_of_site in parts.items():
                    if site in writers:
                        table = extraction.table(sequences, layers[site], wide, stored)
                        writers[site].write_table(table, row_group_size=ROWS)
                    # The arrays are used again for what follows.
                    norms = [
                        values.copy() if values.ndim == 1 else l2_norms(values)
                        for values in layers[site]
                    ]
                    tables_of_site.append(extraction.table(sequences, norms, schema, "float32"))

            extraction.write_runs(path, adjustments, keep)
    for site, output in zip(parts, [*args.output, args.stream], strict=True):
        table = pa.concat_tables([schema.empty_table(), *parts[site]]).unify_dictionaries()
        tables.write_table(table, output, made(site))
    program.log.info(
        "%s: %s of %s x %d layers",
        name,
        counted(total, "token"),
        counted(len(chosen), "document"),
        len(adjustments.blocks),
    )


if __name__ == "__main__":
    program.run(main, parser)
