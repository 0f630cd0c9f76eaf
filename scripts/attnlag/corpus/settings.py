"""The settings of the stages that read a corpus and cut it into tokens."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CorpusSettings:
    """How documents are read from files.

    Attributes
    ----------
    id, group : str or None
        Fields with a document's id and group; if None, these come from the file's name.
    text : str
        Field with the text.
    split : {"none", "blank-lines"}
        Whether a plain text file is one document or each block between blank lines is one.
    tags : str or None
        Field with the words and their parts of speech; if None, no tags are read.
    """

    id: str | None
    text: str
    group: str | None
    split: Literal["none", "blank-lines"]
    tags: str | None = None


@dataclass(frozen=True)
class TokensSettings:
    """How documents become sequences of tokens.

    Attributes
    ----------
    max_length : int or None
        Longest sequence in tokens; None for the model's context length.
    long_documents : {"split", "truncate"}
        Whether a longer document is split into windows or truncated.
    prepend_bos : bool or "auto"
        Whether each sequence begins with a begin-of-sequence token; "auto" follows the tokenizer.
    special_in_text : {"text", "token", "refuse"}
        Treatment of text that looks like a control token.
    shards : int
        Number of shards of the corpus.
    """

    max_length: int | None
    long_documents: Literal["split", "truncate"]
    prepend_bos: bool | Literal["auto"]
    special_in_text: Literal["text", "token", "refuse"]
    shards: int


@dataclass(frozen=True)
class PropertiesSettings:
    """The source of words, their parts of speech and their frequencies.

    Attributes
    ----------
    package, version, sha256 : str or None
        A package with a spaCy pipeline, its exact version and the digest of its files.
    given : {"column", "file"} or None
        Where tagged words are given: in a column of the corpus or in a file of their own.
    language : str or None
        Language of the words, for their frequencies; None if these are unknown.
    groups : tuple of str or None
        Groups of documents that these settings apply to; None for all.
    """

    package: str | None
    version: str | None
    sha256: str | None
    given: Literal["column", "file"] | None
    language: str | None
    groups: tuple[str, ...] | None
