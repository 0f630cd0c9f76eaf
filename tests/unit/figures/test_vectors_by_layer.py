"""The figure of R² of vectors."""

import numpy as np
import pandas as pd

from attnlag.figures import vectors_by_layer
from attnlag.figures.sizes import COLUMN, PAGE, SLIDE
from attnlag.figures.vectors_by_layer import Data, draw, title_of

PREDICTORS = [("vector", 1), ("vector", 4), ("vector", 8), ("scalar", None)]
PREDICTORS += [("document_mean", None), ("permuted_order", 8), ("random_weights", 8)]


def data_of(layers=6, predictors=PREDICTORS):
    random = np.random.default_rng(0)
    rows = [
        {"layer": layer, "predictor": predictor, "rank": rank, "r_squared": random.random()}
        for layer in range(layers)
        for predictor, rank in predictors
    ]
    fits = pd.DataFrame(rows).astype({"rank": "Int64"})
    fits = fits.assign(conf_low=fits["r_squared"] - 0.1, conf_high=fits["r_squared"] + 0.1)
    return Data(fits.assign(documents=12), 0.05, [1])


def test_each_rank_and_each_control_has_its_line():
    data = data_of()
    for size in (PAGE, COLUMN, SLIDE):
        figure = draw(data, title="R²", size=size)
        among, by_rank = figure.axes
        drawn = {
            panel: [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 6]
            for panel, axes in (("among", among), ("by_rank", by_rank))
        }
        full = data.full["r_squared"].to_numpy()
        controls = [data.of(one)["r_squared"].to_numpy() for one in vectors_by_layer.CONTROLS]
        assert np.array_equal(drawn["among"], [*controls, full])
        ranks = data.of("vector").pivot(index="rank", columns="layer", values="r_squared")
        assert np.array_equal(drawn["by_rank"], ranks.to_numpy())
        texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        assert {"full rank (8)", "rank 1", "rank 4", "random weights"} <= set(texts)


def test_the_title_states_the_value_in_permuted_order():
    data = data_of()
    data.fits.loc[data.fits["predictor"] == "vector", "r_squared"] = 0.4
    data.fits.loc[data.fits["predictor"] == "permuted_order", "r_squared"] = 0.09
    assert title_of(data) == (
        "Previous vectors predict 40% of the variance of a token's vector in the median layer, "
        "9% in permuted order"
    )


def test_layers_without_a_fit_are_gaps_and_missing_controls_are_not_listed():
    data = data_of(predictors=PREDICTORS[:-1])
    data.fits.loc[data.fits["layer"] == 2, ["r_squared", "conf_low", "conf_high"]] = np.nan
    figure = draw(data, title="R²")
    line = figure.axes[1].lines[0].get_ydata()
    assert np.isnan(line).tolist() == [layer == 2 for layer in range(6)]
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "random weights" not in texts
    data.fits["r_squared"] = np.nan
    assert title_of(data) == "R² of vectors"
