"""Geometry of adjustments relative to the stream and to the previous token's adjustment.

All quantities are computed in the forward pass from products of two vectors. For an adjustment
``a`` to the stream ``x``, the input of the block::

    parallel        <a, x> / |x|
    orthogonal      |a - parallel x / |x||
    log_growth      log(|x + a| / |x|)
    angle           the angle between x and x + a
    cosine_previous <a, b> / (|a| |b|), b the adjustment to the token before

Random pairs are the control of their means: the adjustment of a token, and the stream or the
adjustment of a token in another document.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from attnlag.quantities.catalogue import OF_A_PASS, RELATIVE
from attnlag.quantities.columns import PAIRS_KEY
from attnlag.quantities.computation import Computation
from attnlag.quantities.layer_pass import LayerPass
from attnlag.storage.sequences import TokenSequence

# Number of tokens of a shard, each from another sequence, that random pairs are made from.
PAIRED_TOKENS = 128


def dots(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the inner products of the rows of two arrays, (tokens,) float64.

    float32 input is summed in float32, block by block, with an error of 2e-8 |a| |b| in a seventh
    of the time.
    """
    if a.device.type == "cpu":
        return torch.from_numpy(np.vecdot(a.numpy(), b.numpy())).double()
    return torch.linalg.vecdot(a, b).double()


def relative_to_stream(
    aa: torch.Tensor, ax: torch.Tensor, xx: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Return the quantities relative to the stream, in the order of the module, in float64.

    They come from the products <a, a>, <a, x> and <x, x>, whose shape they have: (tokens,), or
    (tokens, 1) and (1, tokens) for all pairs. NaN or infinite where the stream is zero.
    """
    size = xx.sqrt()
    parallel = ax / size
    orthogonal = (aa - parallel.square()).clamp_min(0).sqrt()
    growth = torch.log1p(((2 * ax + aa) / xx).clamp_min(-1)) / 2
    return parallel, orthogonal, growth, torch.atan2(orthogonal, size + parallel)


def cosine(ab: torch.Tensor, aa: torch.Tensor, bb: torch.Tensor) -> torch.Tensor:
    """Return cosines, (tokens,), from products <a, b>, <a, a> and <b, b>; NaN for a zero vector."""
    return ab / (aa * bb).sqrt()


def directions(added: torch.Tensor, stream: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
    """Return the quantities of the tokens of a batch, (tokens, quantities) float32.

    The adjustments and the inputs of the block are (tokens, width) in float32 or better, sequence
    after sequence. ``starts`` are the rows of first tokens, whose cosine with the previous token is
    NaN.
    """
    a = added
    x = stream.to(added.device)
    aa = dots(a, a)
    before = torch.full_like(aa, torch.nan)
    before[1:] = cosine(dots(a[1:], a[:-1]), aa[1:], aa[:-1])
    before[starts.to(a.device)] = torch.nan
    return torch.stack([*relative_to_stream(aa, dots(a, x), dots(x, x)), before], dim=1).float()


class PairSample:
    """Vectors of some tokens of a shard, for random pairs of tokens, of a site and of the stream.

    The sample has one token of each of at most ``PAIRED_TOKENS`` sequences, evenly spread over the
    shard. The choice within a sequence depends only on the names of its document and window. First
    tokens are excluded, because they are attention sinks.
    """

    def __init__(self, sequences: int, layers: Sequence[int], width: int):
        self._places = {layer: place for place, layer in enumerate(layers)}
        indices = np.linspace(0, sequences - 1, min(sequences, PAIRED_TOKENS)).round()
        self._sampled = {int(index) for index in indices}
        self._passed = 0  # number of sequences that passed
        self._rows = np.zeros(0, np.int64)
        self._slots = np.zeros(0, np.int64)
        self.documents: list[str] = []
        # (tokens, layers, width) arrays
        self.added, self.stream = np.zeros((2, len(indices), len(layers), width), np.float32)

    def begin(self, sequences: Sequence[TokenSequence]) -> None:
        """Choose tokens from the next sequences of the shard."""
        rows = []
        start = 0
        first_slot = len(self.documents)
        for document, window, ids in sequences:
            if self._passed in self._sampled and len(ids) > 1:
                digest = hashlib.sha256(f"{document} {window}".encode(errors="surrogatepass"))
                place = int.from_bytes(digest.digest()[:8], "little") % (len(ids) - 1)
                rows.append(start + 1 + place)
                self.documents.append(document)
            start += len(ids)
            self._passed += 1
        self._rows = np.array(rows, np.int64)
        self._slots = np.arange(first_slot, first_slot + len(rows))

    def keep(self, layer: int, rows: np.ndarray, added: torch.Tensor, stream: torch.Tensor) -> None:
        """Keep the vectors of the sample's tokens in a layer, given those of a batch of rows.

        ``rows`` is (tokens,); what is added and the stream are (tokens, width).
        """
        _, places, sampled = np.intersect1d(rows, self._rows, return_indices=True)
        if len(places):
            for kept, vectors in ((self.added, added), (self.stream, stream)):
                chosen = torch.from_numpy(places).to(vectors.device)
                picked = vectors.index_select(0, chosen).float().cpu()
                kept[self._slots[sampled], self._places[layer]] = picked.numpy()

    def means(self) -> dict[str, Any]:
        """Return the number of random ``pairs``, and the mean of each quantity per layer.

        They are the adjustment of one token and the stream or the adjustment of another one. The
        mean is None if no pair has a finite value.
        """
        codes = np.unique(self.documents, return_inverse=True)[1]
        other_document = torch.from_numpy(codes[:, None] != codes[None, :])
        means: dict[str, Any] = {name: [] for name in (*OF_A_PASS, *RELATIVE)}
        for place in self._places.values():
            a = torch.from_numpy(self.added[: len(codes), place]).double()
            x = torch.from_numpy(self.stream[: len(codes), place]).double()
            aa = dots(a, a)[:, None]
            xx = dots(x, x)[None, :]
            relative = relative_to_stream(aa, a @ x.T, xx)
            values = dict(zip(OF_A_PASS, [*relative, cosine(a @ a.T, aa, aa.T)], strict=True))
            for name in RELATIVE:
                values[name] = values[name.removesuffix("_relative")] / xx.sqrt()
            for name, value in values.items():
                finite = value[other_document & value.isfinite()]
                means[name].append(float(finite.mean()) if len(finite) else None)
        return {"pairs": int(other_document.sum()), "layers": list(self._places), **means}


class Geometry(Computation):
    """The directions of a site's adjustments."""

    # Keeps the vectors of some tokens for random pairs, if there are to be any.
    sample: PairSample | None = None

    def expect_sequences(self, sequences: int) -> None:
        """Prepare the control of random pairs of a shard."""
        self.sample = PairSample(sequences, self.layers, self.width)

    def begin(self, sequences: Sequence[TokenSequence]) -> None:
        """Choose tokens of random pairs."""
        if self.sample:
            self.sample.begin(sequences)

    def of(self, layer: LayerPass) -> torch.Tensor:
        added = layer.vectors(self.site)
        assert layer.stream is not None  # it is needed
        if self.sample:
            self.sample.keep(layer.layer, layer.batch.rows, added, layer.stream)
        return directions(added, layer.stream, layer.batch.starts)

    def metadata(self) -> dict[bytes, bytes]:
        """Return the means over random pairs."""
        return {PAIRS_KEY: json.dumps(self.sample.means()).encode()} if self.sample else {}
