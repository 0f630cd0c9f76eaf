"""The figure of diagnostics: its points, squares and bars match the residuals."""

import numpy as np
import pandas as pd
import pytest
from pictures import overlaps, texts_of
from scipy import stats

from attnlag.errors import UserError
from attnlag.figures import diagnostics, files
from attnlag.figures.diagnostics import DiagnosticPanel
from attnlag.figures.sizes import COLUMN, PAGE

EDGES, COARSE = diagnostics.EDGES, diagnostics.COARSE_EDGES
LAGS = [3, 4, 5]
TITLE = "Diagnostics: gpt2, prompts, attention, notebook"


def panel_of(layer: int, fitted: np.ndarray, residual: np.ndarray) -> DiagnosticPanel:
    random = np.random.default_rng(layer)
    change = random.normal(size=12) * 0.3
    return DiagnosticPanel(
        layer=layer,
        counts=np.histogram(residual, EDGES)[0],
        joint=np.histogram2d(fitted, residual, bins=[COARSE, COARSE])[0].astype(int),
        autocorrelation=random.normal(size=20) * 0.05,
        pairs=np.arange(2000, 0, -100),
        influence=pd.DataFrame(
            {
                "document": [f"a-document-of-long-name-{n}" for n in range(12)],
                "change_in_se": change,
            }
        ),
    )


def synthetic(layers: int, unfitted=()):
    panels = []
    for layer in range(layers):
        random = np.random.default_rng(layer)
        rows = 0 if layer in unfitted else 2000
        panel = panel_of(layer, random.normal(size=rows), random.standard_t(5, size=rows))
        if layer in unfitted:
            panel.autocorrelation, panel.pairs = panel.autocorrelation * np.nan, panel.pairs * 0
            panel.influence = panel.influence.iloc[:0]
        panels.append(panel)
    known = [np.nan if layer in unfitted else 1.0 for layer in range(layers)]
    numbers = np.arange(layers)
    fits = pd.DataFrame(
        {
            "layer": numbers,
            "n_obs": 2000,
            "kurtosis": (4 + numbers) * known,
            "breusch_pagan": 20 * numbers * known,
            "status": ["1 row" if layer in unfitted else "ok" for layer in range(layers)],
        }
    )
    return panels, fits


def strip_of(panels, fits) -> pd.DataFrame:
    """Return the table of the strip as the figure makes it, with any sums of order left."""
    return pd.DataFrame(
        {
            "kurtosis": fits["kurtosis"],
            "Breusch-Pagan R²": fits["breusch_pagan"] / 2000,
            "order left": [0.1 + panel.autocorrelation[0] for panel in panels],
            "largest |influence| (SE)": [p.influence["change_in_se"].abs().max() for p in panels],
        },
        index=fits["layer"],
    )


def drawn(panels, fits, layers=None, title=TITLE, **kinds):
    table = strip_of(panels, fits)
    return diagnostics.draw(panels, table, fits["status"], layers, "lag_1", LAGS, title, **kinds)


def grid_of(figure) -> np.ndarray:
    return np.array(figure.axes).reshape(-1, 4)


def test_rows_are_the_chosen_layers_or_four_spread_over_the_depth():
    chosen = diagnostics.layers_with_rows
    assert chosen(None, range(30)) == [0, 10, 19, 29]
    assert chosen(None, range(2)) == [0, 1]
    assert chosen(None, [3]) == [3]
    assert chosen([7, 2], range(30)) == [2, 7]
    with pytest.raises(UserError, match=r"found 30, expected layers of this model: 0 to 29"):
        chosen([30], range(30))


@pytest.mark.parametrize(
    ("layers", "size"),
    [(2, PAGE), (48, PAGE), (48, COLUMN)],
    ids=lambda value: getattr(value, "name", value),
)
def test_texts_neither_overlap_nor_leave_the_figure(layers, size, tmp_path):
    figure = drawn(*synthetic(layers, unfitted=(1,)), size=size)
    assert overlaps(figure) == []
    assert figure.get_size_inches()[0] * size.magnification <= size.width + 1e-9
    if (layers, size) == (2, PAGE):
        # A row for each layer.
        files.save(figure, [tmp_path / "a.svg"])
        assert (tmp_path / "a.svg").stat().st_size < 400_000


def test_the_strip_shows_every_layer_and_marks_those_with_a_row():
    panels, fits = synthetic(12, unfitted=(3,))
    figure = drawn(panels, fits, [2, 5])
    for axes, (name, values) in zip(
        grid_of(figure)[0], strip_of(panels, fits).items(), strict=True
    ):
        assert axes.get_title(loc="left") == name
        line, picked, unfitted = [line for line in axes.lines if line.get_marker() != "None"]
        np.testing.assert_array_equal(line.get_ydata(), np.array(values, dtype=float))
        assert list(picked.get_xdata()) == [2, 5]
        np.testing.assert_array_equal(picked.get_ydata(), np.asarray(values)[[2, 5]])
        assert list(unfitted.get_xdata()) == [3]
    assert [axes.get_title(loc="left") for axes in grid_of(figure)[1:, 0]] == ["layer 2", "layer 5"]


def test_the_kurtosis_of_one_layer_does_not_compress_the_scale():
    panels, fits = synthetic(4)
    assert grid_of(drawn(panels, fits))[0, 0].get_yscale() == "linear"
    fits.loc[2, "kurtosis"] = 300.0
    axes = grid_of(drawn(panels, fits))[0, 0]
    assert (axes.get_yscale(), axes.get_title(loc="left")) == ("log", "kurtosis (log scale)")


def test_quantiles_equal_those_of_scipy_within_a_bin():
    random = np.random.default_rng(0)
    residual = random.standard_t(4, size=3000)
    residual[:2] = 14, -12
    normal, found = diagnostics.quantile_points(np.histogram(residual, EDGES)[0])
    rank = np.arange(1, 3001)
    # Ties within a bin lie at its upper edge, with the last of them.
    ordered = np.sort(residual)
    places = np.searchsorted(ordered, found + 1e-12)
    np.testing.assert_allclose(normal, stats.norm.ppf((rank[places - 1] - 0.5) / 3000))
    # The bins are 0.005 wide.
    assert ((found - ordered[places - 1] >= 0) & (found - ordered[places - 1] < 0.005 + 1e-9)).all()
    # What lies beyond the grid is counted but has no place.
    assert (places[0], places[-1]) == ((ordered < -10).sum() + 1, (ordered < 10).sum())


def test_points_squares_and_means_match_the_residuals():
    random = np.random.default_rng(1)
    fitted = random.normal(size=4000)
    residual = 0.4 * fitted**2 - 0.4 + 0.2 * random.normal(size=4000)
    panel = panel_of(0, fitted, residual)
    _, fits = synthetic(1)
    row = grid_of(drawn([panel], fits))[1]
    points = row[0].lines[-1]
    normal, quantile = diagnostics.quantile_points(panel.counts)
    np.testing.assert_array_equal(points.get_xdata(), normal)
    np.testing.assert_array_equal(points.get_ydata(), quantile)
    mesh = row[1].collections[0]
    # Fitted values lie along x: the first index of the squares is that of residuals.
    np.testing.assert_array_equal(mesh.get_array().filled(0), panel.joint[1:-1, 1:-1].T)
    assert row[1].get_xlabel().startswith("fitted value")
    middles, means = diagnostics.mean_residuals(panel.joint)
    shown = np.isfinite(means)
    np.testing.assert_allclose(middles[shown], 0.5 * (COARSE[:-1] + COARSE[1:])[1:-1][shown])
    bins = np.digitize(fitted, COARSE) - 2
    expected = [residual[bins == place].mean() for place in np.flatnonzero(shown)]
    np.testing.assert_allclose(means[shown], expected, atol=0.05)
    rows = np.bincount(bins, minlength=len(means))
    assert np.array_equal(shown, rows >= diagnostics.FEWEST_IN_MEAN)
    np.testing.assert_array_equal(row[1].lines[-1].get_ydata(), means)


def test_autocorrelations_are_drawn_with_the_limits_for_their_pairs():
    panels, fits = synthetic(1)
    axes = grid_of(drawn(panels, fits))[1, 2]
    segments = axes.collections[0].get_segments()
    assert [segment[1, 0] for segment in segments] == list(range(1, 21))
    np.testing.assert_array_equal([s[1, 1] for s in segments], panels[0].autocorrelation)
    above, below = [line for line in axes.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(above.get_ydata(), 1.96 / np.sqrt(panels[0].pairs))
    np.testing.assert_array_equal(below.get_ydata(), -above.get_ydata())


def test_documents_are_named_in_order_of_their_influence():
    panels, fits = synthetic(1)
    panels[0].influence.loc[3, ["document", "change_in_se"]] = "price: $5 to $9", -2.5
    axes = grid_of(drawn(panels, fits))[1, 3]
    order = panels[0].influence.sort_values("change_in_se", key=lambda c: -c.abs())[:6]
    assert [bar.get_width() for bar in axes.patches] == list(order["change_in_se"])
    heights = [bar.get_y() for bar in axes.patches]
    assert heights == sorted(heights)
    assert axes.yaxis_inverted()
    names = [text.get_text() for text in axes.texts]
    assert names[:2] == [r"price: \$5 to \$9", "a-document-of-l…"]
    low, high = axes.get_xlim()
    assert -low == high > 2.5


def test_a_layer_without_a_fit_is_labelled_and_columns_share_axes():
    panels, fits = synthetic(3, unfitted=(1,))
    figure = drawn(panels, fits)
    grid = grid_of(figure)[1:]
    assert [text.get_text() for text in grid[1, 0].texts] == ["not fitted: 1 row"]
    for column in grid.T:
        assert len({(axes.get_xlim(), axes.get_ylim()) for axes in column[[0, 2]]}) == 1
    assert "coefficient of lag 1" in texts_of(figure)
    # A regression that was fitted nowhere is drawn too.
    figure = drawn(*synthetic(2, unfitted=(0, 1)))
    assert texts_of(figure).count("not fitted") == 2
    figure.draw_without_rendering()


def test_the_influence_of_a_single_document_is_not_drawn():
    panels, fits = synthetic(2)
    for panel in panels:
        panel.influence = panel.influence.iloc[:1].assign(change_in_se=np.nan)
    axes = grid_of(drawn(panels, fits))[1, 3]
    assert axes.get_xlim() == (-1.08, 1.08)
