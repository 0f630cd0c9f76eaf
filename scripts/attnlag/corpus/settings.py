"""The settings of the stages that read a corpus and cut it into tokens."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CorpusSettings:
    """How documents are read from files: the fields of a row, and the parts of a plain text."""

    id: str | None  # None: from the file's name, as for the group
    text: str
    group: str | None
    split: Literal["none", "blank-lines"]  # whether a plain text, or each of its blocks, is one
    tags: str | None = None  # field with the words and their parts of speech
    empty: Literal["refuse", "skip"] = "refuse"  # documents without words


@dataclass(frozen=True)
class TokensSettings:
    """How documents become sequences of tokens."""

    max_length: int | None  # in tokens; None: the model's context length
    long_documents: Literal["split", "truncate"]
    prepend_bos: bool | Literal["auto"]  # auto: as the tokenizer does by default
    special_in_text: Literal["text", "token", "refuse"]  # what looks like a control token
    shards: int


@dataclass(frozen=True)
class PropertiesSettings:
    """The source of words, their parts of speech and their frequencies."""

    package: str | None  # with a spaCy pipeline, in this version and with this digest of its files
    version: str | None
    sha256: str | None
    given: Literal["column", "file"] | None  # where tagged words are given instead
    language: str | None  # of the words, for their frequencies
    groups: tuple[str, ...] | None  # that these settings apply to; None: all
