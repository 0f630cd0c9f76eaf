#!/usr/bin/env python3
"""Tokenize one shard of a corpus.

One row per sequence: a document, or a window of a document that is longer than the model's
context. Offsets into the text are kept, so that every token can be traced to its characters.
"""

from pathlib import Path

import attnlag.pipeline.program as program

import numpy as np

from attnlag.corpus import tokens
from attnlag.corpus.documents import shards_problem, stored_batches
from attnlag.corpus.settings import TokensSettings
from attnlag.errors import UserError, counted
from attnlag.model.folder import verify_folder
from attnlag.storage import tables

# Messages about text that looks like a control token.
LIKE_SPECIAL = {
    "text": "; {} that look like control tokens, read as text",
    "token": "; {} read as control tokens",
    "refuse": "",
}


def main(job):
    settings, folder = job.settings, Path(job.options.folder)
    source = verify_folder(folder)
    record = tables.read_provenance(job.input.corpus)
    name = record["corpus"]["name"]
    documents = record["corpus"]["documents"]
    if problem := shards_problem(name, settings.shards, documents):
        raise UserError(problem)
    start, stop = 0, documents
    if settings.shards > 1:
        texts = stored_batches(job.input.corpus, columns=["text"])
        sizes = [tokens.about_tokens(batch.column("text")) for batch in texts]
        bounds = tokens.shard_bounds(np.concatenate(sizes), settings.shards)
        start, stop = bounds[int(job.names.shard) :][:2]

    limits = [settings.max_length, source["context_length"]]
    counts: dict[str, int] = {}
    parts = tokens.tokenize(
        (
            (batch.column("document").to_pylist(), batch.column("text").to_pylist())
            for batch in stored_batches(job.input.corpus, start, stop)
        ),
        tokens.load_tokenizer(folder),
        counts,
        max_length=min((limit for limit in limits if limit), default=None),
        long_documents=settings.long_documents,
        prepend_bos=settings.prepend_bos,
        special_in_text=settings.special_in_text,
    )
    identity = ("name", "source", "revision", "digest", "bits", "of", "seed")
    model = {key: source[key] for key in identity if key in source}
    packages = ("transformers", "tokenizers")
    tables.write_parts(
        tokens.within_vocabulary(parts, source["vocabulary"], folder),
        tokens.SCHEMA,
        job.output.tokens,
        lambda: tables.provenance(
            record, "tokens", settings, *packages, model=model, tokens=counts
        ),
    )
    places = counted(counts["special_in_text"], "place") * bool(counts["special_in_text"])
    program.log.info(
        "%s, %s: %s, %s in %s (%s split, %s truncated)%s",
        source["name"],
        name,
        counted(counts["documents"], "document"),
        counted(counts["tokens"], "token"),
        counted(counts["sequences"], "sequence"),
        counted(counts["split"], "document"),
        counts["truncated"],
        LIKE_SPECIAL[settings.special_in_text].format(places) if places else "",
    )


if __name__ == "__main__":
    program.run(main, TokensSettings)
