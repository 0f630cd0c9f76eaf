"""Claims about heads and directions, in words that titles, findings and the page share."""

import numpy as np
import pandas as pd

from attnlag.claims import directions, heads
from attnlag.quantities.head_shares import ABOVE, WHOLE


def coefficients(**controls):
    parts = ["0", "1", WHOLE, ABOVE]
    table = pd.DataFrame({"layer": 3, "part": parts, "term": "lag_1"})
    return table.assign(estimate=[0.2, 0.4, 0.25, 0.9], **controls)


def test_the_lag_of_heads_stands_beside_that_of_their_sum_and_before_training():
    claim = heads.lag(coefficients(random_weights=np.nan))
    assert claim.sentence == "Lag 1 of single heads is 0.30, that of their sum 0.25 (medians)"
    assert (claim.low, claim.high, claim.baseline) == (0.2, 0.4, {})
    # Medians beside each other are of the same heads.
    claim = heads.lag(coefficients(random_weights=[0.5, np.nan, 0.6, 0.7], trained=0.1))
    assert claim.baseline == {"before training": 0.5, "after it": 0.1}
    assert claim.clause.startswith("lag 1 of single heads is 0.20")
    assert heads.lag(coefficients().assign(estimate=np.nan)) is None


def test_shares_and_sinks_of_heads_stand_beside_those_of_equal_ones():
    parts = pd.DataFrame({"layer": [4, 4, 4], "part": ["0", "1", WHOLE], "sink_uniform": 0.06})
    parts = parts.assign(share=[0.38, 0.62, np.nan], sink=[0.4, 0.6, 0.5])
    assert heads.share(parts).sentence == (
        "One head has up to 62% of its layer's squared norms (50% if equal)"
    )
    assert heads.sink(parts).sentence == (
        "The median head gives 50% of its attention to the first token (6% if equal)"
    )
    unknown = parts.assign(share=np.nan, sink=np.nan)
    assert heads.share(unknown) is None
    assert heads.sink(unknown) is None


def test_the_likeness_of_neighbours_falls_with_distance():
    rows = [(directions.CENTRED, distance, 0, 0.6 / distance) for distance in (1, 2, 3)]
    table = pd.DataFrame(
        [*rows, (directions.PLAIN, 1, 0, 0.9)], columns=["quantity", "distance", "layer", "mean"]
    )
    assert directions.neighbours(table).sentence == (
        "Neighbours are pushed the same way (centred cosine 0.60, median layer); the likeness "
        "halves within 2 tokens"
    )
    slow = table.assign(mean=[0.6, 0.55, 0.5, 0.9])
    assert directions.neighbours(slow).sentence.endswith("; at 3 tokens it is still 0.50")
    near = table[table["distance"] == 1]
    assert directions.neighbours(near).sentence.endswith("(centred cosine 0.60, median layer)")
    plain = directions.neighbours(table[3:].assign(mean=-0.2)).sentence
    assert plain == "Neighbours are hardly pushed the same way (cosine −0.20, median layer)"
    assert directions.neighbours(table.assign(mean=np.nan)).sentence.startswith("No two")
