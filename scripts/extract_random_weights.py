#!/usr/bin/env python3
"""Run a model with random weights over some documents and store norms and directions per site.

The architecture and the tokenizer are the model's own; the weights are as they are before any
training. What the regressions find here, the architecture gives for nothing.
"""

from dataclasses import asdict
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from attnlag.adjustments import columns, directions
from attnlag.adjustments.norms import l2_norms
from attnlag.adjustments.settings import RandomWeightsSettings
from attnlag.corpus.documents import first_of_groups
from attnlag.errors import counted
from attnlag.model.folder import verify_folder
from attnlag.pipeline import program
from attnlag.storage import tables

parser = program.argument_parser(__doc__, RandomWeightsSettings)
parser.add_argument("tokens", type=Path, help="the sequences, first shard; others lie beside it")
parser.add_argument("--corpus", type=Path, required=True, help="the corpus (Parquet)")
parser.add_argument("--model", type=Path, required=True, help="the trained model's folder")
parser.add_argument(
    "--output", type=Path, nargs="+", required=True, help="one file per site, in their order"
)
parser.add_argument(
    "--stream", type=Path, required=True, help="file for the norms of what each block receives"
)
parser.add_argument(
    "--geometry", type=Path, nargs="*", default=[], help="likewise, one file per site, if asked for"
)
parser.add_argument(
    "--centred", type=Path, nargs="*", default=[], help="likewise, for centred cosines"
)
program.add_model_options(parser, batch_tokens=4096)


def main(args):
    # These import transformers, which reads at once whether it may use the network.
    from attnlag.adjustments import extraction, geometry
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
    # Vectors need the room that results have.
    with TemporaryDirectory(dir=args.output[0].parent if settings.centred else None) as folder:
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
                keep="vectors" if settings.centred else "norms",
                fast=run.fast,
                progress=bar.update,
                turns=run.geometry,
            )
            count = len(adjustments.blocks)
            schemas = dict.fromkeys((*run.sites, STREAM), columns.schema(count))
            outputs = dict(zip(schemas, [*args.output, args.stream], strict=True))
            turns = {site: geometry.rows_of(site) for site in run.sites if run.geometry}
            schemas |= dict.fromkeys(turns.values(), geometry.schema(count))
            outputs |= dict(zip(turns.values(), args.geometry, strict=True))
            parts: dict[str, list[pa.Table]] = {name: [] for name in schemas}
            vectors = Vectors(
                run.sites if settings.centred else (), count, adjustments.width, folder
            )

            def keep(sequences, layers):
                for name, found in parts.items():
                    # The arrays are used again for what follows.
                    values = [values.copy() for values in layers[name]]
                    if name in turns.values():
                        values = geometry.columns_of(values)
                    elif values[0].ndim > 1:
                        values = [l2_norms(value) for value in values]
                    found.append(extraction.table(sequences, values, schemas[name], "float32"))
                for site in vectors.writers:
                    table = extraction.table(sequences, layers[site], vectors.schema, "float32")
                    vectors.add(site, table, layers[site])

            extraction.write_runs(path, adjustments, keep)
        for site, output in zip(run.sites, args.centred, strict=False):
            name = f"{site}: centred"
            schemas[name], outputs[name] = directions.schema(count), output
            parts[name] = vectors.centred(site)
    for name, output in outputs.items():
        made = tables.provenance(
            record,
            "random_weights",
            asdict(settings) | {"site": name.partition(":")[0]},
            *("torch", "transformers"),
        )
        table = pa.concat_tables([schemas[name].empty_table(), *parts[name]]).unify_dictionaries()
        tables.write_table(table, output, made)
    program.log.info(
        "%s: %s of %s x %d layers",
        name,
        counted(total, "token"),
        counted(len(chosen), "document"),
        count,
    )


class Vectors:
    """Vectors of the sites, in files for as long as their means are not known."""

    def __init__(self, sites, layers, width, folder):
        self.schema = columns.schema(layers, width)
        self.paths = {site: Path(folder, f"{site}.parquet") for site in sites}
        self.writers = {
            site: pq.ParquetWriter(path, self.schema, compression="none", use_dictionary=False)
            for site, path in self.paths.items()
        }
        self.sums = {site: directions.VectorSums.empty(layers, width) for site in sites}

    def add(self, site, table, layers):
        """Keep the vectors of some sequences, a (tokens, width) array per layer."""
        self.writers[site].write_table(table)
        for layer, vectors in enumerate(layers):
            self.sums[site].add(layer, vectors, table["position"].to_numpy())

    def centred(self, site):
        """Return the centred cosines of a site, a table for each run of sequences."""
        self.writers[site].close()
        sums = self.sums[site]
        means = sums.sums / np.maximum(sums.tokens, 1)[:, None]
        file = pq.ParquetFile(self.paths[site], pre_buffer=False)
        return list(directions.Comparison(file, means, 0).previous())


if __name__ == "__main__":
    program.run(main, parser)
