#!/usr/bin/env python3
"""Run a model over one shard of tokens and store what its sublayers add, a file per site.

The model is loaded once, and one forward pass serves all layers and sites. Rows leave in corpus
order, a row group at a time, so that memory does not grow with the shard. With ``keep: norms``
the vectors are reduced to their L2 norms on the way and never stored.
"""

import os
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from attnlag import extraction, layout, loading, program, tables
from attnlag.errors import UserError, counted
from attnlag.sources import verify_folder

# Larger row groups are read more slowly.
ROW_GROUP = 4096

parser = program.argument_parser(__doc__)
parser.add_argument("tokens", type=Path, help="the sequences (Parquet)")
parser.add_argument("--model", type=Path, required=True, help="the model's folder")
parser.add_argument(
    "--output", type=Path, nargs="+", required=True, help="one file per site, in their order"
)
parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
parser.add_argument("--batch-tokens", type=int, default=4096, help="tokens in a forward pass")
parser.add_argument("--threads", type=int, help="CPU threads (default: all)")


def main(args):
    settings = {
        "sites": ["attention"],
        "keep": "vectors",
        "dtype": "auto",
        "attention_implementation": "auto",
        "fast": "auto",
        "modules": None,
        **args.settings,
    }
    wanted = settings.pop("sites")
    if len(args.output) != len(wanted):
        raise UserError(
            f"--output: found {counted(len(args.output), 'file')}, expected one for each site: "
            f"{', '.join(wanted)}"
        )
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(min(args.threads or cores, cores))
    source = verify_folder(args.model)
    record = tables.read_provenance(args.tokens)
    rows = pq.read_table(args.tokens, columns=["document", "window", "input_ids"])
    ids = rows["input_ids"].combine_chunks()
    sequences = np.split(ids.flatten().to_numpy(), ids.offsets.to_numpy()[1:-1])
    documents, windows = rows["document"].to_pylist(), rows["window"].to_pylist()
    total = sum(map(len, sequences))

    device = loading.choose_device(args.device)
    model = loading.load_model(
        args.model,
        device,
        settings["dtype"],
        attention=settings["attention_implementation"],
        batch_tokens=args.batch_tokens,
    )
    name = f"{source['name']}, {record['corpus']['name']}"
    began = time.monotonic()
    with tqdm(
        total=total, unit="token", unit_scale=True, desc=f"{name}: tokens", mininterval=0.5
    ) as bar:
        adjustments = extraction.Adjustments(
            model,
            wanted=wanted,
            modules=settings["modules"],
            name=source["name"],
            batch_tokens=args.batch_tokens,
            keep=settings["keep"],
            fast_paths=settings["fast"] == "auto",
            progress=bar.update,
        )
        vectors = settings["keep"] == "vectors"
        width = adjustments.width if vectors else None
        schema = layout.schema(len(adjustments.blocks), width)
        with ExitStack() as files:
            writers = {}
            for site, path in zip(wanted, args.output, strict=True):
                # A file's bytes do not depend on the sites beside it.
                stage = {"site": site, **settings}
                made = tables.provenance(record, "activations", stage, "torch", "transformers")
                if not vectors:
                    made = tables.provenance(made, "norms", {})
                writers[site] = files.enter_context(
                    tables.parquet_writer(
                        path,
                        schema.with_metadata(tables.metadata(made)),
                        compression="none" if vectors else "zstd",
                        use_dictionary=["document"],
                        write_statistics=False,
                    )
                )
            for first, stop, layers in adjustments.over(sequences):
                keys = (documents[first:stop], windows[first:stop], sequences[first:stop])
                for site, writer in writers.items():
                    table = extraction.table(*keys, layers[site], schema)
                    writer.write_table(table, row_group_size=ROW_GROUP)
    program.log.info(
        "%s: %s x %d layers (%s) in %.0f s on %s (%s); "
        "block input + adjustments = block output within %.1e",
        name,
        counted(total, "token"),
        len(adjustments.blocks),
        ", ".join(wanted),
        time.monotonic() - began,
        device,
        adjustments.computed_by,
        adjustments.identity_error,
    )


if __name__ == "__main__":
    program.run(main, parser)
