"""Tokens of known classes, for the tests of properties."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from designs import RARE, SLOPES

from attnlag.quantities.columns import KEYS

LAYERS = 2


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    """Return norms of two sequences in each document, and the file of their properties."""
    random = np.random.default_rng(3)
    names = np.array([*SLOPES, RARE])
    frames = []
    for number in range(30):
        for window, length in enumerate((40 + number, 20)):
            upos = random.choice(names, length, p=[0.4, 0.28, 0.15, 0.14, 0.03])
            logs = np.zeros((LAYERS, length))
            for t in range(length):
                slope = SLOPES.get(upos[t], 0.0)
                before = logs[:, t - 1] if t else np.zeros(LAYERS)
                logs[:, t] = slope * before + 0.3 * (upos[t] == "VERB") + random.normal(size=LAYERS)
            frames.append(
                pd.DataFrame(
                    {
                        "document": f"d{number}",
                        "window": window,
                        "position": np.arange(length),
                        "token_id": random.integers(0, 9, length),
                        "upos": upos,
                        "word_initial": random.random(length) < 0.8,
                        "pieces": random.integers(1, 4, length),
                        "entropy_before": np.where(
                            random.random(length) < 0.2, np.nan, 4 + random.random(length)
                        ),
                        **{f"layer_{i:02d}": np.exp(log) for i, log in enumerate(logs)},
                    }
                )
            )
    frame = pd.concat(frames, ignore_index=True)
    # The first token of each text has no surprisal.
    frame["surprisal"] = np.where(
        (frame["position"] == 0) & (frame["window"] == 0), np.nan, random.random(len(frame))
    )
    kinds = {"document": "category", **dict.fromkeys(KEYS[1:], "int32")}
    table = pa.Table.from_pandas(frame.astype(kinds), preserve_index=False)
    table = table.replace_schema_metadata()
    path = tmp_path_factory.mktemp("properties") / "0000.parquet"
    pq.write_table(table, path)
    return table, path
