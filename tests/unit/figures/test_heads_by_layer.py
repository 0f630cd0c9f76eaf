"""The figure of attention heads: what it states, and what it leaves out."""

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from attnlag.figures import heads_by_layer
from attnlag.figures.sizes import SIZES
from attnlag.regression.heads import ABOVE, WHOLE

PARTS = ["0", "1", "2", WHOLE]
LAYERS = range(6)


def inputs(sinks=True, lags=True, random=True):
    """Return tables of three heads in six layers: lag 1 of head h in layer l is (h + l) / 10."""
    parts = pd.DataFrame(
        [{"layer": layer, "part": part} for layer in LAYERS for part in PARTS]
    ).assign(share=1 / 3, at_floor=0.1, sink=0.5 if sinks else np.nan, sink_tokens=100 * sinks)
    parts.loc[parts["layer"] == 4, "at_floor"] = 0.4
    rows = [
        {"layer": layer, "part": part, "term": term, "estimate": (place + layer) / 10}
        for layer in LAYERS
        for place, part in enumerate([*PARTS, ABOVE])
        for term in ("lag_2", "lag_1", "position_1")
    ]
    names = ["layer", "part", "term", "estimate"]
    coefficients = pd.DataFrame(rows if lags else [], columns=names)
    coefficients["conf_low"] = coefficients["estimate"] - 0.1
    coefficients["conf_high"] = coefficients["estimate"] + 0.1
    coefficients["permuted_mean"] = -0.01 if lags else None
    coefficients["random_weights"] = 1.5 if lags and random else np.nan
    return SimpleNamespace(heads=parts, coefficients=coefficients, regression="within", alpha=0.05)


@pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: size.name)
def test_heads_are_shown_beside_their_controls(size):
    data = heads_by_layer.reduce(inputs())
    title = heads_by_layer.title_of(data)
    assert title == (
        "Lag 1 of a head: median 0.35 (-0.01 with permuted order, 1.50 with random weights), of "
        "their sum 0.55; up to 40% of a layer's tokens are at the floor (layer 4)"
    )
    with warnings.catch_warnings():
        # A panel that has no room for what is around it.
        warnings.simplefilter("error")
        figure = heads_by_layer.draw(data, title=title, size=size)
        figure.canvas.draw()
    titles = {axes.get_title(loc="left"): axes for axes in figure.axes}
    headings = ["share of each head", "lag 1 of each head", "attention to the first token"]
    assert set(titles) == {"", *headings, "single heads", "the sum of the heads"}
    drawn = [list(line.get_ydata()) for line in titles["single heads"].lines]
    for expected in ([-0.01] * 6, [1.5] * 6, [(1 + layer) / 10 for layer in LAYERS]):
        assert any(np.allclose(line, expected) for line in drawn if len(line) == 6)


def test_quantities_that_were_not_measured_have_no_panel():
    data = heads_by_layer.reduce(inputs(sinks=False, random=False))
    figure = heads_by_layer.draw(data, title="a")
    titles = {axes.get_title(loc="left") for axes in figure.axes}
    assert "attention to the first token" not in titles
    assert "random weights" not in heads_by_layer.title_of(data)
    data = heads_by_layer.reduce(inputs(lags=False))
    figure = heads_by_layer.draw(data, title="a")
    assert "single heads" not in {axes.get_title(loc="left") for axes in figure.axes}
    assert heads_by_layer.title_of(data).startswith("No lags of heads were fitted; up to 40%")
