"""The attention of each head to the first token of a sequence, the attention sink.

Fast implementations of attention do not expose their weights. The weights are therefore computed
with the implementation ``eager``, for the beginnings of some sequences.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from attnlag.model.gguf import quiet_transformers

# Number of sequences of a shard, evenly spread, and of tokens at the beginning of each.
SEQUENCES = 16
TOKENS = 64

# Number of tokens in a pass; its memory grows with this and with the length of a sequence.
PASS_TOKENS = 512


class NoWeights(Exception):
    """A model gives no attention weights; the message says why."""


def chosen(sequences: int) -> np.ndarray:
    """Return the indices of the sequences of a shard that are used, ascending."""
    return np.unique(np.linspace(0, sequences - 1, min(sequences, SEQUENCES)).round().astype(int))


def sink_scores(
    model: torch.nn.Module, sequences: Sequence[np.ndarray], heads: int
) -> list[np.ndarray]:
    """Return the attention to the first token of each sequence.

    The model's implementation of attention is changed permanently.

    Parameters
    ----------
    model : torch.nn.Module
        A trunk.
    sequences : sequence of (tokens,) int arrays
        Token ids; at most ``TOKENS`` of each are used.
    heads : int
        Number of heads per layer.

    Returns
    -------
    scores : list of (tokens, heads) float32 arrays
        One array per layer, with the tokens of all sequences in order.

    Raises
    ------
    NoWeights
        If the model does not give a number for each head and pair of tokens.
    """
    trunk: Any = model
    found: list[list[np.ndarray]] = []
    at_once = PASS_TOKENS // TOKENS
    with quiet_transformers(), torch.inference_mode():
        # Models with a single implementation of attention keep it.
        trunk.set_attn_implementation("eager")
        for start in range(0, len(sequences), at_once):
            some = [sequence[:TOKENS] for sequence in sequences[start : start + at_once]]
            lengths = [len(sequence) for sequence in some]
            ids = np.zeros((len(some), max(lengths)), np.int64)
            for row, sequence in zip(ids, some, strict=True):
                row[: len(sequence)] = sequence
            shape = len(some), heads, ids.shape[1], ids.shape[1]
            found.append([_of_first(w, shape, lengths) for w in _weights(trunk, ids)])
    if not found or not found[0]:
        raise NoWeights("the model gives none")
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def _weights(trunk: Any, ids: np.ndarray) -> Sequence[torch.Tensor | None]:
    """Return the attention weights of each layer, (sequences, heads, tokens, tokens)."""
    given = torch.from_numpy(ids).to(trunk.get_input_embeddings().weight.device)
    every = torch.ones_like(given)
    try:
        # Padding is on the right, where no token sees it.
        out = trunk(input_ids=given, attention_mask=every, use_cache=False, output_attentions=True)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        # Any exception of a model is possible here; the other results are already stored.
        words = (str(e).splitlines() or [type(e).__name__])[0]
        raise NoWeights(f"a pass that is to give weights of attention fails: {words}") from None
    return getattr(out, "attentions", None) or ()


def _of_first(
    weights: torch.Tensor | None, shape: tuple[int, ...], lengths: Sequence[int]
) -> np.ndarray:
    """Return the attention to the first token of each sequence in a batch, (tokens, heads)."""
    if weights is None or tuple(weights.shape) != shape:
        gave = None if weights is None else tuple(weights.shape)
        raise NoWeights(f"the model gives numbers of shape {gave}, and {shape} were expected")
    if weights.triu(1).any():
        # Some models mask later tokens only in implementations that give no weights.
        raise NoWeights("the model gives weights of tokens after a token's own")
    first = weights[..., 0].float().cpu().transpose(1, 2).numpy()
    return np.concatenate([row[:n] for row, n in zip(first, lengths, strict=True)])
