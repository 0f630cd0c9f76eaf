"""The documents of a shard together with the sequences of tokens that they were cut into."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from attnlag.corpus.documents import Document, stored_batches
from attnlag.errors import UserError
from attnlag.storage.sequences import TokenSequence, stored_sequences


class Tokenized(NamedTuple):
    """A document of a corpus with the sequences that it was cut into."""

    document: Document
    sequences: list[TokenSequence]


def tokenized(tokens: Path, corpus: Path) -> Iterator[list[Tokenized]]:
    """Yield the documents of a shard with their tokens, in order and in batches.

    Raise UserError if the corpus lacks a document of the shard.
    """
    rows_of_shard = tqdm(
        stored_sequences(tokens),
        total=pq.read_metadata(tokens).num_rows,
        unit="sequence",
        desc="sequences",
        delay=2,
    )
    grouped = itertools.groupby(rows_of_shard, key=lambda row: row.document)
    none: tuple[str | None, Iterator[TokenSequence]] = (None, iter(()))
    document, rows = next(grouped, none)
    documents = pq.read_table(corpus, columns=["document"])["document"]
    first = documents.index(pa.scalar(document, documents.type)).as_py()
    for batch in stored_batches(corpus, max(first, 0)):
        documents_of_batch = []
        for row in batch.to_pylist():
            # A document without tokens has no sequence.
            if row["document"] == document:
                fields = row["document"], row["group"], row["text"], row.get("tags")
                documents_of_batch.append(Tokenized(Document(*fields), list(rows)))
                document, rows = next(grouped, none)
        if documents_of_batch:
            yield documents_of_batch
        if document is None:
            return
    raise UserError(
        f"{tokens}: found the document '{document}', which the corpus lacks at that place; "
        "expected the corpus that was tokenized"
    )
