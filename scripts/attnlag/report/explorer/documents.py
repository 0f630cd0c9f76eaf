"""The documents that the explorer shows: all, or a sample evenly over groups."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from attnlag.corpus.alignment import token_texts
from attnlag.storage import tables

# Largest number of values of tokens, over all models and corpora. A value takes up to 1.33 bytes of
# the page, which therefore has about six megabytes at most.
MOST_VALUES = 4_600_000

# Values that stand for the text of a token.
OF_TEXT = 4

# Largest number of documents of a corpus, and of tokens of a document.
MOST_CANDIDATES = 2_000
LONGEST = 4_000


def token_counts(sequences: pd.DataFrame, order: list[str]) -> pd.Series:
    """Return the number of tokens of each document that there is room for at most."""
    counts = sequences["input_ids"].str.len().groupby(sequences["document"]).sum()
    return counts.reindex(order, fill_value=0).clip(upper=LONGEST)


def with_room(needed: pd.Series, values: int) -> pd.Series:
    """Return the first documents that there is room for, at least one, and their needs."""
    return needed.iloc[: max(int((needed.cumsum() <= values).sum()), 1)]


def texts_of(names: Sequence[str], corpus: Path, sequences: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the first tokens of documents as text, and which start a sequence."""
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
