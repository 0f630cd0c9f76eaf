"""Regressions of the log norms of adjustments beside those of what tokens write to them."""

import numpy as np
import pandas as pd
import pyarrow as pa

from attnlag.quantities.columns import KEYS, layer_name
from attnlag.quantities.head_shares import WHOLE
from attnlag.quantities.traced_tables import WRITTEN
from attnlag.regression.beyond.lags_of_heads import fitted_parts, table_of_parts
from attnlag.regression.estimation import merging
from attnlag.regression.estimation.moments import Moments
from attnlag.regression.inference import controls
from attnlag.regression.settings import HeadsSettings

# The parts of a layer whose lags stand beside each other, with the columns of their norms.
NORMS = {WHOLE: "norm", **WRITTEN}

LAG_COLUMNS = [
    *("subset", "layer", "part", "term", "estimate", "uncorrected", "std_error", "df"),
    *("statistic", "p_value", "p_adjusted", "conf_low", "conf_high", "equivalence", "vcov_type"),
    "random_weights",
]


def fit_lags(
    rows: pd.DataFrame, random: pd.DataFrame | None, settings: HeadsSettings
) -> pd.DataFrame:
    """Return the coefficients of the log norms of adjustments, and of what tokens write.

    All layers and parts (`NORMS`) are fitted with the same terms. The table is that of
    `table_of_parts`; ``random_weights`` is not corrected for bias, as ``uncorrected``.
    """
    design = settings.design
    assert design is not None
    settings = settings.from_sums().changed(cluster="document")
    layers = sorted(map(int, rows["layer"].unique()))
    cells = [(layer, part) for part in NORMS for layer in layers]

    def moments_of(tokens: pd.DataFrame, halves: int) -> list[Moments]:
        wide = tokens.pivot(index=KEYS, columns="layer", values=list(NORMS.values()))
        # Sequences in their order, which the index of a pivot loses.
        keys = tokens.drop_duplicates(KEYS)[KEYS]
        wide = wide.reindex(pd.MultiIndex.from_frame(keys))
        table = pa.Table.from_pandas(keys, preserve_index=False)
        for place, (layer, part) in enumerate(cells):
            values = wide[NORMS[part], layer].to_numpy(dtype=np.float32)
            table = table.append_column(layer_name(place), pa.array(values))
        names = [layer_name(place) for place in range(len(cells))]
        return controls.moments_of_batches(table.to_batches(), names, design, {}, halves)

    parts = moments_of(rows, 2 if settings.halves else 1)
    fits = fitted_parts(parts, merging.kept_terms(parts[0].terms, parts), settings)
    table = table_of_parts(fits, cells, settings)
    table["random_weights"] = np.nan
    if random is not None and len(random):
        untrained, _ = controls.fitted_alone(moments_of(random, 1), settings)
        keys = pd.MultiIndex.from_product([range(len(cells)), fits[0].names])
        table["random_weights"] = untrained.reindex(keys).to_numpy()
    return table[LAG_COLUMNS]
