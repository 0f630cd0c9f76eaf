"""The keys of a configuration about what is measured, and the settings of the stages that do."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from attnlag.errors import nearest, shown
from attnlag.model.settings import Precision, Running
from attnlag.quantities import catalogue
from attnlag.quantities.scales import MULTIPLE, SCALES
from attnlag.section import (
    DEVICE,
    AtLeastTwo,
    Distinct,
    LayerList,
    Natural,
    NumberOrAll,
    OneOf,
    Positive,
    Section,
    Seed,
)

QUANTITIES = OneOf(tuple(catalogue.OPTIONAL))
SITES = OneOf(tuple(catalogue.SITES))
Site = Annotated[str, SITES]

# Bounds on the factors of scales of initial weights.
MIN_FACTOR = 0.01
LARGEST_FACTOR = 100.0


def _checked_scale(value: Any) -> str:
    """Return a scale of initial weights as it is spelled in the names of files."""
    if isinstance(value, str) and value in SCALES:
        return value
    multiple = MULTIPLE.fullmatch(str(value))
    if multiple:
        factor = float(multiple[1])
        if MIN_FACTOR <= factor <= LARGEST_FACTOR:
            return f"own-x{factor:g}"
    raise ValueError(
        f"found {shown(value)}, expected {', '.join(SCALES)} or a multiple of the model's own, as "
        f"in own-x1.5, from own-x{MIN_FACTOR:g} to own-x{LARGEST_FACTOR:g} with at most three "
        f"decimals{nearest(str(value), SCALES)}"
    )


Scale = Annotated[str, BeforeValidator(_checked_scale)]


# Several stages have this setting.
MODULES = "Module paths that the configuration declares for the model; null: those found"


class Measured(Running):
    """What is measured."""

    sites: Annotated[list[Site], Distinct, SITES.in_order()] = Field(
        default=["attention"],
        min_length=1,
        description=f"What is measured in each layer: {catalogue.meanings(catalogue.SITES)}. "
        "Adding one reruns the extraction",
    )
    layers: LayerList | None = Field(
        default=None,
        description="Layers that are measured and stored, as in [0, 15, 29]; null: all. "
        "Interventions, `previous_layer` and comparisons need all; `sources` has all",
    )
    keep: Literal["vectors", "norms"] = Field(
        default="vectors",
        description="The adjustment vectors (layers × width × 4 bytes per token), or only their "
        "norms",
    )
    storage_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="Precision of the stored vectors",
    )
    quantities: Annotated[list[Annotated[str, QUANTITIES]], Distinct, QUANTITIES.in_order()] = (
        Field(
            default=["geometry", "heads"],
            description="What else is measured in the same pass (20 bytes per token, layer and "
            "site; 4 per token, layer and head; 16 per token): "
            f"{catalogue.meanings(catalogue.OPTIONAL)}",
        )
    )


class Extraction(Measured):
    """How the model is run and which of its outputs are kept."""

    device: str = Field(
        default="auto",
        pattern=DEVICE,
        description="auto: CUDA if present, else CPU",
    )
    batch_tokens: Positive = Field(
        default=4096,
        description="Tokens in simultaneous passes, padding included (speed and memory)",
    )


class ExtractionSettings(Measured):
    """Settings of the forward passes and of the values to keep."""

    modules: dict[str, Any] | None = Field(default=None, description=MODULES)


class Norms(Section):
    """Which norms enter the regressions."""

    drop_first: Natural = Field(
        default=1,
        description="Tokens to drop from the start of every sequence, as outcome and as lag; a "
        "begin-of-sequence token counts as one",
    )


class UntrainedWeights(Section):
    """The same architecture before any training."""

    documents: Positive = Field(
        default=12,
        description="Documents for the untrained model, from the groups in turn",
    )
    scales: Annotated[list[Scale], Distinct] = Field(
        default=[*SCALES, "own-x1.5"],
        min_length=1,
        description="Scales of the initial weights, a draw each: that of the model (own), of "
        "transformers (default), the model's own with output matrices divided by √(2 × layers) "
        "(by-depth), and multiples of the model's own (own-x1.5, or another factor). The first "
        "measures all that is measured, the others norms alone",
    )
    seed: Seed = Field(default=0, description="Seed of the weights, at all scales")


class UntrainedSettings(UntrainedWeights):
    """Settings of the model with random weights; norms are always kept."""

    extraction: ExtractionSettings = Field(description="As for the trained model")


class Revisions(Section):
    """Earlier checkpoints of the model itself, where it states ``revisions``."""

    documents: NumberOrAll = Field(
        default=16, description="Number of documents, from the groups in turn; or all"
    )


class RevisionSettings(Revisions):
    """Settings of the pass over an earlier checkpoint, which keeps norms."""

    extraction: ExtractionSettings = Field(description="As for the final weights")


class Sources(Section):
    """Which tokens write an adjustment, and what it says: its effects on the logits of some words.

    `sources: null` leaves them out.
    """

    documents: NumberOrAll = Field(
        default=13, description="Number of documents, from the groups in turn"
    )
    document_tokens: AtLeastTwo = Field(
        default=64,
        description="Tokens used per document, from its beginning. Memory grows with their square",
    )


class TracingSettings(Sources):
    """Settings of the passes that trace sources and what adjustments say."""

    dtype: Precision = Field(description="Precision of the model")
    sites: list[str] = Field(
        description="Sites whose effects on logits are measured; sources are those of attention"
    )
    modules: dict[str, Any] | None = Field(default=None, description=MODULES)
    seed_of_weights: int | None = Field(
        default=None, description="Seed of the weights of the untrained control; null: no control"
    )
    scale: Scale = Field(default="own", description="Scale of these weights")
