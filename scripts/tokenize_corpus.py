#!/usr/bin/env python3
"""Tokenize one shard of a corpus.

One row per sequence: a document, or a window of a document that is longer than the model's
context. Offsets into the text are kept, so that every token can be traced to its characters.
"""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from attnlag import program, tables, tokens
from attnlag.errors import UserError, counted
from attnlag.sources import verify_folder

parser = program.argument_parser(__doc__)
parser.add_argument("corpus", type=Path, help="the corpus (Parquet)")
parser.add_argument("--model", type=Path, required=True, help="the model's folder")
parser.add_argument("--shard", type=int, default=0, help="which shard, from 0")
parser.add_argument("--output", type=Path, required=True)


def main(args):
    settings = {
        "max_length": None,
        "long_documents": "split",
        "prepend_bos": "auto",
        "shards": 1,
        **args.settings,
    }
    source = verify_folder(args.model)
    corpus = pq.read_table(args.corpus)
    record = tables.read_provenance(args.corpus)
    name = record["corpus"]["name"]
    if settings["shards"] > corpus.num_rows:
        raise UserError(
            f"corpora.{name}.shards: found {settings['shards']}, expected at most "
            f"{corpus.num_rows}: the corpus has {counted(corpus.num_rows, 'document')}"
        )
    characters = np.asarray(pc.utf8_length(corpus["text"]))
    bounds = tokens.shard_bounds(characters, settings["shards"])
    shard = corpus.slice(bounds[args.shard], bounds[args.shard + 1] - bounds[args.shard])

    limits = [settings["max_length"], tokens.context_length(args.model)]
    table, counts = tokens.tokenize(
        shard["document"].to_pylist(),
        shard["text"].to_pylist(),
        tokens.load_tokenizer(args.model),
        max_length=min((limit for limit in limits if limit), default=None),
        long_documents=settings["long_documents"],
        prepend_bos=settings["prepend_bos"],
    )
    identity = ("name", "source", "revision", "digest", "of", "seed")
    model = {key: source[key] for key in identity if key in source}
    record = tables.provenance(
        record, "tokens", settings, "transformers", "tokenizers", model=model, tokens=counts
    )
    tables.write_table(table, args.output, record)
    program.log.info(
        "%s, %s: %s, %s in %s (%s split, %s truncated)",
        source["name"],
        name,
        counted(counts["documents"], "document"),
        counted(counts["tokens"], "token"),
        counted(counts["sequences"], "sequence"),
        counted(counts["split"], "document"),
        counts["truncated"],
    )


if __name__ == "__main__":
    program.run(main, parser)
