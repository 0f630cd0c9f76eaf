"""Changes of adjustments: the rest of a forward pass depends on the vectors in their place."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from attnlag.model.architectures import BlockModules
from attnlag.model.hooks import OUTPUT, STREAM, tap
from attnlag.quantities.sites import SITES

Change = Callable[[int, str, torch.Tensor], torch.Tensor]
Receive = Callable[[int, str, torch.Tensor], object]


@contextmanager
def edited(
    blocks: Sequence[BlockModules],
    sites: Collection[str],
    change: Change,
    receive: Receive = lambda layer, site, added: None,
) -> Iterator[None]:
    """Change the adjustments in forward passes of this thread, and observe the results.

    Parameters
    ----------
    change : callable
        ``change(layer, site, added)`` returns the replacement of ``added``, whose last dimension
        is the width; sequences and tokens may share one dimension.
    receive : callable
        ``receive(layer, site, added)`` is called with the changed vectors. Later operations may
        overwrite them, so ``receive`` must copy what it keeps.
    """
    # What a site of several parts adds is known once the block is done.
    sites_at: dict[str, list[str]] = {}
    for site in sites:
        parts = SITES[site].parts
        sites_at.setdefault(parts[0] if len(parts) == 1 else OUTPUT, []).append(site)
    streams: dict[int, torch.Tensor] = {}

    def on(layer: int, point: str, value: torch.Tensor) -> torch.Tensor | None:
        if point == STREAM:
            # A copy, because the block may write into it.
            streams[layer] = value.clone()
            return None
        for site in sites_at[point]:
            added = value - streams[layer] if point == OUTPUT else value
            changed = change(layer, site, added)
            receive(layer, site, changed)
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


def gates(
    sites: Collection[str], layers: int, shape: tuple[int, int], device: torch.device, dtype: Any
) -> dict[str, list[torch.Tensor]]:
    """Return gates of 1 for each site, layer, sequence and token, which are leaves of the graph."""
    return {
        site: [
            torch.ones(shape, device=device, dtype=dtype, requires_grad=True) for _ in range(layers)
        ]
        for site in sites
    }


def through(opened: Mapping[str, Sequence[torch.Tensor]]) -> Change:
    """Return the change that multiplies each adjustment by its gate."""

    def change(layer: int, site: str, added: torch.Tensor) -> torch.Tensor:
        if site not in opened:
            return added
        gate = opened[site][layer].to(device=added.device, dtype=added.dtype)
        return added * gate.reshape(*added.shape[:-1], 1)

    return change
