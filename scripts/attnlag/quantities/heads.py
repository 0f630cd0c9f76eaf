"""Norms of the parts of the adjustment from each attention head, without forming their vectors.

An attention sublayer adds a = c (Σ_h z_h W_h + b) g, where z_h is the output of head h before the
projection, W_h are its rows of the output projection, and b is the projection's bias. If the model
normalises the output, g is the gain of the normalisation and c, the inverse root mean square, is a
number per token; with c frozen, the normalisation is linear. Otherwise g is 1, and c is the factor
of the block. The vector of a head is a_h = c z_h W_h g. With W_h g = R_h'Q_h, where the rows of Q_h
are orthonormal, its norm is |c| |z_h R_h'|, because its square is c² z_h (W_h g)(W_h g)' z_h'.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from attnlag.errors import UserError, counted
from attnlag.model import identity
from attnlag.model.decoder import WRAPPED, Decoder, mixer_of, submodule
from attnlag.model.hooks import HEADS, PROJECTED, BlockModules
from attnlag.quantities import columns
from attnlag.quantities.catalogue import Quantity
from attnlag.quantities.computation import Check, Computation
from attnlag.quantities.layer_pass import BatchPass, LayerPass

# Known names of the token mixer of a block, and of its output projection.
MIXER_NAMES = ("self_attn", "attn", "attention", "self_attention")
PROJECTIONS = ("o_proj", "c_proj", "out_proj", "dense", "attention.out_proj", "Wo", "o")

# Types whose heads each consist of two attention heads of the configuration.
DIFFERENTIAL = ("diffllama",)


@dataclass
class LayerHeads:
    """The heads of a layer."""

    projection: torch.nn.Module  # the output projection, whose input is z
    count: int  # number of heads
    gain: torch.Tensor | None  # g, (width,), up to a factor, if the output is normalised
    scale: float  # c, if nothing is normalised

    @property
    def inputs(self) -> int:
        """The size of z."""
        return _sizes(self.projection)[0]

    @property
    def weights(self) -> torch.Tensor:
        """W g, (inputs, width) float64 on the CPU: a new copy, as those of all layers are large."""
        weight = self.projection.weight.detach().double().cpu()  # type: ignore[operator,union-attr]
        weight = weight if isinstance(self.projection, Conv1D) else weight.T.contiguous()
        return weight if self.gain is None else weight * self.gain

    @property
    def bias(self) -> torch.Tensor:
        """b g, (width,) float64 on the CPU."""
        bias: Any = getattr(self.projection, "bias", None)
        if bias is None:
            return torch.zeros(_sizes(self.projection)[1], dtype=torch.float64)
        bias = bias.detach().double().cpu()
        return bias if self.gain is None else bias * self.gain

    @cached_property
    def roots(self) -> torch.Tensor:
        """R_h', (heads, inputs / heads, rank) float32."""
        by_head = self.weights.view(self.count, self.inputs // self.count, -1)
        # The QR decomposition of the transpose gives |z W| = |Q R z'| = |R z'|.
        roots = torch.linalg.qr(by_head.transpose(1, 2), mode="r").R.transpose(1, 2)
        return roots.float().contiguous()

    def factor(self, layer: LayerPass) -> torch.Tensor:
        """Return c of each token, (tokens, 1)."""
        added = layer.added["attention"]
        projected = layer.projected
        if projected is None or self.gain is None:
            return added.new_full((len(added), 1), self.scale, dtype=torch.float64)
        before = projected.double() * self.gain.to(projected.device)
        squares = before.square().sum(dim=-1, keepdim=True)
        return (before * added.double()).sum(dim=-1, keepdim=True) / squares.clamp_min(1e-300)

    def norms(self, layer: LayerPass) -> torch.Tensor:
        """Return the norm of each head's vector, (tokens, heads) float32."""
        z = layer.heads
        assert z is not None  # it is needed
        if self.roots.device != z.device:
            self.roots = self.roots.to(z.device)
        by_head = z.float().view(len(z), self.count, -1).transpose(0, 1)
        norms = torch.linalg.vector_norm(by_head @ self.roots, dim=-1).T
        return norms * self.factor(layer).abs().float()

    def vectors(self, layer: LayerPass) -> torch.Tensor:
        """Return the vectors of all heads and the bias, (tokens, heads + 1, width) float64."""
        z = layer.heads
        assert z is not None  # it is needed
        by_head = z.double().cpu().view(len(z), self.count, -1)
        weights = self.weights.view(self.count, by_head.shape[2], -1)
        vectors = torch.einsum("thi,hiw->thw", by_head, weights)
        vectors = torch.cat([vectors, self.bias.expand(len(z), 1, -1)], dim=1)
        return vectors * self.factor(layer).cpu()[:, :, None]


def located(blocks: Sequence[BlockModules], config: Any) -> tuple[dict[int, LayerHeads], list[str]]:
    """Return the heads of each layer that has any, and why the others have none."""
    layers: dict[int, LayerHeads] = {}
    without: list[str] = []
    for layer, block in enumerate(blocks):
        heads = heads_in(layer, block, config)
        if isinstance(heads, LayerHeads):
            layers[layer] = heads
        else:
            without.append(heads)
    return layers, without


def heads_in(layer: int, block: BlockModules, config: Any) -> LayerHeads | str:
    """Return the heads of one layer, or why it has none.

    It needs an output projection with a known name, whose inputs the heads divide.
    """
    count = getattr(config, "num_attention_heads", None)
    if not isinstance(count, int):
        return "the configuration states no number of heads"
    # A differential head subtracts the attention of one of these from that of another.
    if config.model_type in DIFFERENTIAL:
        count //= 2
    mixer = mixer_of(block)
    if mixer != "attention":
        return f"layer {layer} has {mixer} in place of attention"
    attention, *summands = block.sublayers["attention"]
    projection = _projection(attention)
    gain = None
    if projection is None:
        projection = _projection(*_submodules(block.block, MIXER_NAMES))
        if projection is None or summands or "norm" not in type(attention).__name__.lower():
            return f"layer {layer} has no output projection of a known name"
        # The adjustment is the output of a normalisation, whose gain is its output for ones.
        weight = next(attention.parameters())
        with torch.inference_mode():
            gain = attention(weight.new_ones(1, _sizes(projection)[1]))[0].double().cpu()
    inputs, _ = _sizes(projection)
    if inputs % count:
        return f"layer {layer} has {inputs} inputs for {count} heads"
    return LayerHeads(projection, count, gain, 1.0 if block.scale is None else block.scale)


def _submodules(module: torch.nn.Module, paths: Sequence[str]) -> Iterator[torch.nn.Module]:
    """Yield the modules that exist at the given paths below a module."""
    for path in paths:
        with suppress(UserError):
            yield submodule(module, path)


def _projection(*modules: torch.nn.Module) -> torch.nn.Module | None:
    """Return the first output projection of attention modules, one of which may be one itself."""
    for module in modules:
        for wrapped in (module, *_submodules(module, PROJECTIONS)):
            candidate = getattr(wrapped, WRAPPED, wrapped)
            if isinstance(candidate, torch.nn.Linear | Conv1D):
                return candidate
    return None


def _sizes(projection: torch.nn.Module) -> tuple[int, int]:
    """Return the numbers of inputs and of outputs of a projection."""
    rows, columns = projection.weight.shape  # type: ignore[union-attr,misc]
    return (rows, columns) if isinstance(projection, Conv1D) else (columns, rows)


def check_sum(layer: LayerPass, heads: LayerHeads, bound: float) -> Check:
    """Check the sum of a layer's heads.

    The error is the largest of |Σ heads + bias - adjustment|, relative to the size of adjustment
    and heads, and of the differences between the norms of heads and those of their vectors.
    """
    vectors = heads.vectors(layer)
    sizes = vectors.norm(dim=-1)
    adjustment = layer.added["attention"].double().cpu()
    size = torch.maximum(adjustment.norm(dim=-1), sizes.square().sum(dim=-1).sqrt())
    size = size.clamp_min(torch.finfo(torch.float32).tiny)
    gaps = (vectors.sum(dim=1) - adjustment).norm(dim=-1) / size
    norms = heads.norms(layer).double().cpu()
    errors = torch.stack([gaps, *((norms - sizes[:, :-1]).abs() / size[:, None]).T])
    # The largest of numbers and NaN is NaN.
    error = float(errors.max())
    words = f"heads and bias make up the adjustment only within {error:.1e}"
    return Check(ok=error <= bound, error=error, reason=f"in layer {layer.layer}, {words}")


class Heads(Computation):
    """The norms of the heads of attention, in the layers that have any."""

    def __init__(self, quantity: Quantity, site: str, decoder: Decoder):
        super().__init__(quantity, site, decoder)
        self.bound = identity.TOLERANCE[decoder.dtype]
        # By layer, and why other layers have none.
        self.heads, self.without = located(decoder.blocks, decoder.config)
        self.error = 0.0  # the largest, of the sum of heads
        self.layers = list(self.heads)
        self.needs.add(HEADS)
        if any(layer.gain is not None for layer in self.heads.values()):
            self.needs.add(PROJECTED)
        for number, layer in self.heads.items():
            for point in self.needs & {HEADS, PROJECTED}:
                self.modules[number, point] = layer.projection
        if self.heads:
            self.shape = (next(iter(self.heads.values())).count,)

    @property
    def remark(self) -> str:  # type: ignore[override]
        """The error of the sum of heads in words, and why layers have none."""
        if not self.heads:
            return f"no heads: {self.without[0]}"
        words = f"heads + bias = adjustment within {self.error:.1e}"
        if self.without:
            words += f"; {counted(len(self.without), 'layer')} without, as {self.without[0]}"
        return words

    @torch.inference_mode()
    def check(self, passed: BatchPass) -> Check:
        """Check that heads and bias add up to the adjustment, and leave out the other layers."""
        # Not all layers may be wanted.
        self.heads = {number: self.heads[number] for number in self.layers}
        for layer in passed.layers:
            if layer.layer not in self.heads:
                continue
            check = self._check_layer(layer)
            if check.ok:
                self.error = max(self.error, check.error)
            else:
                self.without.append(check.reason)
                del self.heads[layer.layer]
        self.layers = list(self.heads)
        reason = self.without[0] if self.without else ""
        return Check(ok=bool(self.heads), error=self.error, reason=reason)

    def _check_layer(self, passed: LayerPass) -> Check:
        """Check the sum of heads of a layer, if its output projection has made what it adds."""
        lacks_output = PROJECTED in self.needs and passed.projected is None
        if passed.heads is None or lacks_output or "attention" not in passed.added:
            reason = f"layer {passed.layer} adds what its output projection has not made"
            return Check(ok=False, reason=reason)
        return check_sum(passed, self.heads[passed.layer], self.bound)

    def of(self, layer: LayerPass) -> torch.Tensor:
        return self.heads[layer.layer].norms(layer)

    def metadata(self) -> dict[bytes, bytes]:
        return {columns.HEADS_KEY: self.remark.encode()}
