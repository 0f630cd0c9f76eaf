"""Changes of adjustments, on which the rest of a forward pass depends, and their effects."""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np
import torch

from attnlag.errors import UserError
from attnlag.model.decoder import Decoder
from attnlag.model.hooks import OUTPUT, STREAM, forward, tap
from attnlag.quantities.catalogue import SITES

# A document and a window of it.
SequenceKey = tuple[str, int]

# Gets a layer, a site, and what the site adds, whose last dimension is the width; sequences and
# tokens may share one dimension. Returns what replaces it. Later operations may overwrite either,
# so it must copy what it keeps.
Edit = Callable[[int, str, torch.Tensor], torch.Tensor]


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


def edited_pass(
    decoder: Decoder,
    ids: torch.Tensor,
    sites: Collection[str],
    edit: Edit,
    *,
    whole: bool = False,
    **options: Any,
) -> Any:
    """Run a model with other adjustments, and return its output.

    Parameters
    ----------
    decoder : Decoder
        The model.
    ids : torch.Tensor
        Token ids, (sequences, tokens).
    sites : collection of str
        The sites whose adjustments are edited.
    edit : callable
        Returns what replaces an adjustment, or the adjustment itself, see `Edit`.
    whole : bool
        Whether the model runs with its head.
    **options
        Further arguments of the model.

    Raises
    ------
    UserError
        If a block receives or gives something else than a vector a token.
    """
    # What a site of several sublayers adds is known once the block is done.
    sites_by_point: dict[str, list[str]] = {}
    for site in sites:
        sublayers = SITES[site].sublayers
        point = sublayers[0] if len(sublayers) == 1 else OUTPUT
        sites_by_point.setdefault(point, []).append(site)
    points = {*sites_by_point}
    if OUTPUT in points:
        points.add(STREAM)
    streams: dict[int, torch.Tensor] = {}

    def receive(layer: int, point: str, value: torch.Tensor) -> torch.Tensor | None:
        if point == STREAM:
            # A copy, because the block may write into it.
            streams[layer] = value.clone()
            return None
        for site in sites_by_point[point]:
            if point == OUTPUT:
                added = value - streams[layer]
                value = value + (edit(layer, site, added) - added)
            else:
                value = edit(layer, site, value)
        if point == OUTPUT:
            del streams[layer]
        return value

    with tap(decoder.blocks, points, receive) as tapped:
        return forward(decoder.whole if whole else decoder.model, ids, **options)
    raise UserError(f"{decoder.called}: found {tapped.problem}, expected one vector a token")


def log_norm(added: torch.Tensor) -> torch.Tensor:
    """Return log L2 norms of vectors, (…, width), as (…); NaN if a norm is zero or not finite.

    A NaN has no gradient.
    """
    # A copy, because a block may write into the outputs of its sublayers.
    norm = torch.linalg.vector_norm(added.to(torch.float64, copy=True), dim=-1)
    usable = (norm > 0) & torch.isfinite(norm)
    logs = torch.where(usable, norm, 1.0).log()
    return torch.where(usable, logs, torch.nan)
