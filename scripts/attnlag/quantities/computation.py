"""What computes a quantity: the class that its entry in the catalogue names, and its check."""

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from attnlag.quantities.catalogue import QUANTITIES, SITES, Quantity


@dataclass(frozen=True)
class Check:
    """The outcome of a check that a quantity must pass, in a layer or in all."""

    ok: bool
    error: float = math.inf  # relative, the largest; NaN if numbers are not finite
    reason: str = ""  # why there is nothing, or nothing in some layers


class Computation:
    """Computes a quantity of a site, or of the model, from what passes give of a layer.

    Attributes
    ----------
    shape : tuple of int
        Shape of the value of a token in a layer; by default (), or (numbers,) if the columns of the
        entry name several.
    holds_vectors : bool
        Whether the value is a vector of the stream, which may be stored in half precision.
    fields : sequence of pyarrow.Field
        The columns of its file besides the keys, if they are not those of layers.
    needs : set of str
        Points that a pass must give of each of its layers, see `layer_pass.Needs`.
    modules : mapping
        What gives points besides those of blocks, see ``hooks.tap``.
    layers : sequence of int
        The layers that have values; the number of blocks stands for the head of the model.
    remark : str
        The error of a check in words, or why there is nothing; empty if there is no check.
    """

    shape: tuple[int, ...] = ()
    holds_vectors = False
    fields: Sequence[Any] = ()
    remark = ""

    def __init__(self, quantity: Quantity, site: str, decoder: Any):
        self.quantity = quantity
        self.site = site
        self.called = decoder.called
        self.width = int(decoder.config.hidden_size)
        self.modules: dict[tuple[int, str], Any] = {}
        self.layers: Sequence[int] = range(len(decoder.blocks))
        self.needs = {*quantity.needs}
        if site:
            self.needs |= {*SITES[site].sublayers}
        if quantity.values:
            self.shape = (len(quantity.values),)
        elif self.holds_vectors:
            self.shape = (self.width,)

    def check(self, passed: Any) -> Check:
        """Check the quantity by what a short pass gave, a `layer_pass.BatchPass`.

        Layers that fail are taken from ``layers``. If ``ok`` is False, no layer has values.

        Raises
        ------
        UserError
            If it cannot be measured of this model, and was asked for by name.
        """
        return Check(ok=True, error=0.0)

    def expect_sequences(self, sequences: int) -> None:
        """Prepare for a shard of so many sequences, as the control by random pairs does."""

    def begin(self, sequences: Sequence[Any]) -> None:
        """Prepare for the next run of sequences."""

    def of(self, layer: Any) -> Any:
        """Return the values of a layer, a tensor of (tokens, *shape) in float32.

        ``layer`` is a `layer_pass.LayerPass` with all that the quantity needs.
        """
        # Each quantity has its own; unlike the methods above, there is nothing to do by default.
        raise NotImplementedError

    def metadata(self) -> dict[bytes, bytes]:
        """Return what its file states besides its rows."""
        return {}


def computation_of(name: str, site: str, decoder: Any) -> Any:
    """Return the `Computation` of a quantity of a site: for "norms", a ``norms.Norms``."""
    module, _, kind = QUANTITIES[name].computed_by.partition(".")
    computation = getattr(importlib.import_module(f"{__package__}.{module}"), kind)
    return computation(QUANTITIES[name], site, decoder)
