"""Changes of adjustments, on which the rest of a forward pass depends, and their effects."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from attnlag.model.hooks import OUTPUT, STREAM, BlockModules, tap
from attnlag.quantities.catalogue import SITES

# A document and a window of it.
SequenceKey = tuple[str, int]

Change = Callable[[int, str, torch.Tensor], torch.Tensor]


class Effect(NamedTuple):
    """Effects of one change on one target in a sequence, by distance in tokens."""

    source_site: str
    source_layer: int
    # A site, or one of ``finite.PREDICTIONS``.
    target_site: str
    # None if the target is the prediction of the next token.
    target_layer: int | None
    intervention: str
    # (distances,) float array: sum of derivatives, or change of the log norm or of the surprisal
    # (nats), or divergence (nats); NaN if undefined.
    effects: np.ndarray
    # (distances,) int array: number of tokens in each sum; None: one for each finite effect.
    positions: np.ndarray | None = None


@contextmanager
def edited(
    blocks: Sequence[BlockModules], sites: Collection[str], change: Change
) -> Iterator[None]:
    """Change or observe the adjustments in forward passes of this thread.

    ``change(layer, site, added)`` returns the replacement of ``added``, whose last dimension is the
    width; sequences and tokens may share one dimension. Later operations may overwrite either, so
    it must copy what it keeps.
    """
    # What a site of several sublayers adds is known once the block is done.
    sites_at: dict[str, list[str]] = {}
    for site in sites:
        sublayers = SITES[site].sublayers
        sites_at.setdefault(sublayers[0] if len(sublayers) == 1 else OUTPUT, []).append(site)
    streams: dict[int, torch.Tensor] = {}

    def on(layer: int, point: str, value: torch.Tensor) -> torch.Tensor | None:
        if point == STREAM:
            # A copy, because the block may write into it.
            streams[layer] = value.clone()
            return None
        for site in sites_at[point]:
            added = value - streams[layer] if point == OUTPUT else value
            changed = change(layer, site, added)
            value = value + (changed - added) if point == OUTPUT else changed
        if point == OUTPUT:
            del streams[layer]
        return value

    with tap(blocks, {*sites_at, *([STREAM] if OUTPUT in sites_at else [])}, on):
        yield


def log_norm(added: torch.Tensor) -> torch.Tensor:
    """Return the log of the L2 norm of each vector; NaN if the norm is zero or not finite.

    A NaN has no gradient.
    """
    # A copy, because a block may write into the outputs of its sublayers.
    norm = torch.linalg.vector_norm(added.to(torch.float64, copy=True), dim=-1)
    usable = (norm > 0) & torch.isfinite(norm)
    logs = torch.where(usable, norm, 1.0).log()
    return torch.where(usable, logs, torch.nan)
