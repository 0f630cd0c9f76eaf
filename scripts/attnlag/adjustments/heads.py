"""The part of each attention head in the adjustment, without its vector being built.

An attention sublayer adds a = c (Σ_h z_h W_h + b) g: z_h is what head h has gathered, W_h its rows
of the output projection, and b the projection's bias. Where the model normalises what it adds, g is
the gain of the norm and c a number of the token, the inverse of the root mean square; frozen at its
value, the norm is linear. Else g is 1, and c what the block multiplies by. The vector of a head is
a_h = c z_h W_h g. With W_h g = R_h'Q_h, where the rows of Q_h are orthonormal, its norm is
|c| |z_h R_h'|, as its square is c² z_h (W_h g)(W_h g)' z_h'.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from attnlag.model import hooks
from attnlag.model.architectures import BlockModules

# Under this name a pass gives the norms of heads.
ROWS = "attention: heads"

# Where a file of heads says how well they add up, or why there are none.
FOUND_KEY = b"attnlag.heads"

# What mixes the tokens of a block, and its output projection, where it has one of these names.
MIXERS = ("self_attn", "attn", "attention", "self_attention")
PROJECTIONS = ("o_proj", "c_proj", "out_proj", "dense", "attention.out_proj")


class NoHeads(Exception):
    """The heads of a model are not found, or fail their proof; says why."""


@dataclass
class LayerHeads:
    """The heads of a layer.

    Attributes
    ----------
    projection : torch.nn.Module
        The output projection, whose input is z.
    count : int
        Number of heads.
    weights : (inputs, width) tensor
        W, float64.
    bias : (width,) tensor
    gain : (width,) tensor or None
        g, up to a factor, where what is added is normalised.
    roots : (heads, inputs / heads, rank) float32 tensor
        R_h', transposed.
    scale : float
        c, where nothing is normalised.
    """

    projection: torch.nn.Module
    count: int
    weights: torch.Tensor
    bias: torch.Tensor
    gain: torch.Tensor | None
    roots: torch.Tensor
    scale: float

    def factor(self, projected: torch.Tensor, added: torch.Tensor) -> torch.Tensor | float:
        """Return c of each token, given what the projection gave and what is added."""
        if self.gain is None:
            return self.scale
        before = projected.double() * self.gain.to(projected.device)
        squares = before.square().sum(dim=-1)
        return (before * added.double()).sum(dim=-1) / squares.clamp_min(1e-300)

    def norms(self, z: torch.Tensor, factor: torch.Tensor | float) -> torch.Tensor:
        """Return the norm of each head's vector, (tokens, heads) float32."""
        if self.roots.device != z.device:
            self.roots = self.roots.to(z.device)
        by_head = z.float().view(len(z), self.count, -1).transpose(0, 1)
        norms = torch.linalg.vector_norm(by_head @ self.roots, dim=-1).T
        if isinstance(factor, torch.Tensor):
            return norms * factor.abs().float()[:, None]
        return norms * abs(factor)

    def vectors(self, z: torch.Tensor, factor: torch.Tensor | float) -> torch.Tensor:
        """Return the vectors of all heads, (tokens, heads + 1, width) float64; last the bias's."""
        weights = self.weights.view(self.count, -1, self.weights.shape[1])
        by_head = z.double().cpu().view(len(z), self.count, -1)
        vectors = torch.einsum("thi,hiw->thw", by_head, weights)
        vectors = torch.cat([vectors, self.bias.expand(len(z), 1, -1)], dim=1)
        if self.gain is not None:
            vectors = vectors * self.gain
        if isinstance(factor, torch.Tensor):
            return vectors * factor.cpu()[:, None, None]
        return vectors * factor


def located(blocks: Sequence[BlockModules], config: Any) -> list[LayerHeads]:
    """Return the heads of every layer.

    Parameters
    ----------
    blocks : sequence of BlockModules
    config : transformers configuration
        The configuration of the text model, which states the number of heads.

    Raises
    ------
    NoHeads
        If a block has no output projection of a known name, or one that heads do not divide.
    """
    count = getattr(config, "num_attention_heads", None)
    if not isinstance(count, int):
        raise NoHeads("the configuration states no number of heads")
    return [_of_block(layer, block, count) for layer, block in enumerate(blocks)]


def _of_block(layer: int, block: BlockModules, count: int) -> LayerHeads:
    if block.kind != "attention":
        raise NoHeads(f"layer {layer} has {block.kind} in place of attention")
    projection, gain = _projection(block.attention), None
    if projection is None:
        # What is added comes from a norm: its gain is what it makes of a vector of ones.
        projection = next(filter(None, map(_projection, _submodules(block.block, MIXERS))), None)
        if projection is None:
            raise NoHeads(f"layer {layer} has no output projection of a known name")
        width = _matrix(projection).shape[1]
        weight = next(block.attention.parameters())
        with torch.inference_mode():
            gain = block.attention(weight.new_ones(1, width))[0].double().cpu()
    weights = _matrix(projection)
    if weights.shape[0] % count:
        raise NoHeads(f"layer {layer} has {weights.shape[0]} inputs for {count} heads")
    bias = getattr(projection, "bias", None)
    bias = torch.zeros(weights.shape[1]) if bias is None else bias.detach()
    weighted = weights if gain is None else weights * gain
    by_head = weighted.view(count, -1, weights.shape[1])
    # R of the transposed: |z W| = |Q R z'| = |R z'|.
    roots = torch.linalg.qr(by_head.transpose(1, 2), mode="r").R.transpose(1, 2)
    scale = 1.0 if block.scale is None else block.scale
    return LayerHeads(
        projection, count, weights, bias.double().cpu(), gain, roots.float().contiguous(), scale
    )


def _submodules(module: torch.nn.Module, paths: Sequence[str]) -> Iterator[torch.nn.Module]:
    """Yield the modules below one that are there, of some paths."""
    for path in paths:
        try:
            yield module.get_submodule(path)
        except AttributeError:
            continue


def _projection(module: torch.nn.Module) -> torch.nn.Module | None:
    """Return the output projection of an attention module, perhaps the module itself."""
    for candidate in (module, *_submodules(module, PROJECTIONS)):
        if isinstance(candidate, torch.nn.Linear | Conv1D):
            return candidate
    return None


def _matrix(projection: torch.nn.Module) -> torch.Tensor:
    """Return the matrix that rows are multiplied by, (inputs, width) float64 on the CPU."""
    weight = projection.weight.detach().double().cpu()  # type: ignore[operator,union-attr]
    return weight if isinstance(projection, Conv1D) else weight.T.contiguous()


Seen = dict[int, tuple[torch.Tensor, torch.Tensor | None]]


@contextmanager
def watched(layers: Sequence[LayerHeads], mask: torch.Tensor) -> Iterator[Seen]:
    """Yield what the projections get and, where it is normalised, give in a pass of this thread.

    Parameters
    ----------
    layers : sequence of LayerHeads
    mask : (sequences, tokens) bool tensor
        True for tokens, False for padding.

    Yields
    ------
    seen : dict of int to pair of tensors
        By layer, each (tokens, inputs or width), for as long as nobody takes it out.
    """
    real_tokens, thread = hooks.selector(mask), threading.get_ident()
    seen: Seen = {}

    def hook_of(layer: int, normalised: bool) -> Callable[..., None]:
        def hook(_: object, args: tuple[Any, ...], output: Any) -> None:
            if threading.get_ident() == thread:
                projected = real_tokens(output) if normalised else None
                seen[layer] = real_tokens(args[0]), projected

        return hook

    with ExitStack() as handles:
        # Two hooks that are registered at once may get the same number, and one be lost.
        with hooks.REGISTERING:
            for number, layer in enumerate(layers):
                hook = hook_of(number, layer.gain is not None)
                # Before those of the part itself, which may be this module.
                handle = layer.projection.register_forward_hook(hook, prepend=True)
                handles.callback(handle.remove)
        yield seen


def norms_of(
    layer: LayerHeads, seen: tuple[torch.Tensor, torch.Tensor | None], added: torch.Tensor
) -> torch.Tensor:
    """Return the norms of a layer's heads, (tokens, heads), given what was seen and is added."""
    z, projected = seen
    factor = layer.scale if projected is None else layer.factor(projected, added)
    return layer.norms(z, factor)


def prove(
    layers: Sequence[LayerHeads],
    found: Sequence[tuple[tuple[torch.Tensor, torch.Tensor | None], torch.Tensor]],
    bound: float,
) -> float:
    """Return the largest error of the heads of some tokens; refuse what they do not add up to.

    Parameters
    ----------
    layers : sequence of LayerHeads
    found : sequence of pairs
        The vectors at the projection of each layer, and the vectors that the layer adds.
    bound : float
        On |Σ heads + bias - adjustment|, relative to the size of adjustment and heads, and on the
        norms of heads against those of their vectors.

    Raises
    ------
    NoHeads
    """
    worst = 0.0
    for number, (layer, (seen, added)) in enumerate(zip(layers, found, strict=True)):
        factor = layer.scale if seen[1] is None else layer.factor(seen[1], added)
        vectors = layer.vectors(seen[0], factor)
        sizes = vectors.norm(dim=-1)
        whole = added.double().cpu()
        size = torch.maximum(whole.norm(dim=-1), sizes.square().sum(dim=-1).sqrt())
        size = size.clamp_min(torch.finfo(torch.float32).tiny)
        gaps = (vectors.sum(dim=1) - whole).norm(dim=-1) / size
        off = (norms_of(layer, seen, added).double().cpu() - sizes[:, :-1]).abs() / size[:, None]
        error = max(float(gaps.max()), float(off.max()))
        if not error <= bound:
            raise NoHeads(
                f"in layer {number}, heads and bias make up the adjustment only within {error:.1e}"
            )
        worst = max(worst, error)
    return worst
