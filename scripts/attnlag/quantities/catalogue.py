"""Catalogues of sites and of quantities: which vectors are measured, and what of each token.

A site needs no more than an entry here, a quantity also a `Computation` in the module that its
entry names. That is imported when it is measured: the workflow imports the catalogue without torch.
"""

import functools
import math
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

    def vectors(self, seen: Mapping[str, Any]) -> Any:
        """Return the vectors, (tokens, width), given what a pass has shown of a layer."""
        added = [seen[sublayer] for sublayer in self.sublayers]
        return self.value(*(each.to(added[-1].device) for each in added))


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
        return {
            name.removesuffix(suffix): name
            for name in names
            if name.startswith("layer_") and name.endswith(suffix)
        }


@dataclass(frozen=True)
class Quantity:
    """Something that is measured of each token."""

    name: str  # in the configuration, in the library and in the paths of its files
    meaning: str  # of its files, after "the": a noun phrase
    # What it is measured of, with files of their own: each "site", "attention" or the "model".
    of: str
    # The module of this package and its class that compute it; empty if it comes from other files.
    computed_by: str = ""
    # Points of ``hooks.tap`` that a pass must give of each layer besides the sublayers of the site.
    points: tuple[str, ...] = ()
    # Meanings of the columns of its file: of ``layer_NN`` alone, of ``layer_NN.name``, or without
    # layers.
    columns: Mapping[str, str] = field(default_factory=dict)
    outcomes: tuple[Outcome, ...] = ()
    # "forward": the pass over all tokens; "single": passes over single sequences of some documents;
    # or another quantity, from which it is computed. Norms are too where vectors are stored.
    measured_in: str = "forward"
    optional: bool = False  # whether `extraction.quantities` asks for it
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


@dataclass(frozen=True)
class Check:
    """The outcome of a check that a quantity must pass in a layer."""

    ok: bool
    error: float = math.inf  # relative; NaN if numbers are not finite
    reason: str = ""  # why there is nothing, if it is not passed


class Computation:
    """Computes a quantity of a site, given what the passes of an `Extractor` show."""

    # Shape of the value of a token in a layer; by default, a number for each of ``values``.
    shape: tuple[int, ...] = ()
    # Whether the value is a vector of the stream, which may be stored in half precision.
    of_width = False
    # The columns of its file besides the keys, if they are not those of layers.
    fields: Sequence[Any] = ()
    # The error of a check in words, or why there is nothing.
    remark = ""

    def __init__(self, quantity: Quantity, site: str, decoder: Any):
        self.quantity, self.site = quantity, site
        self.called, self.width = decoder.called, int(decoder.config.hidden_size)
        # What gives points besides those of blocks, see ``hooks.tap``.
        self.modules: dict[tuple[int, str], Any] = {}
        # The layers that have values.
        self.layers: Sequence[int] = range(len(decoder.blocks))
        self.points = {*(SITES[site].sublayers if site else ()), *quantity.points}
        if quantity.values:
            self.shape = (len(quantity.values),)
        elif self.of_width:
            self.shape = (self.width,)

    def verify(self, seen: Mapping[int, Any], output: Any) -> None:
        """Prove the quantity by what a short pass has given of each layer and its output.

        What fails the check is taken from ``layers``, or raises UserError.
        """

    def expect(self, sequences: int) -> None:
        """Prepare for a shard of so many sequences, as the control of random pairs does."""

    def begin(self, sequences: Sequence[Any]) -> None:
        """Prepare for the next run of sequences."""

    def vectors(self, seen: Mapping[str, Any]) -> Any:
        """Return the vectors of its site, (tokens, width), in float32 or better."""
        return SITES[self.site].vectors(seen)

    def layer(self, seen: Any, batch: Any) -> Any:
        """Compute the values of a layer, a tensor of (tokens, *shape) in float32.

        ``seen`` is what a pass over a batch has given of it, see ``hooks.observed``.
        """
        # Each quantity has its own; unlike the methods above, there is nothing to do by default.
        raise NotImplementedError

    def metadata(self) -> dict[bytes, bytes]:
        """Return what its file states besides its rows."""
        return {}


QUANTITIES = by_name(
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
        points=("stream",),
        columns={"layer_NN": "L2 norm of the block's input"},
    ),
    Quantity(
        "geometry",
        "directions of adjustments; the metadata `attnlag.random_pairs` have means over random "
        "pairs",
        "site",
        "geometry.Geometry",
        points=("stream",),
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
        optional=True,
    ),
    Quantity(
        "sources", "shares of each adjustment that tokens write", "attention", measured_in="single"
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
        measured_in="single",
    ),
)

# The quantities that `extraction.quantities` may ask for.
OPTIONAL = {name: quantity for name, quantity in QUANTITIES.items() if quantity.optional}

OUTCOMES = {
    outcome.name: replace(outcome, quantity=name, folder=quantity.folder or name)
    for name, quantity in QUANTITIES.items()
    for outcome in quantity.outcomes
}

# The numbers of the directions that a pass measures, in the order of the columns.
OF_A_PASS = QUANTITIES["geometry"].values

# Only means and random pairs include the parts as multiples of the stream's norm.
RELATIVE = ("parallel_relative", "orthogonal_relative")

# Only means include the log ratio of the norms of the next block's input and this block's.
STREAM_GROWTH = "stream_log_growth"


def meanings(entries: Mapping[str, Site | Quantity]) -> str:
    """Return the names of entries with their meanings, as one line of Markdown."""
    meaning_of = {name: each.meaning.partition(";")[0] for name, each in entries.items()}
    return ", ".join(f"`{name}` ({meaning})" for name, meaning in meaning_of.items())


def of_logs() -> str:
    """Return the outcomes whose logarithm is regressed, in one line of Markdown."""
    return ", ".join(f"`{outcome.name}`" for outcome in OUTCOMES.values() if outcome.logarithm)


def paths_of(quantities: Iterable[str], sites: Sequence[str], output: Any) -> dict[Key, Path]:
    """Return files by quantity and site, given a job's outputs by the names of quantities.

    A quantity whose output is an empty list has none.
    """
    files: dict[Key, Path] = {}
    for name in quantities:
        stated = getattr(output, name)
        paths = [stated] if isinstance(stated, Path) else stated
        measured = QUANTITIES[name].sites(sites) if paths else []
        files |= {(name, site): path for site, path in zip(measured, paths, strict=True)}
    return files
