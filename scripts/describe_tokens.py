"""Describe every token of one shard: its bytes, its word, its part of speech, its frequency.

Tokens of a document in a language without a tagger have no part of speech.
"""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from attnlag.corpus import catalogue, properties, sequences, tokens
from attnlag.corpus.alignment import Speller
from attnlag.corpus.settings import Tagger
from attnlag.errors import counted
from attnlag.model.folder import verify_folder
from attnlag.pipeline.program import log
from attnlag.storage import tables


def main(job, settings: Tagger):
    folder = Path(job.options.folder)
    upstream = tables.read_provenance(job.input.tokens)
    tally: Counter[str] = Counter()
    verify_folder(folder)
    groups = pq.read_table(job.input.corpus, columns=["group"])["group"].unique().to_pylist()
    key = f"corpora.{upstream['corpus']['name']}.tagger.groups"
    properties.check_groups(settings.groups, groups, key)
    source = properties.source_of(settings)
    record = tables.provenance(upstream, "token_properties", settings, *source.packages)
    with tables.parquet_writer(job.output.token_properties, properties.SCHEMA, record) as writer:
        for rows in properties.describe(
            sequences.tokenized(job.input.tokens, job.input.corpus),
            source,
            tally,
            speller=Speller(tokens.load_tokenizer(folder)),
            bos=upstream["tokens"]["bos"],
            truncated=bool(upstream["tokens"]["truncated"]),
            log_frequencies=catalogue.log_frequencies(job.input.token_counts),
        ):
            writer.write_table(rows)
    log.info(
        f"{upstream.names}: {counted(tally['tokens'], 'token')} described, "
        f"{tally['tagged']:,} of {counted(tally['documents'], 'document')} with parts of speech"
    )
