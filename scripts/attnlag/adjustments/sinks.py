"""The attention of each head to the first token of a sequence, the attention sink.

Fast implementations of attention do not expose their weights. The weights are therefore computed
with the implementation ``eager``, for the beginnings of some sequences.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch.nn import functional

from attnlag.adjustments import columns, layout
from attnlag.adjustments.batches import Rotary, padded
from attnlag.adjustments.extraction import Adjustments
from attnlag.errors import counted
from attnlag.model.hooks import FAILURES, NotGiven, failure_in_words, forward
from attnlag.model.language_models import quiet_transformers
from attnlag.storage import tables
from attnlag.storage.sequences import TokenSequence

# Number of sequences of a shard, evenly spread, and of tokens at the beginning of each.
SEQUENCES = 16
TOKENS = 64

# Number of sequences in a pass, which bounds its memory.
AT_ONCE = 8


def sampled(sequences: int) -> np.ndarray:
    """Return the indices of the sequences of a shard that are run, ascending."""
    return np.unique(np.linspace(0, sequences - 1, min(sequences, SEQUENCES)).round().astype(int))


def sink_scores(
    model: torch.nn.Module, sequences: Sequence[np.ndarray], heads: int
) -> list[np.ndarray]:
    """Return the attention to the first token of each sequence, (tokens, heads) float32 per layer.

    The first ``TOKENS`` tokens of whole sequences are used, with the position embeddings that the
    whole sequence has. The model's implementation of attention is changed permanently. Raise
    NotGiven if the model does not give a number for each head and pair of tokens.
    """
    trunk: Any = model
    rotary = Rotary(model)
    lengths = np.array([len(sequence) for sequence in sequences])
    stretches = rotary.stretches(lengths)
    scores: dict[int, list[np.ndarray]] = {}
    with quiet_transformers(), torch.inference_mode():
        # Models with a single implementation of attention keep it.
        trunk.set_attn_implementation("eager")
        for stretch in np.unique(stretches):
            (alike,) = np.nonzero(stretches == stretch)
            for batch in np.split(alike, range(AT_ONCE, len(alike), AT_ONCE)):
                ids, _ = padded([sequences[i][:TOKENS] for i in batch])
                last = int(lengths[batch].max()) - 1 if rotary.limits else None
                rotary.reset()
                layers = [_of_first(w, ids.shape, heads) for w in _weights(trunk, ids, last)]
                for place, i in enumerate(batch):
                    scores[int(i)] = [layer[place, : lengths[i]] for layer in layers]
    if not any(scores.values()):
        raise NotGiven("the model gives none")
    by_layer = zip(*(scores[i] for i in sorted(scores)), strict=True)
    return [np.concatenate(of_sequences) for of_sequences in by_layer]


def _weights(trunk: Any, ids: torch.Tensor, last: int | None) -> list[torch.Tensor | None]:
    """Return the attention weights of each layer, (sequences, heads, tokens, tokens).

    With ``last``, another token follows at this position, unseen by the others, so that embeddings
    are stretched as in a pass over whole sequences.
    """
    options = {}
    if last is not None:
        device = trunk.get_input_embeddings().weight.device
        positions = torch.tensor([*range(ids.shape[1]), last], device=device)
        ids = functional.pad(ids, (0, 1))
        options = {"position_ids": positions.expand(ids.shape)}
    try:
        out = forward(trunk, ids, output_attentions=True, **options)
    except FAILURES as failure:
        # The other results are already stored.
        raise NotGiven(failure_in_words(failure)) from None
    layers = getattr(out, "attentions", None) or ()
    if last is None:
        return list(layers)
    return [None if layer is None else layer[..., :-1, :-1] for layer in layers]


def _of_first(weights: torch.Tensor | None, ids: tuple[int, ...], heads: int) -> np.ndarray:
    """Return the attention to the first token of sequences, (sequences, tokens, heads)."""
    shape = ids[0], heads, ids[1], ids[1]
    if weights is None or tuple(weights.shape) != shape:
        gave = None if weights is None else tuple(weights.shape)
        raise NotGiven(f"the model gives numbers of shape {gave}, and {shape} were expected")
    if weights.triu(1).any():
        # Some models mask later tokens only in implementations that give no weights.
        raise NotGiven("the model gives weights of tokens after a token's own")
    return weights[..., 0].float().cpu().transpose(1, 2).numpy()


def write(tokens: Path, adjustments: Adjustments, path: Path, record: dict[str, Any]) -> str:
    """Write the attention of heads to first tokens for some tokens, and return its description."""
    scores: list[np.ndarray] = []
    schema = columns.schema(0)
    rows = pq.read_table(tokens, columns=["document", "window", "input_ids"])
    rows = rows.take(sampled(rows.num_rows))
    sequences = [np.array(ids) for ids in rows["input_ids"].to_pylist()]
    remark = "attention to first tokens is unknown without heads"
    if adjustments.heads:
        heads = adjustments.heads[0].count
        try:
            scores = sink_scores(adjustments.model, sequences, heads)
        except NotGiven as reason:
            remark = f"attention to first tokens is unknown: {reason}"
        else:
            schema = columns.schema(len(scores), heads)
            of_tokens = counted(len(scores[0]), "token")
            remark = f"attention to first tokens at {of_tokens} of {counted(len(rows), 'sequence')}"
    keys = rows["document"].to_pylist(), rows["window"].to_pylist()
    beginnings = list(map(TokenSequence, *keys, [sequence[:TOKENS] for sequence in sequences]))
    table = layout.table(beginnings, scores, schema, "float32") if scores else schema.empty_table()
    schema = schema.with_metadata({columns.SINKS_KEY: remark.encode(), **tables.metadata(record)})
    with tables.parquet_writer(path, schema, **layout.encoding(schema, "float32")) as writer:
        writer.write_table(table)
    return remark
