"""The settings of the stages that read a corpus and cut it into tokens."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CorpusSettings:
    """How documents are read from files.

    Attributes
    ----------
    id, group : str or None
        Fields with a document's id and group; None: they are made from the file's name.
    text : str
        Field with the text.
    split : {"none", "blank-lines"}
        Whether a plain text file is one document, or one a block between blank lines.
    tags : str or None
        Field with the words and their parts of speech; None: it is not read.
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
        Longest sequence in tokens; None: the model's context length.
    long_documents : {"split", "truncate"}
        Windows of a longer document, or its beginning only.
    prepend_bos : bool or "auto"
        Begin-of-sequence token before each sequence; "auto": as the tokenizer does.
    special_in_text : {"text", "token", "refuse"}
        What becomes of text that looks like a control token.
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
    """What is told of each token: where words and their parts of speech come from.

    Attributes
    ----------
    package, version, sha256 : str or None
        A package with a spaCy pipeline, its exact version and the digest of its files.
    given : {"column", "file"} or None
        Where words come with their tags: in the corpus, or in a file of their own.
    language : str or None
        Language of the words, for their frequencies; None: these are not known.
    groups : tuple of str or None
        Groups of documents that all this holds for; None: all of them.
    """

    package: str | None
    version: str | None
    sha256: str | None
    given: Literal["column", "file"] | None
    language: str | None
    groups: tuple[str, ...] | None
