"""Counts of what a design left out, which its file states beside its rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.errors import UserError, counted
from attnlag.quantities.catalogue import Outcome

# Metadata key of a design for what it left out.
COUNTS_KEY = b"attnlag.counts"


@dataclass
class Counts:
    """Counts of what a design left out, by reason."""

    # sequences, short_sequences: number of sequences, and of those too short to give a row.
    sequences: int = 0
    short_sequences: int = 0
    # longest_sequence, fewest_tokens: number of tokens of the longest sequence, and of the shortest
    # that gives a row.
    longest_sequence: int = 0
    fewest_tokens: int = 0
    # Number of rows left out in all layers because they lack a covariate.
    incomplete_rows: int = 0
    # zero_norms, nonfinite_norms: number of norms without a logarithm, by layer, for layers that
    # have any.
    zero_norms: dict[str, int] = field(default_factory=dict)
    nonfinite_norms: dict[str, int] = field(default_factory=dict)
    # Number of rows that a layer lost to such norms, as outcome or as predictor. The rows of a
    # first layer that lacks a preceding layer do not count as dropped.
    dropped_rows: dict[str, int] = field(default_factory=dict)
    # The first such norm of a layer and its place, in words.
    first_unusable: dict[str, str] = field(default_factory=dict)

    def add_norms(
        self, layer: str, norms: np.ndarray, values: np.ndarray, keys: pa.Table, outcome: Outcome
    ) -> None:
        """Add the norms of a layer, (tokens,), and the values regressed, that have no logarithm."""
        # A first token has no previous token to be compared with.
        expected = keys["position"].to_numpy() >= outcome.first_position
        zero = np.count_nonzero(norms == 0) if outcome.logarithm else 0
        nonfinite = np.count_nonzero(~np.isfinite(norms[expected]))
        _add(self.zero_norms, layer, zero)
        _add(self.nonfinite_norms, layer, nonfinite)
        if zero + nonfinite and layer not in self.first_unusable:
            row = int(np.argmax(np.isnan(values) & expected))
            self.first_unusable[layer] = (
                f"{norms[row]:g} in the document '{keys['document'][row]}', position "
                f"{keys['position'][row]}"
            )

    def add_sequences(self, lengths: np.ndarray, fewest_tokens: int) -> None:
        """Add sequences, given their lengths and the fewest tokens that give a row."""
        self.sequences += len(lengths)
        self.fewest_tokens = fewest_tokens
        self.short_sequences += int((lengths < fewest_tokens).sum())
        self.longest_sequence = max(self.longest_sequence, int(lengths.max()))

    def add_dropped(self, layers: Sequence[str], outcomes: np.ndarray) -> None:
        """Add the rows that layers lost, given their outcomes, (layers, rows), NaN in these."""
        for layer, dropped in zip(layers, np.isnan(outcomes).sum(axis=1), strict=True):
            _add(self.dropped_rows, layer, dropped)

    def metadata(self) -> dict[bytes, str]:
        """Return the counts without the texts, as metadata of their design."""
        counts = asdict(self)
        del counts["first_unusable"]
        return {COUNTS_KEY: json.dumps(counts)}


def read_counts(path: str | Path) -> dict[str, Any]:
    """Return the counts of what a design left out."""
    return json.loads(pq.read_metadata(path).metadata[COUNTS_KEY])


def usable_sequences(counts: Sequence[Mapping[str, Any]], names: str) -> int:
    """Return the number of sequences that give rows; a UserError about ``names`` if none does."""
    sequences = 0
    longest = 0
    least = 0
    for count in counts:
        sequences += count["sequences"] - count["short_sequences"]
        longest = max(longest, count["longest_sequence"])
        least = max(least, count["fewest_tokens"])
    if not sequences:
        raise UserError(
            f"{names}: found no sequence long enough to give a row: the longest has "
            f"{counted(longest, 'token')}, expected at least {least}; give longer texts, nearer "
            "lags and leads, or drop fewer tokens at the start of sequences"
        )
    return sequences


def _add(counts: dict[str, int], layer: str, number: np.integer | int) -> None:
    if number:
        counts[layer] = counts.get(layer, 0) + int(number)
