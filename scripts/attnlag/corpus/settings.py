"""The keys of a configuration about corpora, and the settings of the stages that read them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from attnlag.errors import nearest, shown
from attnlag.section import (
    PACKAGE,
    REPOSITORY,
    REVISION,
    SHA256,
    VERSION,
    AtLeastTwo,
    Distinct,
    Parts,
    Positive,
    Section,
    Text,
    impossible,
    one_or_more,
    truth,
)

# The branch of a data set in which the hub keeps it as Parquet files.
PARQUET_BRANCH = "refs/convert/parquet"

# How plain text is divided into documents.
SPLITS = ("none", "blank-lines")

Groups = Annotated[list[Text], Field(min_length=1), Distinct, AfterValidator(sorted)]

# Meanings of settings that several sections have.
CONFIGURATION = "Its configuration (the hub's subset); null: the only one"
NUMBER_OF_ROWS = (
    "Number of its rows: the first of each group in turn, or without `group` the first of all; "
    "null: all"
)
SHARDS = "Number of parts of whole documents, a job each"
TAGS = "Field with the words of a document and their parts of speech; null: none"


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
    split: Text = Field(
        default="none",
        description="For plain text: one document per file (`none`), or one per block between "
        "blank lines (`blank-lines`). Of a data set: the name of its split, as in `train`",
    )
    empty: Literal["refuse", "skip"] = Field(
        default="refuse", description="Documents without words: refused, or left out"
    )


class DatasetSettings(Section):
    """The documents of a data set of the hub that become a corpus."""

    dataset: str = Field(description="Name of the data set on the hub")
    revision: str = Field(description="Branch or commit with its Parquet files")
    config: str | None = Field(default=None, description=CONFIGURATION)
    split: str = Field(description="Name of its split")
    documents: int | None = Field(default=None, description=NUMBER_OF_ROWS)
    id: str | None = Field(default=None, description="Column with the document's id")
    text: str = Field(default="text", description="Column with its text")
    group: str | None = Field(default=None, description="Column with its genre or source")
    tags: str | None = Field(default=None, description=TAGS)


class CorpusSettings(Fields):
    """How documents are read from files."""

    tags: str | None = Field(default=None, description=TAGS)


class Corpus(Fields):
    """The documents of a corpus and how they are read.

    A document may have up to 64 MB with all else in its row, its id and its group 1,000 characters.
    """

    files: Annotated[list[Text], Field(min_length=1), BeforeValidator(one_or_more)] | None = Field(
        default=None,
        description="Files or globs: JSON lines, plain text, CSV, TSV or Parquet, also .gz and "
        ".zst. Either these or `dataset`",
    )
    dataset: str | None = Field(
        default=None,
        pattern=REPOSITORY,
        description="A data set of the Hugging Face hub, as in "
        "`cornell-movie-review-data/rotten_tomatoes`, with its `split`; `text`, `id` and `group` "
        "name its columns",
    )
    config: Text | None = Field(default=None, description=CONFIGURATION)
    revision: str = Field(
        default=PARQUET_BRANCH,
        pattern=REVISION,
        description="A commit of the branch in which the hub keeps the data set as Parquet files; "
        "the run records the commit that it found",
    )
    documents: Positive | None = Field(
        default=None,
        description=NUMBER_OF_ROWS,
    )
    shards: Parts = Field(default=1, description=SHARDS)
    tagger: Annotated[
        Tagger | None, BeforeValidator(lambda value: None if value == "none" else value)
    ] = Field(
        default=None,
        description="Words and their parts of speech, described below; `none`: none",
    )

    @model_validator(mode="after")
    def _one_source(self) -> "Corpus":
        if self.dataset is None:
            if self.files is None:
                raise impossible(
                    "files",
                    "is missing, expected files or globs, as in files: texts/*.txt, or dataset: "
                    "REPOSITORY of the hub",
                )
            for key in ("config", "revision", "documents"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise impossible(key, f"found {key} without dataset, expected both")
            if self.split not in SPLITS:
                found = f"found {shown(self.split)}, expected {' or '.join(SPLITS)}"
                raise impossible("split", found + nearest(self.split, SPLITS))
        elif self.files is not None:
            raise impossible("dataset", "found dataset beside files, expected one of them")
        elif self.split in SPLITS:
            raise impossible("split", "is missing, expected the split of dataset, as in train")
        return self


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

    shards: int = Field(description=SHARDS)
