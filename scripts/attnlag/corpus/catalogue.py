"""The catalogue of properties of tokens: the columns that describe them, and what each serves for.

A property is one entry of `CATALOGUE`. The columns of its file and their documentation, the
covariates and classes of regressions, the shades of the explorer and all labels derive from it.

The workflow imports this module whenever it starts. The functions therefore import numpy
themselves, which takes a quarter of a second.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

# Universal part-of-speech tags, https://universaldependencies.org/u/pos/
UPOS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON"),
    *("PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
)
# Tags of tokens that are not words: white space, and text without tags.
SPACE = "SPACE"
NONE = "none"
TAGS = (*UPOS, SPACE, NONE)

# The files of properties: what the corpus gives, and what the model predicts.
FILES = ("token_properties", "surprisal")


@dataclass(frozen=True)
class TokenProperty:
    """A property with a value for each token."""

    kind: Literal["string", "bool", "int32", "float32", "float64"]  # of the values, as in pyarrow
    meaning: str  # what the column is, for the documentation
    unit: str = ""
    covariate: str = ""  # description as a covariate; empty: it is none
    label: str = ""  # name of classes or of a number that slopes vary with; empty: they do not
    shade: str = ""  # name as a shade of text in the explorer; empty: it is none
    # The values, if they are names. Those of the token before are then a covariate too.
    classes: tuple[str, ...] = ()
    needs_tags: bool = False  # whether a corpus' tagger must give it
    file: str = "token_properties"  # one of `FILES`
    # Returns the values of a document's tokens, given the other columns as arrays. None: the module
    # of the file computes them.
    values: Callable[[Mapping[str, Any]], Any] | None = None

    @property
    def names_of_classes(self) -> tuple[str, ...]:
        """Names of the classes of tokens, if slopes vary with classes."""
        return self.classes or ("false", "true") * (self.kind == "bool")


# In the order of the columns, and of the terms in a design.
CATALOGUE = {
    "text": TokenProperty("string", "the token as text; part of a character is `\ufffd`"),
    "byte_start": TokenProperty(
        "int32", "where it begins in the document's text in UTF-8", unit="bytes"
    ),
    "byte_end": TokenProperty("int32", "where it ends", unit="bytes"),
    "word": TokenProperty(
        "int32",
        "number in the document of the word that holds its first byte that is no white space, "
        "from 0; -1: none does, it is white space or a control token",
    ),
    "piece": TokenProperty(
        "int32", "number of the token among those of its word, from 0; -1 without a word"
    ),
    "words_touched": TokenProperty(
        "int32", "number of words of which the token contains bytes", unit="words"
    ),
    "upos": TokenProperty(
        "string",
        "universal part-of-speech tag of its word; `SPACE` for white space alone; `none` for "
        "control tokens and where the document has no tags",
        covariate="dummies of the part of speech of the token",
        label="part of speech",
        shade="part of speech",
        classes=TAGS,
        needs_tags=True,
    ),
    "word_initial": TokenProperty(
        "bool",
        "whether the token contains the first byte of its word",
        covariate="whether the token begins a word",
        label="whether a token begins a word",
        shade="begins a word",
    ),
    "word_final": TokenProperty(
        "bool",
        "whether the token contains the last byte of its word",
        covariate="whether the token ends a word",
        label="whether a token ends a word",
    ),
    "pieces": TokenProperty(
        "int32",
        "number of tokens in its word; 0 without a word",
        unit="tokens",
        covariate="number of tokens in the token's word",
        shade="tokens of its word",
    ),
    "token_characters": TokenProperty(
        "int32",
        "number of characters that begin in the token",
        unit="characters",
        covariate="number of characters of the token",
        label="characters of the token",
        shade="characters of the token",
    ),
    "log_frequency": TokenProperty(
        "float64",
        "log of the token's share of the corpus' tokens",
        unit="nats",
        shade="log frequency in the corpus (nats)",
    ),
    "surprisal": TokenProperty(
        "float32",
        "-log probability of the token given the preceding tokens; empty for the first",
        unit="nats",
        covariate="-log of the probability that the model gave the token",
        label="surprisal",
        shade="surprisal (nats)",
        file="surprisal",
    ),
    "entropy_before": TokenProperty(
        "float32",
        "entropy of the prediction that gives this probability",
        unit="nats",
        covariate="entropy of the prediction made before the token",
        label="entropy of the prediction",
        shade="entropy before",
        file="surprisal",
    ),
    "entropy_next": TokenProperty(
        "float32",
        "entropy of the prediction of the next token",
        unit="nats",
        shade="entropy next",
        file="surprisal",
    ),
    "rank": TokenProperty(
        "int32",
        "rank of the token in the prediction, 1 for the most likely",
        shade="rank",
        file="surprisal",
    ),
}


# The property whose mean over tokens is the loss of the model.
LOSS = "surprisal"


def properties_in(file: str) -> dict[str, TokenProperty]:
    """Return the properties in a file, by column."""
    return {name: entry for name, entry in CATALOGUE.items() if entry.file == file}


def log_frequencies(token_counts: Any) -> Any:
    """Return the log relative frequency of each token id in a corpus; NaN if it does not occur.

    The counts are a table, or a path to one.
    """
    import numpy as np
    import pyarrow.parquet as pq

    table = pq.read_table(token_counts) if isinstance(token_counts, Path) else token_counts
    ids = table["token_id"].to_numpy()
    counts = table["count"].to_numpy()
    logs = np.full(ids.max(initial=-1) + 1, np.nan)
    logs[ids] = np.log(counts / counts.sum())
    return logs
