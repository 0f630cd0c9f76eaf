"""The documents that the explorer shows: all of a corpus, or a sample evenly over its groups."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from attnlag.corpus.alignment import token_texts
from attnlag.corpus.documents import first_of_groups
from attnlag.storage import tables

# Largest number of values of tokens, over all models and corpora: a page of nearly 6 megabytes.
MOST_VALUES = 4_600_000

# Values that stand for the text of a token.
OF_TEXT = 4

# Largest number of documents of a corpus, and of tokens of a document.
MOST_CANDIDATES = 2_000
LONGEST = 4_000


def candidates(corpus: Path) -> list[str]:
    """Return the first documents of a corpus, taking its groups in turn."""
    return first_of_groups(corpus, MOST_CANDIDATES)


def with_room(
    order: Sequence[str], tokens: Sequence[Mapping[str, int]], per_token: Sequence[int], values: int
) -> tuple[list[str], int]:
    """Return as many documents as there is room for, in the given order, and their values.

    The first document is always returned. ``tokens`` has the number of tokens by document for each
    model, and ``per_token`` the number of values per token.
    """
    documents: list[str] = []
    taken = 0
    for document in order:
        needed = sum(
            min(counts.get(document, 0), LONGEST) * of_token
            for counts, of_token in zip(tokens, per_token, strict=True)
        )
        if taken + needed > values and documents:
            break
        documents.append(document)
        taken += needed
    return documents, taken


def token_counts(sequences: pd.DataFrame) -> dict[str, int]:
    """Return the number of tokens of each document."""
    counts = sequences["input_ids"].str.len().groupby(sequences["document"]).sum()
    return {str(document): int(count) for document, count in counts.items()}


def texts_of(names: Sequence[str], corpus: Path, sequences: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the tokens of documents as text, in the order of the corpus.

    Each document has its ``name``, its ``group``, the texts of its first ``tokens``, and the
    indices of the tokens that start a sequence as ``starts``.
    """
    documents = []
    sequences_of = dict(iter(sequences.groupby("document")))
    rows = tables.rows_of_documents([corpus], names, ["document", "group", "text"])
    for name, group, text in rows.to_numpy():
        if name not in sequences_of:
            continue
        tokens: list[str] = []
        starts: list[int] = []
        for char_starts, char_ends in sequences_of[name][["char_start", "char_end"]].to_numpy():
            starts.append(len(tokens))
            tokens += token_texts(text, char_starts, char_ends)
        documents.append(
            {
                "name": name,
                "group": group,
                "tokens": tokens[:LONGEST],
                "starts": [start for start in starts if start < LONGEST],
            }
        )
    return documents
