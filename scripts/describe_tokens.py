"""Describe every token of one shard: its bytes, its word, its part of speech, its frequency.

The program proves that the bytes of the tokens are those of the text. Words and parts of speech
come from a tagger or from the corpus. Tokens of a document in a language without a tagger have no
tag.
"""

from pathlib import Path

import attnlag.pipeline.program as program

import pyarrow.parquet as pq

from attnlag.corpus import frequency, properties, sequences, tokens
from attnlag.corpus.alignment import Speller
from attnlag.corpus.settings import PropertiesSettings
from attnlag.errors import counted
from attnlag.model.folder import verify_folder
from attnlag.storage import tables


def main(job):
    settings, folder, given = job.settings, Path(job.options.folder), job.input
    record = tables.read_provenance(given.tokens)
    counts: dict[str, int] = {}
    verify_folder(folder)
    corpus = pq.read_table(given.corpus, columns=["document", "group"]).to_pydict()
    key = f"corpora.{record['corpus']['name']}.tagger.groups"
    properties.check_groups(settings.groups, set(corpus["group"]), key)
    sources = properties.sources_of(settings, corpus["document"], *given.tags)
    made = tables.provenance(record, "token_properties", settings, *sources.packages)
    schema = properties.SCHEMA.with_metadata(tables.metadata(made))
    with tables.parquet_writer(job.output.properties, schema, compression="zstd") as writer:
        for rows in properties.describe(
            sequences.tokenized(given.tokens, given.corpus),
            sources,
            counts,
            groups=settings.groups,
            speller=Speller(tokens.load_tokenizer(folder)),
            bos=record["tokens"]["bos"],
            truncated=bool(record["tokens"]["truncated"]),
            log_frequencies=frequency.log_frequencies(given.counts),
        ):
            writer.write_table(rows)
    documents, described = counted(counts["documents"], "document"), counts["tokens"]
    program.log.info(
        f"{record.names}: {counted(described, 'token')} described, "
        f"{counts['tagged']:,} of {documents} with parts of speech"
    )
    if notice := properties.unknown_words(counts, settings.language):
        program.log.warning(f"{record['corpus']['name']}: {notice}")


if __name__ == "__main__":
    program.run(main, PropertiesSettings)
