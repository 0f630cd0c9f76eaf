"""The documents that the explorer shows: all, or a sample evenly over groups."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from attnlag.claims.results import RegressionResults
from attnlag.corpus.alignment import token_texts
from attnlag.corpus.documents import first_of_groups, group_by_document
from attnlag.errors import counted
from attnlag.quantities import columns
from attnlag.storage import tables

# Largest number of values of tokens, over all models and corpora. A value takes up to 1.33 bytes of
# the page, which therefore has about six megabytes at most.
MAX_VALUES = 4_600_000

# Values that stand for the text of a token and its properties.
VALUES_OF_TEXT = 12

# Largest number of documents of a corpus, and of tokens of a document.
MAX_CANDIDATES = 2_000
LONGEST = 4_000


@dataclass(frozen=True)
class ShownDocuments:
    """The documents of a corpus that the page shows."""

    corpus: Path
    names: list[str]
    in_words: str  # which of how many
    sequences: dict[str, pd.DataFrame]  # by model: the rows of ``tokens`` of these documents


def chosen_documents(regressions: Sequence[RegressionResults], values: int) -> ShownDocuments:
    """Return the first documents of a corpus that a number of values has room for, at least one.

    Those whose tokens are traced to their sources come first, for they show everything; the others
    are taken from the groups in turn. ``regressions`` are all of the corpus.
    """
    first = regressions[0]
    corpus = first.corpus_file
    models = {regression.model: regression for regression in regressions}
    order = traced_documents(regressions) + first_of_groups(corpus, MAX_CANDIDATES)
    order = list(dict.fromkeys(order))
    sequences = {}
    needed = pd.Series(0, order)
    for model, regression in models.items():
        paths = first.paths("tokens", regression.study_folder)
        sequences[model] = tables.rows_of_documents(paths, order)
        model_regressions = [one for one in regressions if one.model == model]
        needed += token_counts(sequences[model], order) * values_per_token(model_regressions)
    shown = with_room(needed, values)
    groups = group_by_document(corpus)
    in_words = counted(len(groups), "document")
    if len(shown) < len(groups):
        number_of_groups = counted(len(set(groups.values())), "group")
        in_words = f"{len(shown):,} of {in_words}, taken from the {number_of_groups} in turn"
    elif len(groups) > 1:
        in_words = f"all {in_words}"
    return ShownDocuments(corpus, shown, in_words, sequences)


def traced_documents(regressions: Sequence[RegressionResults]) -> list[str]:
    """Return the documents whose tokens are traced to their sources."""
    names: dict[str, None] = {}
    for regression in {regression.study: regression for regression in regressions}.values():
        for path in regression.paths("sources", regression.site_folder):
            documents = pq.read_table(path, columns=["document"])["document"]
            names |= dict.fromkeys(documents.unique().to_pylist())
    return list(names)


def values_per_token(regressions: Sequence[RegressionResults]) -> int:
    """Return the number of values that a token of a model takes: a byte each, before compression.

    They are its text, the norms of the stream and of each site, and half of the residuals of each
    regression, which compress well.
    """
    first = regressions[0]
    stream = first.paths("stream", first.study_folder)[0]
    layers = len(columns.layers_in(pq.read_schema(stream)))
    sites = len({regression.site for regression in regressions})
    return VALUES_OF_TEXT + layers * (sites + 1) + layers // 2 * len(regressions)


def token_counts(sequences: pd.DataFrame, order: list[str]) -> pd.Series:
    """Return the number of tokens of each document that there is room for at most."""
    counts = sequences["input_ids"].str.len().groupby(sequences["document"]).sum()
    return counts.reindex(order, fill_value=0).clip(upper=LONGEST)


def with_room(needed: pd.Series, values: int) -> list[str]:
    """Return the first documents that there is room for, at least one."""
    number = int((needed.cumsum() <= values).sum())
    return list(needed.index[: max(number, 1)])


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
                "starts": starts[: bisect_left(starts, LONGEST)],
            }
        )
    return documents
