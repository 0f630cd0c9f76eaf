"""Frequencies of tokens in their corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Checking a configuration imports this module but does not need numpy.
    import numpy as np
    import pyarrow as pa


def log_frequencies(token_counts: Path | pa.Table) -> np.ndarray:
    """Return the log relative frequency of each token id in a corpus; NaN if it does not occur."""
    import numpy as np
    import pyarrow.parquet as pq

    table = pq.read_table(token_counts) if isinstance(token_counts, Path) else token_counts
    ids, counts = table["token_id"].to_numpy(), table["count"].to_numpy()
    logs = np.full(ids.max(initial=-1) + 1, np.nan)
    logs[ids] = np.log(counts / counts.sum())
    return logs
