"""Catalogues of sites and of quantities: which vectors are measured, and what of each token.

A site needs no more than an entry here, a quantity also a class in the module that its entry names
(`quantities.computation`). That is imported when it is measured: the workflow imports the catalogue
without torch.
"""

import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

# A quantity of a site, by their names; "" is the site of what is measured of the model.
Key = tuple[str, str]

# An array for each layer that has values: a row for each token.
Values = Mapping[Key, Sequence[Any]]

Entry = TypeVar("Entry", "Site", "Quantity")


def total(*sublayers: Any) -> Any:
    """Return the sum of the outputs of the sublayers of a block."""
    return functools.reduce(operator.add, sublayers)


def by_name(*entries: Entry) -> dict[str, Entry]:
    """Return entries of a catalogue by their names."""
    return {entry.name: entry for entry in entries}


@dataclass(frozen=True)
class Site:
    """A vector of each token and layer."""

    name: str  # in the configuration and in paths
    sublayers: tuple[str, ...]  # of a block, that it is computed from: "attention", "mlp"
    label: str  # on the axes of figures
    meaning: str  # half a sentence for the documentation: "what … adds"
    # Returns the vectors, given the outputs of the sublayers, each (tokens, width).
    value: Callable[..., Any] = total

    def vectors(self, added: Mapping[str, Any]) -> Any:
        """Return the vectors, (tokens, width), given what each sublayer of a block adds."""
        outputs = [added[sublayer] for sublayer in self.sublayers]
        device = outputs[-1].device
        return self.value(*[output.to(device) for output in outputs])


SITES = by_name(
    Site(
        "attention",
        ("attention",),
        "attention adjustment",
        "what attention adds to the residual stream",
    ),
    Site("mlp", ("mlp",), "MLP adjustment", "what the MLP adds"),
    Site("block", ("attention", "mlp"), "block update", "the sum of the two"),
)


def changeable(names: Iterable[str]) -> list[str]:
    """Return the sites that an intervention can change: sublayers of a block, or all of it."""
    return [name for name in names if len(SITES[name].sublayers) == 1 or SITES[name].value is total]


@dataclass(frozen=True)
class Outcome:
    """A number of each token and layer that a regression can have as its outcome.

    Sizes are regressed as logarithms. Numbers that may be negative, and angles and cosines, which
    are bounded, are regressed without a transformation.
    """

    name: str  # in the configuration and in the columns of its file
    label: str  # name of the regressed quantity
    unit: str  # of the coefficients of lags
    logarithm: bool = False  # whether its natural logarithm is regressed
    first_position: int = 0  # of the first token with a value: 1 if the previous one is needed
    quantity: str = ""  # to which it belongs
    folder: str = ""  # of its files

    def columns(self, names: Iterable[str]) -> dict[str, str]:
        """Return the column of each layer in a file of this outcome."""
        suffix = "" if self.quantity == "norms" else f".{self.name}"
        columns: dict[str, str] = {}
        for name in names:
            if name.startswith("layer_") and name.endswith(suffix):
                columns[name.removesuffix(suffix)] = name
        return columns


@dataclass(frozen=True)
class Quantity:
    """Something that is measured of each token."""

    name: str  # in the configuration, in the library and in the paths of its files
    meaning: str  # of its files, after "the": a noun phrase
    # What it is measured of: each "site" (a file per site), "attention" or the "model".
    of: str
    # The module of this package and its class that compute it; empty if it comes from other files.
    computed_by: str = ""
    # What a pass must give of each layer besides the sublayers of the site, see `Computation`.
    needs: tuple[str, ...] = ()
    # Meanings of the columns of its file: of ``layer_NN`` alone, or of ``layer_NN.name``.
    columns: Mapping[str, str] = field(default_factory=dict)
    outcomes: tuple[Outcome, ...] = ()
    # "forward": the pass over all tokens; "single": passes over single sequences of some documents;
    # or another quantity, from which it is computed. Norms are too where vectors are stored.
    measured_in: str = "forward"
    optional: bool = False  # whether `extraction.quantities` asks for it
    # Whether its file has properties of tokens, not of layers; `corpus.catalogue` has its columns.
    without_layers: bool = False
    with_head: bool = False  # whether a pass must run the head of the model
    in_control: bool = True  # whether it is measured of the untrained model too
    folder: str = ""  # of its files; empty: its name

    @property
    def values(self) -> tuple[str, ...]:
        """The names of its numbers of a layer; none if there is one, or one vector."""
        names = (name.partition(".")[2] for name in self.columns if name.startswith("layer_NN"))
        return tuple(filter(None, names))

    def sites(self, names: Iterable[str]) -> list[str]:
        """Return the sites, of these, of which it is measured; [""] if it is of the model."""
        if self.of == "model":
            return [""]
        return [name for name in names if self.of in ("site", name)]

    def pattern(self, file: str) -> str:
        """Return the path of its files with the names of wildcards, given a file's name."""
        above = {"site": "{site}/", "model": ""}.get(self.of, f"{self.of}/")
        return f"results/{{model}}/{{corpus}}/{above}{self.folder or self.name}/{file}"


QUANTITIES = by_name(
    # The adjustments themselves. The stage that stores them is `extract_activations`, and their
    # folder "activations", as vectors inside a model are called.
    Quantity(
        "vectors",
        "vectors that a sublayer adds",
        "site",
        "norms.Vectors",
        columns={"layer_NN": "the vector that the sublayer adds"},
        folder="activations",
    ),
    Quantity(
        "norms",
        "norms of adjustments",
        "site",
        "norms.Norms",
        columns={"layer_NN": "L2 norm of the vector, not its logarithm"},
        outcomes=(
            Outcome("norm", "log norm", "log norm per log norm", logarithm=True),
            Outcome("relative", "log relative norm", "of log relative norms", logarithm=True),
        ),
    ),
    Quantity(
        "stream",
        "norms of what each block receives",
        "model",
        "norms.StreamNorms",
        needs=("stream",),
        columns={"layer_NN": "L2 norm of the block's input"},
    ),
    Quantity(
        "geometry",
        "directions of adjustments; the metadata `attnlag.random_pairs` have means over random "
        "pairs",
        "site",
        "geometry.Geometry",
        needs=("stream",),
        columns={
            "layer_NN.parallel": "part of the adjustment along the stream; signed",
            "layer_NN.orthogonal": "size of the part at right angles to it",
            "layer_NN.log_growth": "log ratio of the stream's norms after and before",
            "layer_NN.angle": "angle by which it turns the stream [radians]",
            "layer_NN.cosine_previous": "cosine with the adjustment of the token before",
        },
        outcomes=(
            Outcome("parallel", "parallel part", "of parallel parts"),
            Outcome("orthogonal", "log orthogonal part", "of log orthogonal parts", logarithm=True),
            Outcome("log_growth", "log growth", "of log growths"),
            Outcome("angle", "angle", "of angles"),
            Outcome(
                "cosine_previous", "cosine with the token before", "of cosines", first_position=1
            ),
        ),
        optional=True,
    ),
    Quantity(
        "centred_cosines",
        "cosines of neighbours without the layer's mean vector",
        "site",
        columns={"layer_NN.cosine_previous_centred": "cosine_previous without the mean vector"},
        outcomes=(
            Outcome(
                "cosine_previous_centred",
                "centred cosine with the token before",
                "of centred cosines",
                first_position=1,
            ),
        ),
        measured_in="vectors",
    ),
    Quantity(
        "heads",
        "norms of what each attention head adds; the metadata `attnlag.heads` state the error "
        "of their sum, or why there are none",
        "attention",
        "heads.Heads",
        columns={"layer_NN": "norm of what each head adds"},
        optional=True,
    ),
    Quantity(
        "surprisal",
        "surprisal of each token, and entropies of the model's predictions",
        "model",
        "surprisal.Surprisal",
        needs=("stream",),
        optional=True,
        with_head=True,
        without_layers=True,
        # Predictions before training say nothing.
        in_control=False,
    ),
    Quantity(
        "sources",
        "shares of each adjustment that tokens write",
        "attention",
        "sources.Sources",
        needs=("heads", "weights"),
        measured_in="single",
    ),
    Quantity(
        "source_parts",
        "norms of what each token and earlier ones write",
        "attention",
        columns={
            "layer_NN.from_itself": "norm of what the token writes to itself",
            "layer_NN.from_earlier": "norm of what earlier tokens write",
        },
        outcomes=(
            Outcome(
                "from_itself", "log norm of the own part", "log norm per log norm", logarithm=True
            ),
            Outcome(
                "from_earlier",
                "log norm of the others' part",
                "log norm per log norm",
                logarithm=True,
            ),
        ),
        measured_in="sources",
    ),
    Quantity(
        "sinks",
        "attention of each head to the first token of a sequence",
        "attention",
        columns={"layer_NN": "weight of the first token in each head"},
        measured_in="single",
    ),
    Quantity(
        "readout",
        "effects of adjustments on the logits of some tokens",
        "site",
        "readout.ReadoutEffects",
        measured_in="single",
        with_head=True,
    ),
)


# The quantities that `extraction.quantities` may ask for.
OPTIONAL = {name: quantity for name, quantity in QUANTITIES.items() if quantity.optional}


def _outcomes() -> dict[str, Outcome]:
    """Return all outcomes by name, with their quantity and the folder of its files."""
    outcomes: dict[str, Outcome] = {}
    for quantity in QUANTITIES.values():
        for outcome in quantity.outcomes:
            folder = quantity.folder or quantity.name
            outcomes[outcome.name] = replace(outcome, quantity=quantity.name, folder=folder)
    return outcomes


OUTCOMES = _outcomes()

# The numbers of the directions that a pass measures, in the order of the columns.
OF_A_PASS = QUANTITIES["geometry"].values

# Only means and random pairs include the parts as multiples of the stream's norm.
RELATIVE = ("parallel_relative", "orthogonal_relative")

# Only means include the log ratio of the norms of the next block's input and this block's.
STREAM_GROWTH = "stream_log_growth"


def measured_names(keep: str, optional: Iterable[str]) -> list[str]:
    """Return the names of the quantities that a pass measures: what is kept, stream and others."""
    return [keep, "stream", *optional]


def need_head(names: Iterable[str]) -> bool:
    """Return whether some of the quantities need a pass that runs the head of the model."""
    return any(QUANTITIES[name].with_head for name in names)


def meanings(entries: Mapping[str, Site | Quantity]) -> str:
    """Return the names of entries with their meanings, as one line of Markdown."""
    words: list[str] = []
    for name, entry in entries.items():
        meaning = entry.meaning.partition(";")[0]
        words.append(f"`{name}` ({meaning})")
    return ", ".join(words)


def logarithmic_outcomes() -> str:
    """Return the outcomes whose logarithm is regressed, in one line of Markdown."""
    return ", ".join(f"`{outcome.name}`" for outcome in OUTCOMES.values() if outcome.logarithm)


def paths_of(
    quantities: Iterable[str], sites: Sequence[str], output: Any, prefix: str = ""
) -> dict[Key, Path]:
    """Return files by quantity and site, given a job's outputs by the names of quantities.

    The names of outputs may begin with a prefix. A quantity whose output is an empty list has none.
    """
    files: dict[Key, Path] = {}
    for name in quantities:
        stated = getattr(output, f"{prefix}{name}")
        paths = [stated] if isinstance(stated, Path) else stated
        measured = QUANTITIES[name].sites(sites) if paths else []
        for site, path in zip(measured, paths, strict=True):
            files[name, site] = path
    return files
