"""Catalogue of sites: the vectors of each layer whose sizes and directions are measured.

To add a site, add an entry here. The configuration then allows its name, the extraction computes it
in the same forward pass as the others, and figures show its label. The workflow imports this module
at its start, so it does not import torch.
"""

import functools
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


def total(*sublayers: Any) -> Any:
    """Return the sum of the outputs of the sublayers of a block."""
    return functools.reduce(operator.add, sublayers)


@dataclass(frozen=True)
class Site:
    """A vector of each token and layer."""

    name: str  # in the configuration and in paths
    sublayers: tuple[str, ...]  # of a block, that it is computed from: "attention", "mlp"
    label: str  # on the axes of figures
    meaning: str  # half a sentence for the documentation: "what … adds"
    # Returns the vectors, given the outputs of the sublayers, each (tokens, width).
    value: Callable[..., Any] = total


SITES = {
    site.name: site
    for site in (
        Site(
            "attention",
            ("attention",),
            "attention adjustment",
            "what attention adds to the residual stream",
        ),
        Site("mlp", ("mlp",), "MLP adjustment", "what the MLP adds"),
        Site("block", ("attention", "mlp"), "block update", "the sum of the two"),
    )
}


def changeable(names: Iterable[str]) -> list[str]:
    """Return the sites that an intervention can change: sublayers of a block, or all of it."""
    return [name for name in names if len(SITES[name].sublayers) == 1 or SITES[name].value is total]


def meanings() -> str:
    """Return the sites with their meanings, as one line of Markdown."""
    return ", ".join(f"`{site.name}` ({site.meaning})" for site in SITES.values())
