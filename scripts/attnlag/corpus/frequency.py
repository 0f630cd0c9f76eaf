"""Frequencies of tokens in their corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Checking a configuration imports this module but does not need numpy.
    import numpy as np
    import pyarrow as pa


def log_frequencies(token_counts: Path) -> np.ndarray:
    """Return the log relative frequency of each token id in a corpus; NaN if it does not occur."""
    import pyarrow.parquet as pq

    return of_counts(pq.read_table(token_counts))


def of_counts(counts: pa.Table) -> np.ndarray:
    """Return log relative frequencies, as `log_frequencies` does, from a table of counts."""
    import numpy as np

    ids, count = counts["token_id"].to_numpy(), counts["count"].to_numpy()
    found = np.full(ids.max(initial=-1) + 1, np.nan)
    found[ids] = np.log(count / count.sum())
    return found
