"""What a forward pass over a batch gives of each layer, which is all that a quantity sees."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from attnlag.errors import UserError
from attnlag.model import attention, hooks, identity
from attnlag.model.attention import WEIGHTS, AttentionPass
from attnlag.model.decoder import Decoder
from attnlag.model.hooks import HEADS, PROJECTED, STREAM, SUBLAYERS
from attnlag.quantities.batches import Batch
from attnlag.quantities.catalogue import SITES


@dataclass(frozen=True)
class LayerPass:
    """What a pass over a batch gives of a layer.

    Rows are the tokens of the batch that are no padding, sequence after sequence. What a pass was
    not asked for is None, or not in ``added``. What blocks receive and add is at least in float32.
    """

    layer: int  # number of the block; the number of blocks stands for the head of the model
    batch: Batch
    # What the block receives, (tokens, width); for the head, in its own precision. A hook before
    # the forward pass of the block gives it.
    stream: torch.Tensor | None = None
    # What each sublayer adds to the stream, (tokens, width): the first tensor that its module
    # returns, or the sum of several modules, as a hook after the forward pass gives it, times the
    # factor of the block, if it has one.
    added: Mapping[str, torch.Tensor] = field(default_factory=dict)
    # Outputs of all heads before the output projection of attention, (tokens, inputs).
    heads: torch.Tensor | None = None
    # Output of this projection, (tokens, width).
    projected: torch.Tensor | None = None
    # Values and weights of attention, in a pass over one sequence.
    attention: AttentionPass | None = None

    def vectors(self, site: str) -> torch.Tensor:
        """Return the vectors of a site, (tokens, width): of attention, ``added["attention"]``."""
        return SITES[site].vectors(self.added)


@dataclass(frozen=True)
class BatchPass:
    """What one pass over a batch has given."""

    batch: Batch
    output: Any  # of the model; None if the pass ended before
    # Layers that no function received: all, in their order, or those that lacked a point.
    layers: list[LayerPass]
    # How often each point was given, by layer and point.
    counts: Counter[tuple[int, str]]
    # What a point gave in place of the vectors of all tokens; the pass ended there.
    problem: str


@dataclass(frozen=True)
class CheckedPass:
    """What one pass over the beginning of a sequence has given, with the sums of its blocks."""

    passed: BatchPass  # all layers, and the output of the model
    evidence: list[identity.Evidence]  # an entry per block

    @property
    def vectors(self) -> list[torch.Tensor]:
        """What each sublayer of each layer adds, (tokens, width)."""
        vectors: list[torch.Tensor] = []
        for layer in self.passed.layers:
            vectors += [added.float().cpu() for added in layer.added.values()]
        return vectors


@dataclass(frozen=True)
class Needs:
    """What a pass is to give."""

    # Points by layer: ``STREAM``, sublayers, ``HEADS``, ``PROJECTED``, ``WEIGHTS``.
    points: Mapping[int, Collection[str]]
    # Modules that give some of them, by layer and point, see `hooks.tap`.
    modules: hooks.Modules = field(default_factory=dict)


def run_pass(
    decoder: Decoder,
    batch: Batch,
    needs: Needs,
    receive: Callable[[LayerPass], object] | None = None,
    *,
    whole: bool = False,
) -> BatchPass:
    """Run a model over a batch, and give what its layers receive and add.

    Parameters
    ----------
    decoder : Decoder
        The model.
    batch : Batch
        The sequences; a single one if attention weights are needed.
    needs : Needs
        What the pass is to give of which layers.
    receive : callable, optional
        Gets each layer once all its points are known; the pass ends after the last layer. Without
        it, the model runs to its end and the result has all layers.
    whole : bool
        Whether the model runs with its head.

    Returns
    -------
    BatchPass
        Its ``problem`` is not empty if a point gave something else than vectors.
    """
    tokens = hooks.RealTokens(batch.mask)
    waiting = {layer: set(points) for layer, points in needs.points.items()}
    values: dict[int, dict[str, Any]] = {layer: {} for layer in waiting}
    counts: Counter[tuple[int, str]] = Counter()

    # A hook calls `receive_point` with a value; that calls `add_to_layer`, which calls `receive`
    # with the layer once it has all its values.
    def add_to_layer(layer: int, value: Any, point: str) -> None:
        if layer not in waiting:
            return
        values[layer][point] = value
        if receive is None or not waiting[layer] <= values[layer].keys():
            return
        del waiting[layer]
        receive(_layer_pass(layer, batch, values.pop(layer)))
        if not waiting:
            hooks.end_pass()

    def receive_point(layer: int, point: str, value: torch.Tensor) -> None:
        if point not in needs.points.get(layer, ()):
            return
        counts[layer, point] += 1
        rows = tokens.vectors(value)
        # What blocks receive and add; the outputs of further modules stay as they are.
        if (layer, point) not in needs.modules:
            rows = decoder.blocks[layer].as_added(point, rows)
            rows = rows.float() if rows.dtype.itemsize < 4 else rows
        add_to_layer(layer, rows, point)

    points = set().union(*needs.points.values())
    with_weights = [layer for layer, needed in needs.points.items() if WEIGHTS in needed]
    output = None
    with (
        attention.giving_weights(decoder, with_weights, partial(add_to_layer, point=WEIGHTS)),
        hooks.tap(decoder.blocks, points, receive_point, needs.modules) as tapped,
        torch.inference_mode(),
    ):
        output = hooks.forward(decoder.whole if whole else decoder.model, batch.ids)
    layers = [_layer_pass(layer, batch, values[layer]) for layer in sorted(values)]
    return BatchPass(batch, output, layers, counts, tapped.problem)


def checked_pass(
    decoder: Decoder, batch: Batch, needs: Needs | None = None, *, whole: bool = False
) -> CheckedPass:
    """Run a model over one sequence, and compare each block's output with its input and sublayers.

    ``needs`` are those of quantities, beside what sublayers add; all else is as of `run_pass`.
    The caller lets `identity.check` judge the evidence.

    Raise UserError if a block receives or gives something else than a vector a token.
    """
    points = {layer: {*SUBLAYERS} for layer in range(len(decoder.blocks))}
    modules: hooks.Modules = {}
    if needs:
        modules = needs.modules
        for layer, needed in needs.points.items():
            points[layer] = points.get(layer, set()).union(needed)
    # Two taps see this pass: that of the check, and that of `run_pass`, which ends for both. Both
    # get the same values of the same modules, and scale them with the same `as_added`.
    with identity.residual_identity(decoder.blocks, batch.mask) as checked:
        passed = run_pass(decoder, batch, Needs(points, modules), whole=whole)
    if passed.problem:
        raise UserError(
            f"{decoder.called}, fails the check of its sites: found {passed.problem}; expected one "
            "vector a token, of the width of the stream, into each block, out of it, and from its "
            f"sublayers; tried {decoder.paths}; nothing was stored"
        )
    return CheckedPass(passed, checked.evidence)


def _layer_pass(layer: int, batch: Batch, values: Mapping[str, Any]) -> LayerPass:
    """Return what a pass gave of a layer, by point, as a record."""
    return LayerPass(
        layer=layer,
        batch=batch,
        stream=values.get(STREAM),
        added={point: values[point] for point in SUBLAYERS if point in values},
        heads=values.get(HEADS),
        projected=values.get(PROJECTED),
        attention=values.get(WEIGHTS),
    )
