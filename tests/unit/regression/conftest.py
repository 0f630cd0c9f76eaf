"""Tokens of known classes, for the tests of properties."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from designs import RARE, SLOPES, changed, norms_table, sequences_of


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    """Return norms of two sequences in each document, and the file of their properties."""
    random = np.random.default_rng(3)
    lengths = sequences_of([40 + i, 20] for i in range(30))
    tokens = sum(lengths.values())
    table = norms_table(lengths, token_ids=random.integers(0, 9, tokens))
    window, position = table["window"].to_numpy(), table["position"].to_numpy()
    upos = random.choice([*SLOPES, RARE], tokens, p=[0.4, 0.28, 0.15, 0.14, 0.03])
    slopes = np.array([SLOPES.get(name, 0.0) for name in upos]) * (position > 0)
    logs = random.normal(size=(2, tokens)) + 0.3 * (upos == "VERB")
    for t in range(1, tokens):
        logs[:, t] += slopes[t] * logs[:, t - 1]
    numbers = random.random((4, tokens))
    properties = {
        "upos": upos,
        "word_initial": numbers[0] < 0.8,
        "pieces": random.integers(1, 4, tokens),
        "entropy_before": np.where(numbers[1] < 0.2, np.nan, 4 + numbers[2]),
        # The first token of each text has none.
        "surprisal": np.where((position == 0) & (window == 0), np.nan, numbers[3]),
    }
    of_layers = {f"layer_{layer:02d}": np.exp(own) for layer, own in enumerate(logs)}
    table = changed(table, properties | of_layers)
    path = tmp_path_factory.mktemp("properties") / "0000.parquet"
    pq.write_table(table, path)
    return table, path
