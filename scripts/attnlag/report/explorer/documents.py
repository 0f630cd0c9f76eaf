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

# Values of one layer at one token, of the norms of all sites and of the stream, over all models
# and corpora of a page: at 8 bits, compressed, about five megabytes.
MOST_VALUES = 4_000_000

# Documents of a corpus that are looked at, and tokens of one that are shown.
MOST_DOCUMENTS = 2_000
LONGEST = 4_000


@dataclass
class ShownDocument:
    """The tokens of one document, or of its beginning.

    Attributes
    ----------
    name, group : str
    tokens : list of str
        What each token stands for in the text.
    position : (tokens,) int array
        Places in their sequences, from 0.
    whole : int
        Number of tokens of the whole document.
    """

    name: str
    group: str
    tokens: list[str]
    position: np.ndarray
    whole: int


def candidates(corpus: Path) -> list[str]:
    """Return the first documents of a corpus, from its groups in turn."""
    return list(itertools.islice(first_of_groups(corpus), MOST_DOCUMENTS))


def chosen(
    order: Sequence[str], tokens: Sequence[Mapping[str, int]], layers: Sequence[int], values: int
) -> list[str]:
    """Return as many documents as there is room for, in the order in which they were offered.

    Parameters
    ----------
    order : sequence of str
        Documents, from the groups in turn.
    tokens : sequence of mapping
        For each model, the number of tokens by document.
    layers : sequence of int
        For each model, the values that are shown of a token: layers, for each site and the stream.
    values : int
        Room that there is. One document is shown whatever it takes.
    """
    found: list[str] = []
    for name in order:
        values -= sum(
            min(counts.get(name, 0), LONGEST) * each
            for counts, each in zip(tokens, layers, strict=True)
        )
        if values < 0 and found:
            break
        found.append(name)
    return found


def token_counts(sequences: pd.DataFrame) -> dict[str, int]:
    """Return the number of tokens of each document."""
    lengths = sequences["input_ids"].str.len()
    sums = lengths.groupby(sequences["document"]).sum()
    return {str(name): int(count) for name, count in sums.items()}


def shown_documents(
    names: Sequence[str], corpus: Path, sequences: pd.DataFrame
) -> list[ShownDocument]:
    """Return the tokens of documents as text, in the order of the corpus.

    Parameters
    ----------
    names : sequence of str
    corpus : Path
    sequences : pandas.DataFrame
        The tokens of these documents, and perhaps of others.
    """
    found = []
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
        found.append(
            ShownDocument(
                name=name,
                group=group,
                tokens=tokens[:LONGEST],
                position=np.concatenate(position)[:LONGEST],
                whole=len(tokens),
            )
        )
    return found
