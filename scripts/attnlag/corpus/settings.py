"""The keys of a configuration about corpora, and the settings of the stages that read them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from attnlag.section import (
    PACKAGE,
    SHA256,
    VERSION,
    AtLeastTwo,
    Distinct,
    Parts,
    Section,
    Text,
    impossible,
    one_or_more,
    truth,
)

Groups = Annotated[list[Text], Field(min_length=1), Distinct, AfterValidator(sorted)]


class Tagger(Section):
    """The source of the words of a corpus and their parts of speech.

    A spaCy pipeline in an installed package (`package`, `version`, `sha256`), or a field of the
    documents (`column`); without these, no token has a part of speech.
    """

    package: str | None = Field(
        default=None,
        pattern=PACKAGE,
        description="Package with a spaCy pipeline that assigns universal tags",
    )
    version: str | None = Field(
        default=None, pattern=VERSION, description="The package's exact version"
    )
    sha256: str | None = Field(
        default=None,
        pattern=SHA256,
        description="SHA-256 over the pipeline's files (`docs/tokens.md`)",
    )
    groups: Groups | None = Field(
        default=None,
        description="Groups of documents in the language of the tags; others get none. null: all",
    )
    column: Text | None = Field(
        default=None,
        description="Field with all words of a document and their tags: `The/DET cat/NOUN "
        "sat/VERB ./PUNCT`; empty: no tags",
    )

    @property
    def gives_tags(self) -> bool:
        """Whether words have parts of speech."""
        return bool(self.package or self.column)

    @model_validator(mode="after")
    def _one_source(self) -> "Tagger":
        if self.package and self.column:
            raise impossible("column", "found column beside package, expected one source of tags")
        for name in ("version", "sha256"):
            if (self.package is None) != (getattr(self, name) is None):
                key, other = (name, "package") if self.package is None else ("package", name)
                raise impossible(key, f"found {key} without {other}, expected both")
        return self


class Fields(Section):
    """The fields of a document, and the parts of a plain text."""

    id: Text | None = Field(
        default=None, description="Field with the document's id; null: file name and row number"
    )
    text: Text = Field(default="text", description="Field with the document's text")
    group: Text | None = Field(
        default=None,
        description="Field with the genre or source; null: the file's name, or its folder's if "
        "each file is a document",
    )
    split: Literal["none", "blank-lines"] = Field(
        default="none",
        description="For plain text: one document per file, or one per block between blank lines",
    )
    empty: Literal["refuse", "skip"] = Field(
        default="refuse", description="Documents without words: refused, or left out"
    )


class CorpusSettings(Fields):
    """How documents are read from files."""

    tags: str | None = None  # field with the words and their parts of speech


class Corpus(Fields):
    """The documents of a corpus and how they are read.

    A document may have up to 64 MB with all else in its row, its id and its group 1,000 characters.
    """

    files: Annotated[list[Text], Field(min_length=1), BeforeValidator(one_or_more)] = Field(
        description="Files or globs: JSON lines, plain text, CSV, TSV or Parquet, also .gz and .zst"
    )
    shards: Parts = Field(default=1, description="Number of parts of whole documents, a job each")
    tagger: Annotated[
        Tagger | None, BeforeValidator(lambda value: None if value == "none" else value)
    ] = Field(
        default=None,
        description="Words and their parts of speech, described below; `none`: none",
    )


class Tokens(Section):
    """How documents become sequences of tokens."""

    max_length: AtLeastTwo | None = Field(
        default=None, description="Longest sequence in tokens; null: the model's context length"
    )
    long_documents: Literal["split", "truncate"] = Field(
        default="split",
        description="Longer documents: split into windows, or cut off",
    )
    prepend_bos: Annotated[Literal["auto", True, False], BeforeValidator(truth)] = Field(
        default="auto",
        description="Begin-of-sequence token before each sequence; auto: as the tokenizer does",
    )
    special_in_text: Literal["text", "token", "refuse"] = Field(
        default="text",
        description="Text that looks like a control token (`<|endoftext|>`): tokenized like "
        "other text, turned into that token, or refused",
    )


class TokensSettings(Tokens):
    """How documents become sequences of tokens, in shards."""

    shards: int
