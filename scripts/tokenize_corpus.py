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

# What is said of text that looks like a control token.
LIKE_SPECIAL = {
    "text": "; {} that look like control tokens, read as text",
    "token": "; {} read as control tokens",
    "refuse": "",
}


def main(job):
    settings, folder, given = job.settings, Path(job.options.folder), job.input.corpus
    source, record = verify_folder(folder), tables.read_provenance(given)
    name, documents = (record["corpus"][key] for key in ("name", "documents"))
    if problem := shards_problem(name, settings.shards, documents):
        raise UserError(problem)
    start, stop = 0, documents
    if settings.shards > 1:
        texts = stored_batches(given, columns=["text"])
        sizes = [tokens.about_tokens(batch.column("text")) for batch in texts]
        bounds = tokens.shard_bounds(np.concatenate(sizes), settings.shards)
        start, stop = bounds[int(job.names.shard) :][:2]
    limits = [settings.max_length, source["context_length"]]
    counts: dict[str, int] = {}
    parts = tokens.tokenize(
        (
            (batch.column("document").to_pylist(), batch.column("text").to_pylist())
            for batch in stored_batches(given, start, stop)
        ),
        tokens.load_tokenizer(folder),
        counts,
        max_length=min((limit for limit in limits if limit), default=None),
        **settings.model_dump(include={"long_documents", "prepend_bos", "special_in_text"}),
    )
    identity = ("name", "source", "revision", "digest", "bits", "of", "seed")
    facts = {"model": {key: source[key] for key in identity if key in source}, "tokens": counts}
    tables.write_parts(
        tokens.within_vocabulary(parts, source["vocabulary"], folder),
        tokens.SCHEMA,
        job.output.tokens,
        lambda: tables.provenance(
            record, "tokens", settings, "transformers", "tokenizers", **facts
        ),
    )
    of_documents, of_tokens, of_sequences, split, special = (
        counted(counts[key], noun)
        for key, noun in (
            *(("documents", "document"), ("tokens", "token"), ("sequences", "sequence")),
            *(("split", "document"), ("special_in_text", "place")),
        )
    )
    like = LIKE_SPECIAL[settings.special_in_text] if counts["special_in_text"] else ""
    program.log.info(
        f"{source['name']}, {name}: {of_documents}, {of_tokens} in {of_sequences} ({split} split, "
        f"{counts['truncated']} truncated){like.format(special)}"
    )


if __name__ == "__main__":
    program.run(main, TokensSettings)
