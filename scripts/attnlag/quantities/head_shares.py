"""Norms of attention heads: their shares, coherence, floor and attention sinks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.quantities.columns import HEADS_KEY, KEYS, array_of, layer_number, layers_in

# A token is at the floor of its layer if the vector of its heads' norms is within this relative
# distance of that of the first token of its sequence. The first token attends only to itself. If
# all heads of a token attend to the first token, they write the same vectors as there.
FLOOR = 0.1

# Parts of a layer besides its heads: the adjustment, for all tokens and for those above the floor.
WHOLE = "all"
ABOVE = "above floor"

SHARE_COLUMNS = ["layer", "part", "share", "coherence", "at_floor"]
SHARE_COLUMNS += ["sink", "sink_at_floor", "sink_above", "sink_uniform", "sink_tokens"]


def check_of_heads(heads: Sequence[Path]) -> str:
    """Return the error of the sum of heads, or why there are none, as a pass recorded it."""
    return pq.read_metadata(heads[0]).metadata[HEADS_KEY].decode()


def at_floor(head_norms: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Return whether tokens have the norms of the first token of their sequence, (tokens,) bool.

    The norms of heads are (tokens, heads), of consecutive whole sequences.
    """
    first = np.maximum.accumulate(np.where(position == 0, np.arange(len(position)), 0))
    distances = np.linalg.norm(head_norms - head_norms[first], axis=1)
    return (position > 0) & (distances <= FLOOR * np.linalg.norm(head_norms[first], axis=1))


def table(
    heads: Sequence[Path],
    norms: Sequence[Path],
    sinks: Sequence[Path],
    heads_of_sinks: Sequence[Path],
    drop_first: int,
) -> pd.DataFrame:
    """Return a row for each head of each layer, and one for all heads of a layer.

    One layer of one shard is in memory at a time. The norms of heads and of adjustments are of the
    same documents. ``sinks`` have the attention of some tokens to the first token of their
    sequence, without layers if a model gives no attention weights, and ``heads_of_sinks`` the norms
    of heads in the sequences of these tokens. Tokens before position ``drop_first`` are left out.
    ``coherence`` is the ratio of Σ |a|² to Σ |a_h|², both summed over tokens, and ``sink_uniform``
    the attention to the first token if all tokens up to the current one get the same.
    """
    rows: list[dict[str, object]] = []
    sampled = [_sampled(*pair) for pair in zip(sinks, heads_of_sinks, strict=False)]
    for name in layers_in(pq.read_schema(heads[0])):
        energy: Any = 0.0
        energy_of_sum = 0.0
        tokens = 0
        on_floor = 0
        for path, norms_path in zip(heads, norms, strict=True):
            keys, head_norms = norms_of_heads(path, name, ["position"])
            position = keys["position"].to_numpy()
            used = position >= drop_first
            squares = head_norms[used].astype(np.float64) ** 2
            layer_norms = pq.read_table(norms_path, columns=[name])[name].to_numpy()[used]
            energy = energy + squares.sum(axis=0)
            energy_of_sum += float((layer_norms.astype(np.float64) ** 2).sum())
            tokens += int(np.count_nonzero(used))
            on_floor += int(np.count_nonzero(at_floor(head_norms, position)[used]))
        attention = [np.zeros((0, len(energy)), np.float32)]
        floors = [np.zeros(0, bool)]
        positions = [np.zeros(0)]
        for path, scores, places in zip(heads_of_sinks, sinks, sampled, strict=False):
            if name in pq.read_schema(scores).names:
                keys, head_norms = norms_of_heads(path, name, ["position"])
                position = keys["position"].to_numpy()
                floor = at_floor(head_norms, position)[places]
                position = position[places]
                used = position >= drop_first
                attention.append(array_of(pq.read_table(scores, columns=[name])[name])[used])
                floors.append(floor[used])
                positions.append(position[used])
        to_first = np.concatenate(attention)
        floor = np.concatenate(floors)
        shared: dict[str, object] = {
            "layer": layer_number(name),
            "sink_uniform": _mean(1 / (np.concatenate(positions) + 1.0)),
            "sink_tokens": len(to_first),
        }
        for head, share in enumerate(energy / (energy.sum() or np.nan)):
            head_row = {"part": str(head), "share": share, "sink": _mean(to_first[:, head])}
            rows.append(shared | head_row)
        layer_row = {
            "part": WHOLE,
            "share": 1.0,
            "coherence": energy_of_sum / (energy.sum() or np.nan),
            "at_floor": on_floor / (tokens or np.nan),
            "sink": _mean(to_first),
            "sink_at_floor": _mean(to_first[floor]),
            "sink_above": _mean(to_first[~floor]),
        }
        rows.append(shared | layer_row)
    return pd.DataFrame(rows, columns=SHARE_COLUMNS)


def _mean(values: np.ndarray) -> float:
    """Return the mean; NaN if there are no values."""
    return float(values.mean(dtype=np.float64)) if values.size else np.nan


def _sampled(sinks: Path, heads: Path) -> np.ndarray:
    """Return the rows of a shard with known attention to the first token."""
    keys = KEYS[:3]
    head_keys = pd.MultiIndex.from_frame(pq.read_table(heads, columns=keys).to_pandas())
    sink_keys = pd.MultiIndex.from_frame(pq.read_table(sinks, columns=keys).to_pandas())
    return head_keys.get_indexer(sink_keys)


def norms_of_heads(path: Path, name: str, keys: Sequence[str]) -> tuple[pa.Table, np.ndarray]:
    """Return the keys of a shard and one layer's norms of heads, (tokens, heads)."""
    table = pq.read_table(path, columns=[*keys, name]).unify_dictionaries().combine_chunks()
    return table.select(keys), array_of(table[name])
