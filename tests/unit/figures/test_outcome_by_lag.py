"""The added-variable plot of the nearest lag."""

import numpy as np
import pytest
import statsmodels.api as sm
from matplotlib.figure import Figure
from pictures import TITLE, overlaps, synthetic_norms, texts_of

from attnlag.figures import outcome_by_lag, wording
from attnlag.figures.outcome_by_lag import EDGES
from attnlag.figures.sizes import COLUMN, PAGE
from attnlag.quantities.norms import log_norms


def points_of(lag, outcome, others=(), groups=None) -> np.ndarray:
    """Reduce a layer; without groups of rows there is one."""
    rows = len(lag)
    groups = np.zeros(rows, int) if groups is None else groups
    return outcome_by_lag.points_of(
        np.stack([lag, outcome]), np.reshape(others, (-1, rows)), groups
    )


def layers_of(count: int) -> dict[int, np.ndarray]:
    position, norms = synthetic_norms(count)
    logs = log_norms(norms)
    rows = np.flatnonzero(position >= 2)
    return {n: points_of(logs[rows - 1, n], logs[rows, n]) for n in range(count)}


def drawn(layers, lag="lag_1", size=PAGE, reasons=None) -> Figure:
    return outcome_by_lag.draw(layers, reasons, lag, 0, "norm", TITLE, size)


@pytest.mark.parametrize(
    ("layers", "size", "shown"),
    [
        (1, PAGE, [0]),
        (2, COLUMN, [0, 1]),
        (7, PAGE, range(7)),
        (30, COLUMN, [0, 10, 19, 29]),
        (30, PAGE, range(30)),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_layers_have_panels_in_order_and_texts_do_not_overlap(layers, size, shown):
    figure = drawn(layers_of(layers), size=size)
    # This draws the figure, which places the panels.
    assert overlaps(figure) == []
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.texts[0].get_text() for axes in panels] == [f"layer {layer}" for layer in shown]
    assert figure.get_size_inches()[0] * size.magnification <= size.width + 1e-9
    assert (f"{len(shown)} of {layers} layers" in texts_of(figure)) == (len(shown) < layers)
    if size is PAGE:
        # One inch and a third at the least.
        assert all(axes.get_window_extent().width / figure.dpi > 1.25 for axes in panels)
        for time in ("t − 1", "t"):
            assert f"log norm at token {time} given the other terms (SD)" in texts_of(figure)
    places = [(round(-axes.get_position().y0, 2), axes.get_position().x0) for axes in panels]
    assert places == sorted(places)
    assert len({axes.get_xlim() + axes.get_ylim() for axes in panels}) == 1
    assert wording.PREDICTIVE in texts_of(figure)
    # The lowest panel of each column has numbers.
    for axes in {round(axes.get_position().x0 * 100): axes for axes in panels}.values():
        assert any(label.get_visible() for label in axes.get_xticklabels())


def test_the_claim_states_the_share_that_the_lag_explains():
    random = np.random.default_rng(0)
    lag, noise = random.normal(size=(2, 500))
    layers = {3 + n: points_of(lag, lag * slope + noise) for n, slope in enumerate((0.4, 1, 0.1))}
    shares = {layer: np.corrcoef(points)[0, 1] ** 2 for layer, points in layers.items()}
    unfitted = {9: np.empty((2, 0))}
    assert outcome_by_lag.claim_of(layers | unfitted, "lag_1") == (
        f"Lag 1 explains {np.median(list(shares.values())):.0%} of the variance that the other "
        f"terms leave (median layer; at most {shares[4]:.0%}, layer 4)"
    )
    assert outcome_by_lag.claim_of(unfitted, "lag_1") == "No layer was fitted"


def test_points_and_their_line_are_those_of_the_whole_regression():
    """The oracle is statsmodels with a dummy for each document."""
    random = np.random.default_rng(1)
    documents = np.repeat([0, 1, 2], [400, 600, 300])
    other = random.normal(size=1300)
    lag = 0.5 * other + 2.0 * documents + random.normal(size=1300)
    outcome = 0.4 * lag - 0.7 * other - 3.0 * documents + random.normal(size=1300)
    outcome[7] = np.nan
    known = np.isfinite(outcome)
    dummies = documents[:, None] == [0, 1, 2]
    fit = sm.OLS(outcome, np.column_stack([lag, other, dummies]), missing="drop").fit()
    restricted = sm.OLS(outcome, np.column_stack([other, dummies]), missing="drop").fit()

    points = points_of(lag, outcome, other, documents)
    sd = np.sqrt(restricted.ssr / known.sum())
    np.testing.assert_allclose(points[1] * sd, restricted.resid, atol=1e-9)
    axes = drawn({0: points}).axes[0]
    (line,), (image,) = axes.lines, axes.collections
    assert line.get_xy1() == (0, 0)
    assert line.get_slope() == pytest.approx(fit.params[0])
    share = 1 - fit.ssr / restricted.ssr
    assert axes.get_title(loc="right") == f"{fit.params[0]:.2f}, r² {share:.2f}"
    # With the raw cloud the line would misfit: the slope between documents is another.
    assert abs(np.polyfit(lag[known], outcome[known], 1)[0] - fit.params[0]) > 1
    # The lag lies along x, with a row of squares for each stretch of the outcome.
    squares = np.histogram2d(points[1], points[0], [EDGES, EDGES])[0]
    np.testing.assert_array_equal(image.get_array().filled(0), squares)


@pytest.mark.parametrize("outcome", [np.full(50, np.nan), np.full(50, 2.0)])
def test_the_panel_of_a_layer_without_points_states_the_reason(outcome):
    layers = layers_of(1) | {1: points_of(np.arange(50.0), outcome)}
    figure = drawn(layers, lag="lead_2", reasons={1: "the regressors are collinear"})
    axes = figure.axes[1]
    said = " ".join(axes.texts[0].get_text().split())
    assert said == "layer 1 not fitted: the regressors are collinear"
    assert not axes.lines
    # A lead is named as one.
    assert "log norm at token t + 2 given the other terms (SD)" in texts_of(figure)
    assert "coefficient of lead 2" in texts_of(figure)
