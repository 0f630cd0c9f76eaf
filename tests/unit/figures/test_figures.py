"""The figures: their contents, their order, and files that are complete and reproducible."""

import functools
import xml.etree.ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
import statsmodels.api as sm
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from attnlag.adjustments.norms import log_norms
from attnlag.errors import UserError
from attnlag.figures import (
    coefficients_by_layer,
    drawing,
    files,
    legends,
    norms_by_layer,
    outcome_by_lag,
    sites_by_layer,
    wording,
)
from attnlag.figures.inputs import sampling
from attnlag.figures.sizes import COLUMN, PAGE, SLIDE, Size
from attnlag.regression.terms import lags_among, named

LAYERS = [2, 30, 48]
TITLE = "Some figure says so\ngpt2, prompts, attention, notebook · 2,940 rows from 20 documents"


def synthetic_norms(layers: int, sequences: int = 20, length: int = 150, sink: float = 0.0):
    """Return positions and norms (tokens, layers) whose logs follow the tokens before."""
    random = np.random.default_rng(layers)
    shocks = random.normal(size=(sequences, length, layers))
    logs = np.zeros_like(shocks)
    slopes = np.linspace(0.0, 0.6, layers)
    for t in range(1, length):
        logs[:, t] = slopes * logs[:, t - 1] + 0.3 * shocks[:, t]
    logs += np.linspace(1, 4, layers)
    logs[:, 0] += sink
    position = np.tile(np.arange(length), sequences)
    return position, np.exp(logs.reshape(-1, layers)).astype(np.float32)


def norms_figure(layers: int, sink: float = 0.0, size: Size = PAGE, **kinds) -> Figure:
    position, norms = synthetic_norms(layers, sink=sink, **kinds)
    parts = [
        norms_by_layer.layer_norms(layer, log_norms(norms[:, layer]), position == 0)
        for layer in range(layers)
    ]
    return norms_drawn(parts, tokens=len(norms), title=TITLE, size=size)


def norms_drawn(
    parts, relative=None, tokens=9, site="attention", drop_first=1, title="", size=PAGE
) -> Figure:
    data = norms_by_layer.Data(parts, relative or parts, tokens, site, drop_first)
    return norms_by_layer.draw(data, title=title, size=size)


def synthetic_tables(
    layers: int,
    lags: int = 2,
    unfitted: tuple[int, ...] = (),
    leads: int = 0,
    regression: str = "notebook",
):
    """Return coefficients and fits; every third layer's last term is not significant."""
    rows = []
    keys = {"model": "gpt2", "corpus": "prompts", "site": "attention", "regression": regression}
    terms = ["intercept", *(f"lag_{n + 1}" for n in range(lags))]
    terms += [f"lead_{n + 1}" for n in range(leads)]
    for layer in range(layers):
        for place, term in enumerate(terms):
            missing = layer in unfitted
            estimate = np.nan if missing else np.sin(layer + place) * 0.2 + 0.4 / (place + 1)
            p = 0.4 if place == len(terms) - 1 and layer % 3 == 0 else 1e-6
            rows.append(
                {
                    **keys,
                    "subset": "all",
                    "layer": layer,
                    "term": term,
                    "estimate": estimate,
                    "std_error": np.nan if missing else 0.025 + 0.001 * layer,
                    "p_adjusted": np.nan if missing else p,
                    "conf_low": estimate - 0.05,
                    "conf_high": estimate + 0.05,
                    "vcov_type": "cluster",
                }
            )
    known = [np.nan if layer in unfitted else 0.1 + layer / 100 for layer in range(layers)]
    fits = pd.DataFrame(
        {**keys, "layer": range(layers), "n_obs": 2940, "n_documents": 20, "r_squared": known}
    )
    return pd.DataFrame(rows), fits


def coefficients_figure(layers: int, adjust: str = "holm", size: Size = PAGE, **kinds) -> Figure:
    data = coefficients_by_layer.Data(*synthetic_tables(layers, **kinds), 0.05, adjust)
    return coefficients_by_layer.draw(data, title=TITLE, size=size)


def lag_panel(layer, lag, outcome, others=(), groups=None, status="ok"):
    """Reduce a layer; without groups of rows there is one."""
    rows = len(lag)
    return outcome_by_lag.lag_panel(
        layer,
        np.stack([lag, outcome]),
        np.reshape(others, (-1, rows)),
        np.zeros(rows, int) if groups is None else groups,
        status,
    )


def panels_of(layers: int, **kinds) -> list[outcome_by_lag.LagPanel]:
    position, norms = synthetic_norms(layers, **kinds)
    logs = log_norms(norms)
    rows = np.flatnonzero(position >= 2)
    return [lag_panel(layer, logs[rows - 1, layer], logs[rows, layer]) for layer in range(layers)]


def lags_figure(layers: int, size: Size = PAGE, **kinds) -> Figure:
    return lags_drawn(panels_of(layers, **kinds), title=TITLE, size=size)


def lags_drawn(panels, lag="lag_1", rows=0, title="", size=PAGE) -> Figure:
    data = outcome_by_lag.Data(panels, lag, rows)
    return outcome_by_lag.draw(data, title=title, size=size)


SITES = ("attention", "mlp", "block")


def panels_of_sites(layers: int, sites=SITES, **kinds) -> list[sites_by_layer.SitePanels]:
    position, norms = synthetic_norms(layers)
    logs = log_norms(norms)[position > 0]
    coefficients, fits = synthetic_tables(layers, **kinds)
    return [
        sites_by_layer.SitePanels(
            site=site,
            layers=list(range(layers)),
            quantiles=np.stack([drawing.quantiles_of(logs[:, n] + place) for n in range(layers)]),
            coefficients=coefficients.assign(site=site, estimate=coefficients["estimate"] + place),
            fits=fits.assign(site=site),
        )
        for place, site in enumerate(sites)
    ]


def sites_figure(
    layers: int, adjust: str = "holm", drop_first: int = 1, size: Size = PAGE, **kinds
) -> Figure:
    data = sites_by_layer.Data(panels_of_sites(layers, **kinds), 0.05, adjust, drop_first)
    return sites_by_layer.draw(data, title=TITLE, size=size)


def texts_of(figure: Figure) -> str:
    """Return the title and the text in the margins, as one line."""
    return " ".join(
        " ".join(text.get_text().split()) for text in figure.findobj(matplotlib.text.Text)
    )


def legend_of(drawn: Figure | Axes) -> list[str]:
    """Return the labels of the only legend of a figure or of its axes."""
    (legend,) = drawn.legends if isinstance(drawn, Figure) else [drawn.get_legend()]
    return [text.get_text() for text in legend.get_texts()]


def marks_of(axes: Axes, full: bool, shapes: str = "osDv") -> list[tuple[float, float]]:
    """Return the places of the marks that are full, or of those that are open."""
    return sorted(
        point
        for line in axes.lines
        if line.get_marker() in shapes and (line.get_markerfacecolor() != "w") == full
        for point in zip(line.get_xdata(), line.get_ydata(), strict=True)
    )


def texts_drawn(figure: Figure) -> list[matplotlib.text.Text]:
    """Return the texts that end up on paper: not the ticks' that their axis leaves out."""
    drawn = {}
    draw = matplotlib.text.Text.draw

    def recorded(text, renderer, *arguments, **options):
        if text.get_visible() and text.get_text().strip():
            drawn[id(text)] = text
        return draw(text, renderer, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matplotlib.text.Text, "draw", recorded)
        figure.draw_without_rendering()
    return list(drawn.values())


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Return pairs of texts that lie on each other, and texts that leave the figure."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts_drawn(figure)]
    found = [
        (a, b)
        for place, (a, one) in enumerate(boxes)
        for b, other in boxes[place + 1 :]
        if one.padded(-0.5).overlaps(other)
    ]
    page = figure.bbox
    return found + [
        (a, "the edge")
        for a, box in boxes
        if box.x0 < page.x0 or page.x1 < box.x1 or box.y0 < page.y0 or page.y1 < box.y1
    ]


@functools.cache
def laid_out(draw: Callable[[int], Figure], layers: int) -> tuple[Figure, list[tuple[str, str]]]:
    """Return a figure, drawn once for all tests that look at it, and its texts that overlap."""
    figure = draw(layers)
    return figure, overlaps(figure)


@pytest.fixture(scope="module", autouse=True)
def _figures_for_this_module() -> Iterator[None]:
    yield
    laid_out.cache_clear()


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("draw", [norms_figure, coefficients_figure, lags_figure, sites_figure])
def test_texts_neither_overlap_nor_leave_the_figure(draw, layers):
    assert laid_out(draw, layers)[1] == []


@pytest.mark.parametrize("draw", [norms_figure, coefficients_figure, lags_figure, sites_figure])
def test_a_model_of_one_layer_is_drawn(draw, tmp_path):
    files.save(draw(1), [tmp_path / "one.png"])


# Figure 1


def ticks_of(axes: Axes, colour: str) -> list[np.ndarray]:
    """Return the places of the ticks of one colour, an array for each layer that has some."""
    lines = [c for c in axes.collections if isinstance(c, LineCollection)]
    return [
        np.array([segment[0, 0] for segment in line.get_segments()])
        for line in lines
        if np.allclose(line.get_color()[0], matplotlib.colors.to_rgba(colour))
        and line.get_segments()
    ]


@pytest.mark.parametrize("size", [PAGE, COLUMN, SLIDE], ids=lambda size: size.name)
def test_each_layer_has_a_ridge_of_norms_and_one_of_relative_norms(size):
    position, norms = synthetic_norms(12, sink=1.0)
    logs = log_norms(norms).T
    parts, relative = (
        [norms_by_layer.layer_norms(n, logs[n] - less, position == 0) for n in range(12)]
        for less in (0.0, 3.5)
    )
    figure = norms_drawn(parts, relative, size=size)
    panels = figure.axes
    assert [axes.get_xlabel().split("\n")[0] for axes in panels] == [
        "norm of attention adjustment, |a|",
        "relative to the stream, |a| / |x|",
    ]
    assert len({axes.get_ylim() for axes in panels}) == 1
    for axes, layers in zip(panels, (parts, relative), strict=True):
        ridges = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
        # The place tells the layer: no colour repeats it.
        assert len({ridge.get_facecolor() for ridge in ridges}) == 1
        for part, ridge in zip(layers, ridges, strict=True):
            heights, edges, baseline = ridge.get_data()
            assert baseline == part.layer
            np.testing.assert_array_equal(edges, part.edges)
            shares = part.counts / part.counts.max()
            np.testing.assert_allclose(heights, part.layer + norms_by_layer.HEIGHT * shares)
        medians = np.concatenate(ticks_of(axes, "k"))
        np.testing.assert_allclose(medians, [part.median for part in layers])
        firsts = ticks_of(axes, drawing.LINE)
        assert [len(places) for places in firsts] == [20] * 12
        np.testing.assert_allclose(firsts[5], layers[5].firsts)
        for tick, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
            assert np.exp(tick) == pytest.approx(float(label.get_text()))
    assert "divided by that of the residual stream" in texts_of(figure)


def test_counts_of_norms_equal_those_of_numpy_without_first_tokens():
    position, norms = synthetic_norms(3, sequences=norms_by_layer.TICKS + 30, length=20, sink=5.0)
    logs = log_norms(norms)
    one, other = (norms_by_layer.layer_norms(n, logs[:, n], position == 0) for n in range(2))
    rest = logs[position > 0, 1]
    assert np.array_equal(other.edges, np.histogram_bin_edges(rest, bins="fd"))
    assert other.counts.sum() == len(rest)
    # The same first tokens in each layer.
    assert len(one.firsts) == norms_by_layer.TICKS
    rows = [int(np.flatnonzero(logs[:, 0] == value)[0]) for value in one.firsts]
    np.testing.assert_array_equal(logs[rows, 1], other.firsts)


@pytest.mark.parametrize(("sink", "beyond"), [(0.0, False), (9.0, True), (-9.0, True)])
def test_distant_first_tokens_do_not_compress_the_axis(sink, beyond):
    figure = norms_figure(12, sink=sink)
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    assert high - low < 9
    marks = [line for line in axes.lines if line.get_marker() in ("<", ">")]
    assert len(marks) == (12 if beyond else 0)
    assert all(line.get_xdata()[0] == (high if sink > 0 else low) for line in marks)
    assert ("first tokens beyond the axis" in legend_of(figure)) is beyond
    assert "first token of a sequence (position 0)" in legend_of(figure)
    assert overlaps(figure) == []


def test_a_layer_with_a_zero_norm_everywhere_has_no_ridge():
    position, norms = synthetic_norms(3)
    norms[:, 1] = 0
    norms[5, 2] = np.nan
    parts = [norms_by_layer.layer_norms(n, log_norms(norms[:, n]), position == 0) for n in range(3)]
    ridges = [p for p in norms_drawn(parts).axes[0].patches if isinstance(p, StepPatch)]
    assert [ridge.get_data().baseline for ridge in ridges] == [0, 2]


def test_first_tokens_are_not_named_if_none_are_dropped():
    _, norms = synthetic_norms(2)
    none = np.zeros(len(norms), bool)
    parts = [norms_by_layer.layer_norms(n, log_norms(norms[:, n]), none) for n in range(2)]
    figure = norms_drawn(parts, drop_first=0)
    assert legend_of(figure) == ["tokens", "their median"]
    assert "first token" not in texts_of(figure)


# Figure 2


@pytest.mark.parametrize("layers", LAYERS)
def test_coefficients_have_labels_title_and_the_caveat(layers):
    figure, _ = laid_out(coefficients_figure, layers)
    top, bottom = figure.axes
    assert top.get_ylabel() == "coefficient\n(log norm per log norm)"
    assert bottom.get_ylabel() == "R²\n(share of variance)"
    assert bottom.get_xlabel() == "layer"
    assert top.get_xlim() == bottom.get_xlim()
    claim, subtitle = TITLE.split("\n")
    assert figure.get_suptitle() == claim
    assert subtitle in texts_of(figure)
    assert wording.PREDICTIVE in texts_of(figure)
    assert "clustered by document (CR2)" in texts_of(figure)
    assert "2,940 rows from 20 documents" in texts_of(figure)


@pytest.mark.parametrize(("lag", "shape"), [("lag_1", "o"), ("lag_2", "s")])
def test_the_marker_of_a_lag_is_filled_if_significant_and_open_if_not(lag, shape):
    coefficients, _ = synthetic_tables(12)
    top = coefficients_figure(12).axes[0]
    of_lag = coefficients[coefficients["term"] == lag]
    for full, chosen in (
        (True, of_lag["p_adjusted"] < 0.05),
        (False, of_lag["p_adjusted"] >= 0.05),
    ):
        expected = sorted(zip(of_lag["layer"][chosen], of_lag["estimate"][chosen], strict=True))
        assert marks_of(top, full, shape) == expected


def test_the_lines_and_bands_match_the_table_and_zero_has_a_line():
    coefficients, _ = synthetic_tables(12)
    top = coefficients_figure(12).axes[0]
    lines = [
        line for line in top.lines if line.get_marker() == "None" and len(line.get_xdata()) == 12
    ]
    for line, lag in zip(lines, ("lag_1", "lag_2"), strict=True):
        expected = coefficients[coefficients["term"] == lag]["estimate"]
        assert np.array_equal(line.get_ydata(), expected)
    bands = top.collections[::2]
    for band, lag in zip(bands, ("lag_1", "lag_2"), strict=True):
        rows = coefficients[coefficients["term"] == lag]
        heights = band.get_paths()[0].vertices[:, 1]
        assert heights.min() == rows["conf_low"].min()
        assert heights.max() == rows["conf_high"].max()
    assert any(list(line.get_ydata()) == [0, 0] for line in top.lines)


def test_the_legend_names_lags_in_order_and_the_markers():
    labels = legend_of(coefficients_figure(3, lags=12))
    assert labels[:12] == [f"lag {lag}" for lag in range(1, 13)]
    assert labels[12:] == ["p < 0.05, Holm", "p ≥ 0.05, Holm", "95% confidence band"]
    figure = coefficients_figure(3, adjust="none")
    assert "p < 0.05" in legend_of(figure)
    assert "not corrected" in texts_of(figure)


@pytest.mark.parametrize("lags", [1, 5, 12])
def test_many_lags_do_not_overlap_in_the_legend(lags):
    assert overlaps(coefficients_figure(12, lags=lags, unfitted=(3,))) == []


def test_a_layer_that_was_not_fitted_is_a_gap_and_marked():
    figure = coefficients_figure(12, unfitted=(4, 6))
    top, bottom = figure.axes
    assert "not fitted" in legend_of(figure)
    for axes in (top, bottom):
        (marks,) = (line for line in axes.lines if line.get_marker() == "^")
        assert list(marks.get_xdata()) == [4, 6]
    line = next(line for line in top.lines if len(line.get_xdata()) == 12)
    assert np.isnan(line.get_ydata()[[4, 6]]).all()
    # Layer 5 has no neighbour to span a band with.
    assert sum(len(c.get_segments()) for c in top.collections[1::2]) >= 2
    assert "not fitted" not in legend_of(coefficients_figure(12))


def band_of(collection) -> np.ndarray:
    """Return lower and upper end of a band at each of its layers."""
    corners = collection.get_paths()[0].vertices
    places = sorted(set(corners[:, 0]))
    heights = [corners[corners[:, 0] == place, 1] for place in places]
    return np.array([[height.min(), height.max()] for height in heights])


def ends_of(table: pd.DataFrame, term: str) -> np.ndarray:
    return table.loc[table["term"] == term, ["conf_low", "conf_high"]].to_numpy()


def test_joint_bands_are_the_critical_value_times_the_standard_error():
    coefficients, fits = synthetic_tables(12)
    critical_values = {"lag_1": 3.0, "lag_2": 4.0}
    data = coefficients_by_layer.Data(coefficients, fits, 0.05, "max-t", critical_values)
    figure = coefficients_by_layer.draw(data, title="")
    for band, lag, critical in zip(
        figure.axes[0].collections[::2], ("lag_1", "lag_2"), (3, 4), strict=True
    ):
        rows = coefficients[coefficients["term"] == lag]
        reach = critical * rows["std_error"]
        expected = np.column_stack([rows["estimate"] - reach, rows["estimate"] + reach])
        np.testing.assert_allclose(band_of(band), expected)
    assert legend_of(figure)[-3:] == [
        "p < 0.05, Romano-Wolf, max-t",
        "p ≥ 0.05, Romano-Wolf, max-t",
        "95% joint confidence band",
    ]
    assert "cover all layers of a term simultaneously" in texts_of(figure)


def synthetic_controls(coefficients: pd.DataFrame) -> pd.DataFrame:
    """Return controls of a regression: permuted order a little above zero, random weights large."""
    rows = coefficients[coefficients["term"] != "intercept"]
    known = rows["estimate"].notna()
    middle = np.where(known, 0.02 + 0.001 * rows["layer"], np.nan)
    return rows[["layer", "term", "estimate"]].assign(
        permuted_mean=middle,
        permuted_low=middle - 0.03,
        permuted_high=middle + 0.03,
        random_weights=np.where(known, 1.5 + 0.01 * rows["layer"], np.nan),
        random_weights_r_squared=np.where(known, 0.99, np.nan),
        trained=rows["estimate"],
    )


def controls_figure(layers: int, size: Size = PAGE, **kinds) -> Figure:
    """Draw a regression beside both controls."""
    coefficients, fits = synthetic_tables(layers, **kinds)
    controls = synthetic_controls(coefficients)
    data = coefficients_by_layer.Data(coefficients, fits, 0.05, "holm", controls=controls)
    return coefficients_by_layer.draw(data, title=TITLE, size=size)


def profile_of(axes: Axes) -> np.ndarray:
    """Return the heights of the line of a coefficient: the last that is no mark."""
    return [line for line in axes.lines if line.get_marker() == "None"][-1].get_ydata()


def test_each_lag_has_a_panel_with_its_controls():
    coefficients, _ = synthetic_tables(12)
    controls = synthetic_controls(coefficients)
    figure = controls_figure(12)
    *panels, below = figure.axes
    for axes, lag in zip(panels, ("lag_1", "lag_2"), strict=True):
        assert axes.get_ylabel().startswith(f"coefficient of {lag.replace('_', ' ')}")
        rows = controls[controls["term"] == lag]
        permuted = rows[["permuted_low", "permuted_high"]]
        np.testing.assert_allclose(band_of(axes.collections[0]), permuted)
        dashed = next(line for line in axes.lines if line.get_linestyle() == "--")
        assert np.array_equal(dashed.get_ydata(), rows["random_weights"])
        assert np.array_equal(profile_of(axes), rows["estimate"])
        np.testing.assert_allclose(band_of(axes.collections[2]), ends_of(coefficients, lag))
        without = [layer for layer, _ in marks_of(axes, full=False)]
        assert without == ([0, 3, 6, 9] if lag == "lag_2" else [])
    dashed = next(line for line in below.lines if line.get_linestyle() == "--")
    assert set(dashed.get_ydata()) == {0.99}
    assert panels[0].get_ylim() == panels[1].get_ylim()
    # A coefficient of 0.1 is as easily read as one of 1.5.
    heights = panels[0].transData.transform([(0, 0), (0, 0.1), (0, 1.5)])[:, 1]
    assert heights[1] - heights[0] > 0.1 * (heights[2] - heights[0])
    assert legend_of(figure) == [
        "order of tokens permuted (95% of draws)",
        "random weights, untrained",
        "p < 0.05, Holm",
        "p ≥ 0.05, Holm",
        "95% confidence band",
    ]
    assert "logarithmic" in texts_of(figure)


def test_a_control_that_was_not_computed_is_not_drawn():
    coefficients, fits = synthetic_tables(12)
    controls = synthetic_controls(coefficients)
    for prefix, label in (("random", "random weights, untrained"), ("permuted", "order of tokens")):
        without = controls[[name for name in controls if not name.startswith(prefix)]]
        data = coefficients_by_layer.Data(coefficients, fits, 0.05, "holm", controls=without)
        figure = coefficients_by_layer.draw(data, title=TITLE)
        assert not [text for text in legend_of(figure) if text.startswith(label)]
        assert (figure.axes[0].get_yscale() == "linear") is (prefix == "random")


@pytest.mark.parametrize(
    "kinds", [{}, {"lags": 1}, {"lags": 3, "leads": 1}, {"lags": 2, "leads": 3}]
)
def test_panels_with_controls_have_room_for_their_texts(kinds):
    for layers in (2, 48):
        assert overlaps(controls_figure(layers, unfitted=(1,), **kinds)) == []
    figure = controls_figure(12, unfitted=(4, 6), **kinds)
    assert "not fitted" in legend_of(figure)
    # Layer 5 has no neighbour to span a band with.
    assert [len(c.get_segments()) for c in figure.axes[0].collections[1::2]] == [1, 1]


def test_leads_come_after_lags_dashed_and_in_colours_of_their_own():
    figure = coefficients_figure(12, lags=3, leads=2)
    labels = legend_of(figure)[:5]
    assert labels == ["lag 1", "lag 2", "lag 3", "lead 1", "lead 2"]
    handles = figure.legends[0].legend_handles[:5]
    assert [handle.get_linestyle() for handle in handles] == ["-"] * 3 + ["--"] * 2
    for count in (2, 12):
        colours = legends.lag_colours(
            [f"{kind}_{n}" for kind in ("lag", "lead") for n in range(1, count + 1)]
        )
        assert len({matplotlib.colors.to_hex(colour) for colour in colours.values()}) == 2 * count
    assert overlaps(coefficients_figure(30, lags=0, leads=2)) == []


def test_a_regression_that_was_fitted_nowhere_is_drawn(tmp_path):
    files.save(coefficients_figure(2, unfitted=(0, 1)), [tmp_path / "none.svg"])


# Figure 3


@pytest.mark.parametrize("layers", LAYERS)
def test_every_layer_has_a_panel_in_order(layers):
    figure, _ = laid_out(lags_figure, layers)
    drawn = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in drawn] == [f"layer {n}" for n in range(layers)]
    places = [(round(-axes.get_position().y0, 2), axes.get_position().x0) for axes in drawn]
    assert places == sorted(places)
    assert len({axes.get_xlim() + axes.get_ylim() for axes in drawn}) == 1
    assert "log norm at token t − 1 given the other terms (SD)" in texts_of(figure)
    assert "log norm at token t given the other terms (SD)" in texts_of(figure)
    assert wording.PREDICTIVE in texts_of(figure)
    # One inch and a third at the least, and no wider than a report.
    assert all(axes.get_window_extent().width / figure.dpi > 1.25 for axes in drawn)
    assert figure.get_size_inches()[0] <= 10


@pytest.mark.parametrize("layers", [7, 12, *LAYERS])
def test_every_column_and_row_of_panels_has_numbers(layers):
    figure, _ = laid_out(lags_figure, layers)
    drawn = [axes for axes in figure.axes if axes.get_title(loc="left")]
    lowest: dict[int, matplotlib.axes.Axes] = {}
    for axes in drawn:
        lowest[round(axes.get_position().x0 * 100)] = axes
    for axes in lowest.values():
        assert any(label.get_visible() for label in axes.get_xticklabels())


def test_many_rows_are_drawn_as_counts_and_few_as_points():
    many = lags_figure(2)
    drawn = [axes for axes in many.axes if axes.get_title(loc="left")]
    images = [axes.collections[0] for axes in drawn]
    assert all(isinstance(image, QuadMesh) for image in images)
    # One colour scale for all panels, named on the figure.
    assert len({(image.norm.vmin, image.norm.vmax) for image in images}) == 1
    assert "tokens per square of 0.1 SD (log scale)" in texts_of(many)
    few = lags_figure(2, sequences=5)
    assert not any(isinstance(c, QuadMesh) for axes in few.axes for c in axes.collections)
    points = [c for axes in few.axes for c in axes.collections if isinstance(c, PathCollection)]
    assert [len(c.get_offsets()) for c in points] == [5 * 148] * 2


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

    panel = lag_panel(0, lag, outcome, other, documents)
    assert panel.slope == pytest.approx(fit.params[0])
    assert panel.r_squared == pytest.approx(1 - fit.ssr / restricted.ssr)
    assert panel.sd == pytest.approx(np.sqrt(restricted.ssr / known.sum()))
    np.testing.assert_allclose(panel.points[:, 1] * panel.sd, restricted.resid, atol=1e-9)
    axes = lags_drawn([panel]).axes[0]
    (line,) = axes.lines
    assert np.polyfit(*line.get_data(), 1) == pytest.approx([fit.params[0], 0])
    assert axes.get_title(loc="right") == f"r² {panel.r_squared:.2f}"
    # With the raw cloud the line would misfit: the slope between documents is another.
    assert abs(np.polyfit(lag[known], outcome[known], 1)[0] - fit.params[0]) > 1


def test_the_image_shows_each_square_in_its_place():
    # A lag far from its mean with an outcome on the other side: axes must not be swapped.
    random = np.random.default_rng(2)
    lag = np.r_[random.normal(0, 1, 4000), np.full(500, 2.0)]
    outcome = np.r_[random.normal(0, 1, 4000), np.full(500, -1.0)]
    panel = lag_panel(0, lag, outcome)
    image = lags_drawn([panel]).axes[0].collections[0]
    counts = image.get_array()
    row, column = np.unravel_index(np.ma.argmax(counts), counts.shape)
    left, bottom = image.get_coordinates()[0, 0]
    x = left + (column + 0.5) * outcome_by_lag.BIN
    y = bottom + (row + 0.5) * outcome_by_lag.BIN
    assert x == pytest.approx((2 - lag.mean()) / panel.sd, abs=outcome_by_lag.BIN)
    assert y == pytest.approx((-1 - outcome.mean()) / panel.sd, abs=outcome_by_lag.BIN)


def test_outliers_do_not_stretch_the_axes():
    panels = panels_of(3)
    lag = np.random.default_rng(4).normal(size=5000)
    outcome = lag.copy()
    outcome[0] = 300.0
    panels.append(lag_panel(3, lag, outcome))
    low, high = outcome_by_lag.lag_limits(panels)
    assert low <= min(panel.low for panel in panels)
    assert max(panel.high for panel in panels) <= high < 6


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (np.full(50, np.nan), "0 rows", "0 rows"),
        (np.full(50, 2.0), "ok", "no variance"),
        (np.arange(50.0) ** 2, "the regressors are collinear", "the regressors are collinear"),
    ],
)
def test_the_panel_of_a_layer_without_a_fit_states_the_reason(outcome, status, reason):
    panel = lag_panel(1, np.arange(50.0), outcome, status=status)
    figure = lags_drawn([*panels_of(1), panel], lag="lag_2")
    axes = figure.axes[1]
    assert " ".join(axes.texts[0].get_text().split()) == f"not fitted: {reason}"
    assert not axes.lines
    assert "token t − 2" in texts_of(figure)


def test_chosen_layers_are_shown_and_missing_layers_are_refused():
    assert drawing.chosen_layers(None, [1, 0, 2]) == [0, 1, 2]
    assert drawing.chosen_layers([2, 0, 2], [0, 1, 2]) == [0, 2]
    with pytest.raises(UserError) as caught:
        drawing.chosen_layers([0, 12, 30], range(12))
    assert caught.value.problems == [
        "layers with a panel: found 12, expected layers of this model: 0 to 11",
        "layers with a panel: found 30, expected layers of this model: 0 to 11",
    ]


def test_lags_are_ordered_by_distance():
    terms = ["lead_10", "intercept", "lag_10", "lead_2", "lag_2", "lag_2", "position_1"]
    assert lags_among(terms) == ["lag_2", "lag_10", "lead_2", "lead_10"]
    assert named("lead_1") == "lead 1"


def test_a_lead_is_named_as_a_lead():
    figure = lags_drawn(panels_of(1), lag="lead_2")
    assert "log norm at token t + 2 given the other terms (SD)" in texts_of(figure)
    assert "coefficient of lead 2" in texts_of(figure)


# Figure 4


@pytest.mark.parametrize("layers", LAYERS)
def test_sites_are_drawn_side_by_side_with_shared_axes(layers):
    figure, _ = laid_out(sites_figure, layers)
    above, below = figure.axes[:3], figure.axes[3:]
    titles = [axes.get_title(loc="left") for axes in above]
    assert titles == ["attention adjustment", "MLP adjustment", "block update"]
    for row in (above, below):
        assert len({axes.get_ylim() for axes in row}) == 1
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    assert [axes.get_xlabel() for axes in below] == ["layer"] * 3
    assert above[0].get_ylabel() == "log norm\n(natural log)"
    assert "coefficient" in below[0].get_ylabel()
    assert wording.PREDICTIVE in texts_of(figure)


def test_each_site_shows_its_own_numbers():
    figure = sites_figure(12)
    position, norms = synthetic_norms(12)
    medians = np.median(log_norms(norms)[position > 0], axis=0)
    table = synthetic_tables(12)[0].query("term == 'lag_1'")
    for place in range(3):
        above, below = figure.axes[place], figure.axes[3 + place]
        assert np.allclose(above.lines[0].get_ydata(), medians + place)
        line = next(line for line in below.lines if len(line.get_xdata()) == 12)
        assert np.allclose(line.get_ydata(), table["estimate"] + place)


def test_sites_mark_layers_that_are_not_significant_or_not_fitted():
    figure = sites_figure(9, unfitted=(4,))
    below = figure.axes[3]
    assert [layer for layer, _ in marks_of(below, full=False)] == [0, 3, 6]
    marks = [line for line in below.lines if line.get_marker() == "^"]
    assert [list(line.get_xdata()) for line in marks] == [[4]]
    assert legend_of(figure)[-1] == "not fitted"


@pytest.mark.parametrize(
    ("drop_first", "words"),
    [
        (0, "90% of all tokens. Below"),
        (1, "all tokens except the first of each sequence. Below"),
        (3, "all tokens except the first 3 of each sequence. Below"),
    ],
)
def test_the_figure_of_sites_names_the_tokens_it_covers(drop_first, words):
    assert words in texts_of(sites_figure(3, drop_first=drop_first))


@pytest.mark.parametrize(
    "kinds", [{"lags": 2, "leads": 3}, {"sites": SITES[:2]}, {"lags": 10}, {"unfitted": (1,)}]
)
def test_texts_in_the_figure_of_sites_do_not_overlap(kinds):
    assert overlaps(sites_figure(30, **kinds)) == []


def test_a_layer_without_norms_has_no_quantiles():
    assert np.isnan(drawing.quantiles_of(np.array([np.nan, np.inf]))).all()
    assert drawing.quantiles_of(np.arange(101.0)).tolist() == [5, 25, 50, 75, 95]


# Files


@pytest.mark.parametrize("draw", [norms_figure, coefficients_figure, lags_figure, sites_figure])
def test_files_are_written_in_each_format_with_equal_bytes(draw, tmp_path):
    figure = draw(3)
    files.save(figure, [tmp_path / "a.svg", tmp_path / "a.png"])
    # Again from the same figure, and from the beginning under other settings of the user.
    files.save(figure, [tmp_path / "b.svg", tmp_path / "b.png"])
    with matplotlib.rc_context({"font.size": 20, "axes.grid": True, "svg.hashsalt": "other"}):
        files.save(draw(3), [tmp_path / "c.svg", tmp_path / "c.png"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.png", "a.svg", "b.png", "b.svg", "c.png", "c.svg",
    ]  # fmt: skip
    for suffix in ("svg", "png"):
        first = (tmp_path / f"a.{suffix}").read_bytes()
        assert (tmp_path / f"b.{suffix}").read_bytes() == first
        assert (tmp_path / f"c.{suffix}").read_bytes() == first
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert b"Software" not in (tmp_path / "a.png").read_bytes()
    root = xml.etree.ElementTree.parse(tmp_path / "a.svg").getroot()
    assert root.tag.endswith("svg")
    assert "<dc:date>" not in (tmp_path / "a.svg").read_text()


def test_files_of_48_layers_stay_small(tmp_path):
    for draw in (norms_figure, coefficients_figure, lags_figure, sites_figure):
        path = tmp_path / f"{draw.__name__}.svg"
        files.save(laid_out(draw, 48)[0], [path])
        assert path.stat().st_size < 1_500_000


def test_a_figure_that_fails_keeps_the_earlier_file(tmp_path, monkeypatch):
    target = tmp_path / "figure.png"
    target.write_text("before")
    figure = coefficients_figure(2)

    def half(path, **options):
        Path(path).write_bytes(b"\x89PN")
        raise OSError("no space left on device")

    monkeypatch.setattr(figure, "savefig", half)
    with pytest.raises(OSError, match="no space"):
        files.save(figure, [target])
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
    assert target.read_text() == "before"


def test_the_style_is_that_of_seaborn_and_leaves_global_settings_alone():
    before = dict(matplotlib.rcParams), np.random.get_state()[1].tolist()
    with files.style():
        ticks = sns.axes_style()
        assert ticks["axes.labelcolor"] == ".15"
        assert matplotlib.rcParams["svg.fonttype"] == "none"
        np.random.uniform(size=5)
    assert before == (dict(matplotlib.rcParams), np.random.get_state()[1].tolist())


def test_rows_shown_are_all_or_a_sample_from_everywhere():
    assert sampling.sampled_rows(5).tolist() == [0, 1, 2, 3, 4]
    assert len(sampling.sampled_rows(sampling.MOST_ROWS)) == sampling.MOST_ROWS
    for count in (sampling.MOST_ROWS + 1, 1_234_567, 10**10):
        rows = sampling.sampled_rows(count)
        assert len(rows) == sampling.MOST_ROWS
        assert (np.diff(rows) > 0).all()
        assert rows[0] >= 0
        assert rows[-1] < count
        # One in each of as many equal stretches.
        assert (rows * sampling.MOST_ROWS // count >= np.arange(sampling.MOST_ROWS) - 1).all()
        assert rows.tolist() == sampling.sampled_rows(count).tolist()


def test_a_coefficient_shown_to_be_negligible_is_marked_by_a_cross():
    coefficients, fits = synthetic_tables(12)
    finding = np.where(coefficients["layer"] % 4 == 1, "absent", "present")
    data = coefficients_by_layer.Data(
        coefficients.assign(finding=finding), fits, 0.05, "holm", negligible=0.02
    )
    figure = coefficients_by_layer.draw(data, title=TITLE)
    of_lag = coefficients[coefficients["term"] == "lag_1"].iloc[[1, 5, 9]]
    crosses = next(line for line in figure.axes[0].lines if line.get_marker() == "x")
    np.testing.assert_array_equal(crosses.get_xdata(), [1, 5, 9])
    np.testing.assert_array_equal(crosses.get_ydata(), of_lag["estimate"])
    # Each layer has one mark.
    assert len(marks_of(figure.axes[0], True, "o") + marks_of(figure.axes[0], False, "o")) == 9
    assert "shown to be within ±0.02" in legend_of(figure)
    assert "shown to be within" not in " ".join(legend_of(coefficients_figure(12)))


def diamonds_of(axes: Axes) -> list[tuple[float, float]]:
    return [
        tuple(xy) for line in axes.lines if line.get_marker() == "D" for xy in line.get_xydata()
    ]


def test_a_layer_without_attention_is_marked_on_its_axis():
    """This holds in plots and heat maps, along either axis, and if only some layers are shown."""
    figure = Figure(layout="constrained")
    plot, cells, some, other = figure.subplots(1, 4)
    drawing.label_layers(plot, range(30))
    table = pd.DataFrame(np.ones((2, 6)), columns=range(6))
    sns.heatmap(table, cbar=False, ax=cells)
    cells.set(xlabel="layer", ylabel="group")
    some.set_yticks([0, 1, 2], ["2", "4", "29"])
    some.set(ylabel="target layer", title="layer 3", ylim=(-0.5, 2.5))
    other.set_xlabel("tokens after")
    drawing.mark_layers(figure, [3, 4, 28])
    assert diamonds_of(plot) == [(3, 0), (4, 0), (28, 0)]
    assert diamonds_of(cells) == [(3.5, 0), (4.5, 0)]
    assert diamonds_of(some) == [(0, 1)]
    assert diamonds_of(other) == []
    assert some.get_title() == "layer 3 ◇"
    # Nothing is drawn without a place: it would upset the layout.
    drawing.mark_layers(figure, [40])
    assert [len(axes.lines) for axes in (plot, some)] == [1, 1]
