"""The two templates: lines by layer, and maps of rows by layers."""

import resource
import struct
import xml.etree.ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from pictures import (
    TITLE,
    band_of,
    cells_of,
    diamonds_of,
    legend_of,
    marks_of,
    overlaps,
    texts_of,
    with_interval,
)
from projects import refused

from attnlag.errors import UserError
from attnlag.figures import drawing, files, legends, sampling
from attnlag.figures.sizes import COLUMN, PAGE, SIZES, suffix_of
from attnlag.figures.templates import (
    SCALE_DASHES,
    Line,
    Lines,
    Map,
    Sheet,
    permuted,
    profile,
    untrained,
)

LAYERS = list(range(6))


def lines_sheet(layers=6):
    x = np.linspace(0.1, 0.9, layers)
    panels = [
        Lines(
            [
                Line(x, "lag 1", "C0", x - 0.1, x + 0.1),
                untrained(x + 1),
                permuted(np.full(layers, -0.1), np.full(layers, 0.1)),
            ],
            "coefficient\n(log norm per log norm)",
            title,
            share="lags",
        )
        for title in ("lag 1", "lag 2")
    ]
    return Sheet("claim", range(layers), panels, "A note.", across=2)


def direct_sheet(layers=6):
    sheet = lines_sheet(layers)
    for panel in sheet.panels:
        panel.direct = True
        panel.lines[0].label = "by the tokens before it"
    return sheet


def crowded_sheet(layers=6):
    """Labels of lines that end close to each other, one of them in two lines."""
    x = np.linspace(0.1, 0.9, layers)
    labels = ["default", "own", "by-depth", "trained", "1.5 times what is own"]
    lines = []
    for place, (label, dashes) in enumerate(zip(labels, SCALE_DASHES, strict=True)):
        lines.append(untrained(x + place / 20, label, linestyle=dashes))
    return Sheet("claim", range(layers), [Lines(lines, "coefficient", direct=True)], "A note.")


def map_sheet(layers, groups=13):
    values = np.random.default_rng(0).normal(size=(groups, layers))
    names = [f"a group of name {n} (10)" for n in range(groups)]
    title = "variance that is explained by all of the groups"
    panels = [
        Lines([Line(values[0], color="C0")], "coefficient\n(unit)", title, height=1.5),
        Map(values, names, "difference (log norm per log norm)", "by class"),
    ]
    return Sheet("claim", range(layers), panels, "A note.")


def drawn(*panels, layers=LAYERS, **tested):
    return Sheet("c", layers, panels, "", **tested).draw(TITLE, PAGE)


@pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: size.name)
@pytest.mark.parametrize("layers", [1, 2, 48])
@pytest.mark.parametrize("sheet", [lines_sheet, direct_sheet, crowded_sheet, map_sheet])
def test_texts_neither_overlap_nor_leave_the_figure(sheet, layers, size):
    figure = sheet(layers).draw(TITLE, size)
    assert overlaps(figure) == []
    width, height = figure.get_size_inches() * size.magnification
    assert width == pytest.approx(size.width)
    assert height < 9


@pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: size.name)
@pytest.mark.parametrize("sheet", [lines_sheet, direct_sheet, crowded_sheet, map_sheet])
def test_templates_look_as_before(sheet, size, looks_as_before):
    looks_as_before(f"{sheet.__name__}_{size.name}", sheet(12).draw(TITLE, size))


def test_a_line_shows_its_values_its_interval_and_its_marks():
    table = pd.DataFrame({"layer": LAYERS, "estimate": np.linspace(0.5, -0.1, 6)})
    table["p_adjusted"] = [0.01, 0.2, 0.01, 0.3, 0.01, np.nan]
    table["equivalence"] = ["present", "undecided", "absent", "absent", "present", "undecided"]
    table = with_interval(table)
    table.loc[5, ["estimate", "conf_low", "conf_high"]] = np.nan
    line = profile(table.sample(frac=1, random_state=0), LAYERS, "C0", alpha=0.05, label="lag 1")
    panel = Lines([line], "coefficient", missing=[5])
    figure = drawn(panel, adjust="holm", equivalence_bound=0.05)
    (axes,) = figure.axes
    solid = [one for one in axes.lines if one.get_linestyle() == "-" and one.get_zorder() > 2]
    assert len(solid) == 1
    np.testing.assert_array_equal(solid[0].get_ydata(), table["estimate"])
    expected = table[["conf_low", "conf_high"]].to_numpy()[:5]
    np.testing.assert_allclose(band_of(axes.collections[0]), expected)
    # The places of layers 0 to 5 are the middles of cells.
    assert marks_of(axes, "o", "full") == [0.5, 4.5]
    assert marks_of(axes, "o", "w") == [2.5, 3.5]
    assert marks_of(axes, "x") == [1.5, 3.5]
    assert marks_of(axes, "^") == [5.5]
    assert legend_of(figure) == ["lag 1", "not fitted"]
    # The caption says what the marks mean that are drawn, and of no others.
    marks = "● p < 0.05, Holm; × p ≥ 0.05, Holm; ○ shown to be within ±0.05."
    assert f"{marks} Bands: 95% intervals." in texts_of(figure)
    assert "shown to be" not in texts_of(lines_sheet().draw(TITLE, PAGE))
    # Too few documents give no interval, so that no band is drawn or named.
    unknown = Line([0.1, 0.2], "lag 1", low=np.full(2, np.nan), high=np.full(2, np.nan))
    figure = drawn(Lines([unknown], "coefficient"), layers=[0, 1])
    assert legend_of(figure) == ["lag 1"]
    assert not figure.axes[0].collections
    assert "intervals" not in texts_of(figure)


def test_layers_that_are_left_out_leave_gaps_between_lines_but_none_below_a_map():
    layers = [3, 4, 7]
    lines = Lines([Line([0.1, 0.2, 0.3], "lag 1")], "y")
    alone = drawn(lines, layers=layers)
    np.testing.assert_allclose(alone.axes[0].lines[-1].get_xdata(), [0.5, 1.5, 4.5])
    cells = Map(np.zeros((2, 3)), ["a", "b"], "y")
    below = drawn(lines, cells, layers=layers)
    np.testing.assert_allclose(below.axes[0].lines[-1].get_xdata(), [0.5, 1.5, 2.5])


@pytest.mark.parametrize(("layers", "points"), [(6, 5.5), (300, 2.4)])
def test_marks_of_many_layers_are_smaller_and_still_seen(layers, points):
    x = np.linspace(0.1, 0.9, layers)
    line = Line(x, "lag 1", weak=np.ones(layers, bool))
    figure = drawn(Lines([line], "coefficient"), layers=range(layers))
    marks = [one for one in figure.axes[0].lines if one.get_marker() == "x"]
    assert [one.get_markersize() for one in marks] == [points]


def test_a_band_alone_is_an_area_without_an_edge_in_the_legend():
    low = np.array([0.1, 0.2])
    band = Line(low, "half of the tokens", low=low, high=low + 1, linewidth=0, shade=0.35)
    figure = drawn(Lines([band], "norm"), layers=[0, 1])
    (legend,) = figure.findobj(Legend)
    (patch,) = legend.get_patches()
    assert (patch.get_linewidth(), patch.get_alpha()) == (0, 0.35)


def test_panels_share_limits_labels_and_the_legend():
    sheet = lines_sheet()
    # One panel reaches higher than the other.
    sheet.panels[1].lines[0].high = np.full(6, 3.0)
    figure = sheet.draw(TITLE, PAGE)
    one, two = figure.axes
    assert one.get_ylim() == two.get_ylim()
    assert one.get_ylim()[1] > 3
    assert one.get_xlabel() == two.get_xlabel() == "layer"
    assert legend_of(figure) == ["lag 1", "untrained", "random order"]
    # Beside another one of the same scale, a panel needs no label of it.
    assert one.get_ylabel() == "coefficient\n(log norm per log norm)"
    assert two.get_ylabel() == ""
    claim, subtitle = TITLE.split("\n")
    assert figure.get_suptitle() == claim
    assert subtitle in texts_of(figure)
    # Stacked panels have one axis of layers, and no room for the unit.
    above, below = lines_sheet().draw(TITLE, COLUMN).axes
    assert (above.get_xlabel(), below.get_xlabel()) == ("", "layer")
    assert above.get_ylabel() == "coefficient"
    # Where a panel of two has other numbers below it, both write their layers.
    other = Lines([Line([1.0, 2.0])], "response", x=[1, 2], xlabel="tokens later")
    several = Sheet(
        "c", range(6), [*lines_sheet().panels, lines_sheet().panels[0], other], across=2
    )
    one, two, *_ = several.draw(TITLE, PAGE).axes
    assert one.get_xlabel() == two.get_xlabel() == "layer"


def test_labels_of_panels_one_below_the_other_stand_in_a_line():
    """Also where the numbers of one take more room."""
    panels = [Lines([Line(values)], "norm") for values in (np.ones(6), np.full(6, 1e-4))]
    sheet = Sheet("c", range(6), panels)
    figure = sheet.draw(TITLE, PAGE)
    figure.draw_without_rendering()
    one, two = (axes.yaxis.label.get_window_extent().x0 for axes in figure.axes)
    assert one == pytest.approx(two)


def test_bars_replace_the_line_and_labels_stand_at_ends():
    x = np.arange(6.0)
    bars = Line(x, "caused", "C0", x - 1, x + 1, bars=True)
    named = [Line(x, "pooled", "C0"), Line(x + 0.01, "within documents", "C1")]
    figure = drawn(Lines([bars], "y"), Lines(named, "y", direct=True))
    first, second = figure.axes
    (marks,) = first.containers
    # The first mark lies on the edge of the panel, where it would be cut in half.
    assert not marks[0].get_clip_on()
    assert legend_of(figure) == ["caused"]
    heights = [text.xyann[1] for text in second.texts]
    assert [text.get_text() for text in second.texts] == ["pooled", "within documents"]
    assert heights[1] - heights[0] > 0.2
    assert overlaps(figure) == []
    assert "Bars: 95% intervals." in texts_of(figure)
    # The label of a band stands at its middle, in a colour that can be read.
    band = permuted(np.full(6, 1.0), np.full(6, 3.0))
    (axes,) = drawn(Lines([Line(x, "lag 1", "C0"), band], "y", direct=True)).axes
    assert [text.xy for text in axes.texts] == [(5.5, 5.0), (5.5, 2.0)]
    assert axes.texts[1].get_color() == legends.GREY


def test_a_line_may_have_an_axis_of_its_own():
    line = Line([1.0, 2.0], x=[0.25, 0.75])
    panel = Lines([line], "y", "", np.array([0.0, 1.0]), "relative depth")
    (axes,) = drawn(panel, layers=[]).axes
    assert list(axes.lines[-1].get_xdata()) == [0.25, 0.75]
    assert axes.get_xlabel() == "relative depth"
    # Up to ten layers that are not all there have a tick each.
    for count in (3, 10, 11):
        layers = [0, 3, *range(11, 9 + count)]
        (axes,) = drawn(Lines([Line(np.arange(count))], "y", "", layers, "source layer")).axes
        assert (list(axes.get_xticks()) == layers) == (count <= 10)


def test_a_logarithmic_axis_is_labelled_with_the_values():
    panel = Lines([Line(np.geomspace(0.002, 30, 6))], "norm", zero=False, log_scale=True)
    figure = drawn(panel)
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    figure.draw_without_rendering()
    labels = [label.get_text() for label in axes.get_yticklabels()]
    ticks = zip(axes.get_yticks(), labels, strict=True)
    shown = {text: tick for tick, text in ticks if low < tick < high}
    assert {"0.003", "0.01", "0.03", "0.1"} < set(shown)
    assert list(map(float, shown)) == pytest.approx(list(shown.values()))
    assert axes.get_yscale() == "log"


def test_a_map_shows_each_cell_its_names_dots_and_reasons():
    values = np.array([[0.1, 0.2, np.nan], [-0.3, 9.0, 0.5]])
    weak = np.array([[True, False, True], [False, False, True]])
    kind = {"weak": weak, "texts": {1: "not fitted"}, "limits": (-1, 1)}
    names = ["prose (7)", "verse (7)"]
    axes, bar = drawn(Map(values, names, "bar", named=[0], **kind), layers=[0, 1, 2]).axes
    np.testing.assert_array_equal(cells_of(axes, (2, 3)), values)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["prose (7)"]
    # A dot, as the filled marks of lines, is a significant value.
    (dots,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert dots.get_xydata().tolist() == [[1.5, 0.5], [0.5, 1.5], [1.5, 1.5]]
    assert [text.get_text() for text in axes.texts] == ["not fitted"]
    assert bar.get_ylabel() == "bar"
    # A value beyond the scale is announced at its end.
    assert axes.collections[0].colorbar.extend == "max"


def test_a_notice_stands_in_for_an_empty_figure(subtests):
    for size in SIZES.values():
        with subtests.test(size=size.name):
            figure = Sheet("The corpus has one group").draw("The corpus has one group\nmodel", size)
            assert overlaps(figure) == []
            assert all(not axes.axison for axes in figure.axes)


def test_titles_and_captions_have_no_orphan_word():
    text = "one two three four five six seven eight nine ten eleven"
    lines = drawing.balanced(text, 50).split("\n")
    assert " ".join(lines) == text
    assert len(lines) == 2
    assert abs(len(lines[0]) - len(lines[1])) < 8
    assert drawing.balanced("short", 50) == "short"


@pytest.mark.parametrize("heights", [[0.5, 0.5, 0.5], [0.0, 1.0, 0.97, 0.02], [2.0, -1.0]])
@pytest.mark.parametrize("extent", [0.1, 0.6])
def test_labels_keep_their_order_and_do_not_overlap(heights, extent):
    """One of them has two lines; where all have no room, each is smaller."""
    extents = np.full(len(heights), extent)
    extents[1] *= 2
    found = drawing.spread_out(heights, extents, 0.0, 1.0)
    sizes = extents * min(1, 1 / extents.sum())
    order = np.argsort(heights, kind="stable")
    below = (found - sizes / 2)[order]
    above = (found + sizes / 2)[order]
    assert (below[1:] >= above[:-1] - 1e-12).all()
    assert below[0] >= -1e-12
    assert above[-1] <= 1 + 1e-12


def test_labels_with_room_stand_at_their_heights():
    np.testing.assert_allclose(drawing.spread_out([0.9, 0.2], [0.1, 0.2], 0, 1), [0.9, 0.2])


def test_legends_have_as_few_lines_as_the_width_allows():
    assert legends.legend_columns(["short"] * 4, 9.7) == 4
    assert legends.legend_columns(["x" * 50] * 4, 9.7) == 2
    assert legends.legend_columns(["x" * 200] * 4, 9.7) == 1
    # Six in two lines, not four and two.
    assert legends.legend_columns(["x" * 25] * 6, 9.7) == 3


# Files


def test_files_are_written_in_each_format_with_equal_bytes(tmp_path, subtests):
    def draw():
        return map_sheet(3).draw(TITLE, PAGE)

    figure = draw()
    files.save(figure, [tmp_path / "a.svg", tmp_path / "a.png"])
    # Again from the same figure, and from the beginning under other settings of the user.
    files.save(figure, [tmp_path / "b.svg", tmp_path / "b.png"])
    with matplotlib.rc_context({"font.size": 20, "axes.grid": True, "svg.hashsalt": "other"}):
        files.save(draw(), [tmp_path / "c.svg", tmp_path / "c.png"])
    for suffix in ("svg", "png"):
        with subtests.test(suffix=suffix):
            first = (tmp_path / f"a.{suffix}").read_bytes()
            assert (tmp_path / f"b.{suffix}").read_bytes() == first
            assert (tmp_path / f"c.{suffix}").read_bytes() == first
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert b"Software" not in (tmp_path / "a.png").read_bytes()
    root = xml.etree.ElementTree.parse(tmp_path / "a.svg").getroot()
    assert root.tag.endswith("svg")
    assert "<dc:date>" not in (tmp_path / "a.svg").read_text()


def test_the_longest_label_beside_a_line_ends_within_the_picture(tmp_path):
    labels = ("random order", "surprisal alone", "given log frequency")
    lines = [Line(np.linspace(0, n, 6), label, "C0") for n, label in enumerate(labels)]
    panels = [Lines(lines, "slope", direct=True)] * 2
    figure = Sheet("claim", LAYERS, panels, "A note.", across=2).draw(TITLE, PAGE)
    files.save(figure, [tmp_path / "a.png"])
    picture = matplotlib.image.imread(tmp_path / "a.png")
    assert (picture[:, -3:, :3] == 1).all()


@pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: size.name)
def test_files_have_the_physical_dimensions_of_their_size(size, tmp_path):
    folder = tmp_path / "of_a_column"
    paths = [folder / f"figure{suffix_of(size.name)}.{kind}" for kind in ("svg", "png")]
    files.save(lines_sheet(3).draw(TITLE, size), paths, size)
    root = xml.etree.ElementTree.parse(paths[0]).getroot()
    assert float(root.get("width").removesuffix("pt")) == pytest.approx(72 * size.width, abs=0.01)
    # Its own units are those of the canvas, in which letters have 9 points.
    across = float(root.get("viewBox").split()[2])
    assert across == pytest.approx(72 * size.width / size.magnification, abs=0.01)
    content = paths[1].read_bytes()
    pixels, down = struct.unpack(">II", content[16:24])
    assert pixels == pytest.approx(size.width * size.dpi, rel=0.01)
    place = content.index(b"pHYs") + 4
    per_metre = struct.unpack(">I", content[place : place + 4])[0]
    assert per_metre == pytest.approx(size.dpi / 0.0254, abs=1)
    height = float(root.get("height").removesuffix("pt"))
    assert down / pixels == pytest.approx(height / (72 * size.width), rel=0.01)


def test_a_figure_that_cannot_be_written_keeps_the_earlier_file(tmp_path):
    target = tmp_path / "figure.png"
    target.write_text("before")
    figure = lines_sheet(2).draw(TITLE, PAGE)
    usual, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
    try:
        with pytest.raises(UserError, match="found a limit of the size of files"):
            files.save(figure, [target])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))
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


def test_rows_shown_are_all_or_a_sample_from_everywhere(subtests):
    assert sampling.sampled_rows(5).tolist() == [0, 1, 2, 3, 4]
    assert len(sampling.sampled_rows(sampling.MAX_SAMPLED)) == sampling.MAX_SAMPLED
    for count in (sampling.MAX_SAMPLED + 1, 1_234_567, 10**10):
        with subtests.test(count=count):
            rows = sampling.sampled_rows(count)
            assert len(rows) == sampling.MAX_SAMPLED
            assert (np.diff(rows) > 0).all()
            assert rows[0] >= 0
            assert rows[-1] < count
            # One in each of as many equal stretches.
            assert (
                rows * sampling.MAX_SAMPLED // count >= np.arange(sampling.MAX_SAMPLED) - 1
            ).all()
            assert rows.tolist() == sampling.sampled_rows(count).tolist()


def test_chosen_layers_are_shown_and_missing_layers_are_refused():
    assert drawing.chosen_layers(None, [1, 0, 2]) == [0, 1, 2]
    assert drawing.chosen_layers([2, 0, 2], [0, 1, 2]) == [0, 2]
    assert refused(drawing.chosen_layers, [0, 12, 30], range(12)) == [
        "layers with a panel: found 12, expected one of this model: 0 to 11",
        "layers with a panel: found 30, expected one of this model: 0 to 11",
    ]


def test_a_layer_without_attention_is_marked_on_its_axis():
    """This holds in plots and heat maps, and if only some layers are shown."""
    figure = Figure(layout="constrained")
    plot, cells, some, other = figure.subplots(1, 4)
    drawing.label_layers(plot, range(30))
    table = pd.DataFrame(np.ones((2, 6)), columns=range(6))
    sns.heatmap(table, cbar=False, ax=cells)
    cells.set(xlabel="layer", ylabel="group")
    some.set_xticks([0, 1, 2], ["2", "4", "29"])
    some.set(xlabel="target layer", title="layer 3", xlim=(-0.5, 2.5))
    other.set_xlabel("tokens after")
    drawing.mark_layers(figure, [3, 4, 28])
    assert diamonds_of(plot) == [(3, 0), (4, 0), (28, 0)]
    assert diamonds_of(cells) == [(3.5, 0), (4.5, 0)]
    assert diamonds_of(some) == [(1, 0)]
    assert diamonds_of(other) == []
    assert some.get_title() == "layer 3 ◇"
    # Nothing is drawn without a place: it would upset the layout.
    drawing.mark_layers(figure, [40])
    assert [len(axes.lines) for axes in (plot, some)] == [1, 1]


WORDS = " ".join(["word"] * 35)


@pytest.mark.parametrize(
    ("title", "note", "inches"),
    [
        ("A claim\nits data", "A note.", 0),
        (f"{WORDS}\nits data", "A note.", 0.19),
        (f"A claim\n{WORDS}", "A note.", 0.15),
        ("A claim\nits data", WORDS, 0.14),
        ("A claim", "A note.", -0.25),
    ],
)
def test_a_line_of_text_has_room_beside_the_panels(title, note, inches):
    short, _ = drawing.framed("A claim\nits data", "A note.", PAGE, 3)
    figure, _ = drawing.framed(title, note, PAGE, 3)
    lines = figure.get_figheight() - short.get_figheight()
    assert lines == pytest.approx(inches)


def test_colours_of_a_map_are_symmetric_about_zero():
    values = np.linspace(-1, 3, 12).reshape(2, 6)
    axes, _ = drawn(Map(values, ["a", "b"], "difference")).axes
    low, high = axes.collections[0].get_clim()
    assert low == -high
    # The last 2% of the cells saturate.
    assert high == pytest.approx(np.quantile(np.abs(values), 0.98))


def test_a_single_value_of_a_band_between_gaps_is_a_line():
    axes = Figure().subplots()
    low = np.array([0.1, np.nan, 0.3, 0.4, np.nan, 0.6])
    drawing.draw_band(axes, np.arange(6.0), low, low + 0.1, color="0.5")
    _, alone = axes.collections
    assert [segment[0][0] for segment in alone.get_segments()] == [0, 5]


def test_marks_of_layers_without_attention_leave_the_limits_of_an_axis():
    axes = Figure().subplots()
    axes.plot([0, 5], [0, 1])
    before = axes.get_xlim(), axes.get_ylim()
    drawing.mark_no_attention(axes, [20])
    assert (axes.get_xlim(), axes.get_ylim()) == before


def test_up_to_four_lags_have_hues_and_more_a_sequential_map():
    four = [f"lag_{lag}" for lag in range(1, 5)]
    assert list(legends.lag_colours(four).values()) == legends.PALETTE[:4]
    first = legends.lag_colours([*four, "lag_5"])["lag_1"]
    assert to_hex(first) not in map(to_hex, legends.PALETTE)
