"""The added-variable plot of the nearest lag."""

import numpy as np
import pytest
import statsmodels.api as sm
from matplotlib.figure import Figure
from pictures import TITLE, overlaps, synthetic_norms, texts_of

from attnlag.figures import outcome_by_lag, wording
from attnlag.figures.sizes import COLUMN, PAGE
from attnlag.quantities.norms import log_norms

# Side of the squares.
BIN = np.diff(outcome_by_lag.EDGES)[0]


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


def drawn(layers, lag="lag_1", size=PAGE, status=None) -> Figure:
    return outcome_by_lag.draw(layers, status or {}, lag, 0, "norm", TITLE, size)


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
    layers[9] = np.empty((2, 0))
    shares = {n: np.corrcoef(points)[0, 1] ** 2 for n, points in layers.items() if n < 9}
    assert outcome_by_lag.claim_of(layers, "lag_1") == (
        f"Lag 1 explains {np.median(list(shares.values())):.0%} of the variance that the other "
        f"terms leave (median layer; at most {shares[4]:.0%}, layer 4)"
    )
    assert outcome_by_lag.claim_of({9: layers[9]}, "lag_1") == "No layer was fitted"


def test_the_line_has_the_slope_of_the_whole_regression():
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
    slope, share = outcome_by_lag.slope_and_share(points)
    assert slope == pytest.approx(fit.params[0])
    assert share == pytest.approx(1 - fit.ssr / restricted.ssr)
    sd = np.sqrt(restricted.ssr / known.sum())
    np.testing.assert_allclose(points[1] * sd, restricted.resid, atol=1e-9)
    axes = drawn({0: points}).axes[0]
    (line,) = axes.lines
    assert line.get_xy1() == (0, 0)
    assert line.get_slope() == pytest.approx(fit.params[0])
    assert axes.get_title(loc="right") == f"{slope:.2f}, r² {share:.2f}".replace("-", "−")
    # With the raw cloud the line would misfit: the slope between documents is another.
    assert abs(np.polyfit(lag[known], outcome[known], 1)[0] - fit.params[0]) > 1


def test_the_image_shows_each_square_in_its_place():
    # A lag far from its mean with an outcome on the other side: axes must not be swapped.
    random = np.random.default_rng(2)
    lag = np.r_[random.normal(0, 1, 4000), np.full(500, 2.0)]
    outcome = np.r_[random.normal(0, 1, 4000), np.full(500, -1.0)]
    image = drawn({0: points_of(lag, outcome)}).axes[0].collections[0]
    sd = outcome.std()
    counts = image.get_array()
    row, column = np.unravel_index(np.ma.argmax(counts), counts.shape)
    left, bottom = image.get_coordinates()[0, 0]
    x = left + (column + 0.5) * BIN
    y = bottom + (row + 0.5) * BIN
    assert x == pytest.approx((2 - lag.mean()) / sd, abs=BIN)
    assert y == pytest.approx((-1 - outcome.mean()) / sd, abs=BIN)


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (np.full(50, np.nan), "0 rows", "0 rows"),
        (np.full(50, 2.0), "ok", "no variance"),
        (np.arange(50.0) ** 2, "the regressors are collinear", "the regressors are collinear"),
    ],
)
def test_the_panel_of_a_layer_without_a_fit_states_the_reason(outcome, status, reason):
    layers = layers_of(1) | {1: np.empty((2, 0))}
    if status == "ok":
        layers[1] = points_of(np.arange(50.0), outcome)
    figure = drawn(layers, lag="lag_2", status={1: status})
    axes = figure.axes[1]
    assert " ".join(axes.texts[0].get_text().split()) == f"layer 1 not fitted: {reason}"
    assert not axes.lines
    assert "token t − 2" in texts_of(figure)


def test_a_lead_is_named_as_a_lead():
    figure = drawn(layers_of(1), lag="lead_2")
    assert "log norm at token t + 2 given the other terms (SD)" in texts_of(figure)
    assert "coefficient of lead 2" in texts_of(figure)
