"""The documents that the explorer shows: all of a corpus, or a sample evenly over its groups."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from attnlag.corpus.documents import first_of_groups
from attnlag.corpus.pieces import token_texts
from attnlag.storage import tables

# Largest number of values of tokens, over all models and corpora: about 3.7 megabytes in the page.
MOST_VALUES = 3_900_000

# Values that stand for the text of a token.
OF_TEXT = 4

# Largest number of documents of a corpus, and of tokens of a document.
MOST_DOCUMENTS = 2_000
LONGEST = 4_000


@dataclass
class ShownDocument:
    """The tokens of one document, or of its beginning."""

    name: str
    group: str
    tokens: list[str]  # the text that each token stands for
    position: np.ndarray  # (tokens,) int array: positions in the sequences, from 0
    whole: int  # number of tokens of the whole document


def candidates(corpus: Path) -> list[str]:
    """Return the first documents of a corpus, taking its groups in turn."""
    return list(itertools.islice(first_of_groups(corpus), MOST_DOCUMENTS))


def chosen(
    order: Sequence[str], tokens: Sequence[Mapping[str, int]], per_token: Sequence[int], values: int
) -> tuple[list[str], int]:
    """Return as many documents as there is room for, in the given order, and their values.

    The first document is always returned. ``tokens`` has the number of tokens by document for each
    model, and ``per_token`` the number of values per token.
    """
    kept: list[str] = []
    taken = 0
    for name in order:
        own = sum(
            min(counts.get(name, 0), LONGEST) * each
            for counts, each in zip(tokens, per_token, strict=True)
        )
        if taken + own > values and kept:
            break
        kept.append(name)
        taken += own
    return kept, taken


def token_counts(sequences: pd.DataFrame) -> dict[str, int]:
    """Return the number of tokens of each document."""
    lengths = sequences["input_ids"].str.len()
    sums = lengths.groupby(sequences["document"]).sum()
    return {str(name): int(count) for name, count in sums.items()}


def shown_documents(
    names: Sequence[str], corpus: Path, sequences: pd.DataFrame
) -> list[ShownDocument]:
    """Return the tokens of documents as text, in the order of the corpus."""
    documents = []
    rows = dict(iter(sequences.groupby("document")))
    texts = tables.rows_of_documents([corpus], names)
    for name, group, text in texts[["document", "group", "text"]].to_numpy():
        own = rows.get(name)
        if own is None:
            continue
        tokens: list[str] = []
        position: list[np.ndarray] = []
        for starts, ends in own[["char_start", "char_end"]].to_numpy():
            tokens += token_texts(text, starts, ends)
            position.append(np.arange(len(starts)))
        documents.append(
            ShownDocument(
                name=name,
                group=group,
                tokens=tokens[:LONGEST],
                position=np.concatenate(position)[:LONGEST],
                whole=len(tokens),
            )
        )
    return documents
