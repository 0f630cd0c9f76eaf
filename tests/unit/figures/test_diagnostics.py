"""The figure of diagnostics: its points, squares and bars match the residuals."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pictures import grid, overlaps, texts_of
from scipy import stats

from attnlag import wording
from attnlag.claims.fits import tails
from attnlag.errors import UserError
from attnlag.figures import diagnostics
from attnlag.figures.sizes import COLUMN, PAGE
from attnlag.figures.templates import CustomFigure
from attnlag.regression.residuals import residuals

GRID, COARSE = (
    np.concatenate([[-np.inf], edges, [np.inf]])
    for edges in (residuals.RESIDUAL_EDGES, residuals.COARSE_EDGES)
)
TITLE = "Diagnostics: gpt2, prompts, attention, notebook"


def synthetic(layers: int, unfitted=()):
    """Return sums over residuals, the strip, the status and the influence of 12 documents."""
    fitted_layers = ~np.isin(range(layers), unfitted)
    rows = 2000 * fitted_layers
    sums = SimpleNamespace(layers=list(range(layers)), terms=["lag_1", "lag_2"], n=rows)
    draws = [np.random.default_rng(layer) for layer in range(layers)]
    pairs = [
        (random.normal(size=count), random.standard_t(5, size=count))
        for random, count in zip(draws, rows, strict=True)
    ]
    sums.histogram = [np.histogram(residual, GRID)[0] for _, residual in pairs]
    joint = [np.histogram2d(*pair, bins=[COARSE, COARSE])[0] for pair in pairs]
    sums.fitted_histogram = np.array(joint, int)
    sums.powers = np.stack([np.zeros(layers), rows], axis=1)
    sums.pairs = np.arange(2000, 0, -100) * fitted_layers[:, None]
    sums.lagged = np.array([d.normal(size=20) * 50 for d in draws]) * fitted_layers[:, None]
    documents = [f"a-document-of-long-name-{n}" for n in range(12)]
    influence = grid(layer=range(layers), document=documents)
    influence["change_in_se"] = np.random.default_rng(0).normal(size=len(influence)) * 0.3
    strip = pd.DataFrame({name: np.arange(layers) + 1.0 for name in "abcd"})
    strip.loc[list(unfitted)] = np.nan
    return sums, strip, pd.Series(np.where(fitted_layers, "ok", "1 row")), influence


def drawn(parts, layers=None, size=PAGE):
    return CustomFigure("", diagnostics.draw, (*parts, layers)).draw(TITLE, size)


def grid_of(figure) -> np.ndarray:
    return np.array(figure.axes).reshape(-1, 4)


@pytest.mark.parametrize(
    ("layers", "size"),
    [(2, PAGE), (48, PAGE), (48, COLUMN)],
    ids=lambda value: getattr(value, "name", value),
)
def test_texts_neither_overlap_nor_leave_the_figure(layers, size):
    figure = drawn(synthetic(layers, unfitted=(1,)), size=size)
    assert overlaps(figure) == []
    assert figure.get_size_inches()[0] * size.magnification <= size.width + 1e-9


def test_the_strip_shows_every_layer_and_marks_those_with_a_row(looks_as_before):
    parts = synthetic(30, unfitted=(3,))
    figure = drawn(parts, [2, 5])
    looks_as_before("diagnostics", figure)
    for axes, (name, values) in zip(grid_of(figure)[0], parts[1].items(), strict=True):
        assert axes.get_title() == name
        picked = axes.lines[-1]
        assert list(picked.get_xdata()) == [2, 5]
        np.testing.assert_array_equal(picked.get_ydata(), values[[2, 5]])
    titles = [axes.get_title(loc="left") for axes in grid_of(figure)[1:, 0]]
    assert titles == ["layer 2", "layer 5"]
    spread = grid_of(drawn(parts))[1:, 0]
    assert [axes.get_title(loc="left") for axes in spread] == [
        f"layer {layer}" for layer in (0, 10, 19, 29)
    ]
    with pytest.raises(UserError, match=r"found 30, expected one of this model: 0 to 29"):
        drawn(parts, [30])


def test_points_squares_bars_and_limits_match_the_residuals():
    sums, strip, status, influence = synthetic(1)
    influence.loc[3, ["document", "change_in_se"]] = "price: $5 to $9", -2.5
    quantiles, fitted, order, documents = grid_of(drawn((sums, strip, status, influence)))[1]
    random = np.random.default_rng(0)
    random.normal(size=2000)
    residual = np.sort(random.standard_t(5, size=2000))
    # A residual lies at the upper edge of its bin, which is 0.005 wide, or at ten SD.
    np.testing.assert_allclose(quantiles.lines[0].get_ydata(), residual.clip(-10, 10), atol=0.0051)
    rank = (np.arange(2000) + 1) / 2001
    np.testing.assert_allclose(quantiles.lines[0].get_xdata(), stats.norm.ppf(rank))
    inner = sums.fitted_histogram[0][1:-1, 1:-1]
    # Fitted values lie along x: the first index of the squares is that of residuals.
    np.testing.assert_array_equal(fitted.collections[0].get_array().filled(0), inner.T)
    (mean,) = fitted.lines
    place = 50
    middles = (residuals.COARSE_EDGES[:-1] + residuals.COARSE_EDGES[1:]) / 2
    # A residual beyond the grid counts as its end.
    values, row = np.concatenate([[-5], middles, [5]]), sums.fitted_histogram[0][place + 1]
    assert mean.get_ydata()[place] == pytest.approx(row @ values / row.sum())
    assert np.isnan(mean.get_ydata()[0])
    above, below, stems = order.lines[:3]
    np.testing.assert_allclose(above.get_ydata(), 1.96 / np.sqrt(sums.pairs[0]))
    np.testing.assert_array_equal(below.get_ydata(), -above.get_ydata())
    np.testing.assert_allclose(stems.get_ydata(), sums.lagged[0] / sums.pairs[0])
    largest = influence.sort_values("change_in_se", key=lambda change: -change.abs())[:6]
    assert [bar.get_width() for bar in documents.patches] == list(largest["change_in_se"])
    names = [label.get_text() for label in documents.get_yticklabels()]
    assert names[:2] == [r"price: \$5 to \$9", "a-document-of-l…"]


@pytest.mark.parametrize(
    ("kurtosis", "median"), [([2.0, 2.9, 50.0], "2.9"), ([np.nan, 3.4, np.nan], "3.4")]
)
def test_the_claim_is_about_the_tails_of_the_median_layer(kurtosis, median):
    row = tails(pd.DataFrame({"kurtosis": kurtosis}))
    assert wording.text(row, "title") == (
        f"Residuals have a kurtosis of {median} (median layer; 3 if normal, more with heavy tails)"
    )


def test_a_layer_without_a_fit_is_labelled():
    figure = drawn(synthetic(3, unfitted=(1,)))
    assert [text.get_text() for text in grid_of(figure)[2, 0].texts] == ["not fitted: 1 row"]
    # A regression that was fitted nowhere is drawn too.
    figure = drawn(synthetic(2, unfitted=(0, 1)))
    assert texts_of(figure).count("not fitted") == 2
    figure.draw_without_rendering()
