"""Tokenize one shard of a corpus: one row per sequence, with offsets into the text.

A sequence is a document, or a window of one that is longer than the model's context.
"""

from functools import partial
from pathlib import Path

from attnlag.corpus import tokens
from attnlag.corpus.documents import shards_problem, stored_batches
from attnlag.corpus.settings import TokensSettings
from attnlag.errors import UserError, counted
from attnlag.model.folder import verify_folder
from attnlag.pipeline.program import log
from attnlag.storage import tables

# How text that looks like a control token is read.
LIKE_SPECIAL = {"text": "like control tokens, read as text", "token": "read as control tokens"}


def main(job, settings: TokensSettings):
    folder = Path(job.options.folder)
    source = verify_folder(folder)
    upstream = tables.read_provenance(job.input.corpus)
    name = upstream["corpus"]["name"]
    problem = shards_problem(name, settings.shards, upstream["corpus"]["documents"])
    if problem:
        raise UserError(problem)
    start, stop = tokens.documents_of_shard(job.input.corpus, int(job.names.shard), settings.shards)
    batches = stored_batches(job.input.corpus, start, stop)
    limits = [settings.max_length, source["context_length"]]
    # Sequences are made while they are written; only then are the counts complete.
    counts: dict[str, int] = {}
    sequences = tokens.tokenize(
        ((batch["document"].to_pylist(), batch["text"].to_pylist()) for batch in batches),
        tokens.load_tokenizer(folder),
        counts,
        max_length=min((limit for limit in limits if limit), default=None),
        **settings.model_dump(include={"long_documents", "prepend_bos", "special_in_text"}),
    )
    identity = ("name", "source", "revision", "digest", "bits")
    facts = {"model": {key: source[key] for key in identity if key in source}, "tokens": counts}
    record_of_tokens = partial(
        tables.provenance, upstream, "tokens", settings, "transformers", "tokenizers", **facts
    )
    sequences = tokens.within_vocabulary(sequences, source["vocabulary"], folder)
    tables.write_parts(sequences, tokens.SCHEMA, job.output.tokens, record_of_tokens)
    special = ""
    if counts["special_in_text"]:
        places = counted(counts["special_in_text"], "place")
        special = f"; {places} {LIKE_SPECIAL[settings.special_in_text]}"
    log.info(
        f"{source['name']}, {name}: {counted(counts['documents'], 'document')}, "
        f"{counted(counts['tokens'], 'token')} in {counted(counts['sequences'], 'sequence')} "
        f"({counted(counts['split'], 'document')} split, {counts['truncated']} truncated){special}"
    )
