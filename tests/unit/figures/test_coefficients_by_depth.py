"""The figure of a comparison: what it shows for each model, and that it stays readable."""

import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from matplotlib.colors import to_hex
from programs import run_program
from test_figures import diamonds_of, marks_of, overlaps, texts_of

from attnlag.figures import coefficients_by_depth, files, legends, wording
from attnlag.storage import tables

TITLE = "Coefficients by relative depth: attention, notebook"
SIZES = {"distilgpt2": 6, "gpt2": 12, "gpt2-medium": 24, "gpt2-large": 36, "gpt2-xl": 48, "b": 30}


def synthetic(models, controls=(), corpora=("prompts",), lags=2, unfitted=(), site="attention"):
    """Return a comparison's table; the first layer of every model is not significant."""
    random = np.random.default_rng(0)
    rows = []
    for corpus in corpora:
        for model, layers in models.items():
            for layer in range(layers):
                depth = layer / max(layers - 1, 1)
                for lag in range(lags + 1):
                    missing = (model, layer) in unfitted
                    estimate = 0.4 * np.sin(3 * depth) / (lag + 1) + 0.03 * random.normal()
                    estimate = np.nan if missing else estimate
                    rows.append(
                        {
                            "model": model,
                            "corpus": corpus,
                            "site": site,
                            "regression": "notebook",
                            "subset": "all",
                            "layer": layer,
                            "term": f"lag_{lag}" if lag else "intercept",
                            "estimate": estimate,
                            "p_adjusted": np.nan if missing else 0.4 if layer == 0 else 0.001,
                            "conf_low": estimate - 0.05,
                            "conf_high": estimate + 0.06,
                            "vcov_type": "cluster",
                            "depth": depth,
                            "control": model in controls,
                        }
                    )
    return pd.DataFrame(rows)


def drawn(table, adjust="holm", alpha=0.05, title=TITLE, **kinds):
    data = coefficients_by_depth.Data(table, alpha, adjust)
    return coefficients_by_depth.draw(data, title=title, **kinds)


def some(count, **kinds):
    models = dict(list(SIZES.items())[:count])
    return synthetic(models, **kinds)


def labels_of(figure):
    return [[text.get_text() for text in legend.get_texts()] for legend in figure.legends]


def lines_of(axes):
    """Return the lines of profiles: not that at zero, not the marks."""
    return [
        line
        for line in axes.lines
        if line.get_marker() == "None" and list(line.get_ydata()) != [0, 0]
    ]


# Few and many models, lags and corpora, each beside few and many of the others.
@pytest.mark.parametrize(
    ("count", "lags", "corpora"),
    [(1, 1, 1), (1, 5, 3), (2, 2, 3), (4, 1, 3), (4, 5, 1), (6, 2, 1), (6, 5, 3)],
)
def test_texts_neither_overlap_nor_leave_the_figure(count, lags, corpora):
    corpora = ("prompts", "novels", "letters")[:corpora]
    table = some(count, lags=lags, corpora=corpora, controls=["b"], unfitted=[("distilgpt2", 2)])
    assert overlaps(drawn(table)) == []


def test_long_names_do_not_overlap():
    models = {f"a-model-with-quite-a-long-name-{n}": 12 + n for n in range(6)}
    figure = drawn(synthetic(models, controls=list(models)[5:]))
    assert overlaps(figure) == []
    assert len(labels_of(figure)[0]) == 6


def test_legends_have_as_few_lines_as_the_width_allows():
    assert legends.legend_columns(["short"] * 4, 9.7) == 4
    assert legends.legend_columns(["x" * 50] * 4, 9.7) == 2
    assert legends.legend_columns(["x" * 200] * 4, 9.7) == 1
    # Six in two lines, not four and two.
    assert legends.legend_columns(["x" * 25] * 6, 9.7) == 3


def test_each_lag_has_a_row_and_each_corpus_a_column():
    table = some(3, lags=3, corpora=("prompts", "novels"))
    figure = drawn(table)
    grid = np.array(figure.axes).reshape(3, 2)
    assert [axes.get_title(loc="left") for axes in grid[0]] == ["prompts", "novels"]
    assert [axes.get_ylabel() for axes in grid[:, 0]] == [
        f"coefficient of lag {n}" for n in (1, 2, 3)
    ]
    assert all(one.get_ylim() == other.get_ylim() for one, other in grid)
    assert {axes.get_xlim() for axes in figure.axes} == {(-0.02, 1.02)}
    for row, lag in zip(grid, ("lag_1", "lag_2", "lag_3"), strict=True):
        for axes, corpus in zip(row, ("prompts", "novels"), strict=True):
            for line, (_, rows) in zip(
                lines_of(axes), table.groupby("model", sort=False), strict=True
            ):
                rows = rows[(rows["term"] == lag) & (rows["corpus"] == corpus)]
                assert np.array_equal(line.get_xdata(), rows["depth"])
                assert np.array_equal(line.get_ydata(), rows["estimate"])
    text = texts_of(figure)
    assert "relative depth (first layer 0, last layer 1)" in text
    assert wording.PREDICTIVE in text
    assert "clustered by document (CRV1)" in text
    assert "Random weights" not in text


def test_bands_are_the_intervals_of_the_table():
    table = some(2)
    for axes, lag in zip(drawn(table).axes, ("lag_1", "lag_2"), strict=True):
        for band, model in zip(axes.collections[::2], ("distilgpt2", "gpt2"), strict=True):
            rows = table[(table["model"] == model) & (table["term"] == lag)]
            heights = band.get_paths()[0].vertices[:, 1]
            assert heights.min() == rows["conf_low"].min()
            assert heights.max() == rows["conf_high"].max()
        assert any(list(line.get_ydata()) == [0, 0] for line in axes.lines)


def test_a_marker_is_filled_if_significant_and_open_if_not():
    table = some(4)
    axes = drawn(table).axes[0]
    of_lag = table[table["term"] == "lag_1"]
    for full, chosen in ((True, of_lag["layer"] > 0), (False, of_lag["layer"] == 0)):
        expected = sorted(zip(of_lag["depth"][chosen], of_lag["estimate"][chosen], strict=True))
        assert marks_of(axes, full) == expected


def test_each_model_has_a_colour_and_a_control_is_dashed_and_grey():
    figure = drawn(some(6, controls=["b"]))
    for axes in figure.axes:
        *models, control = lines_of(axes)
        colours = {to_hex(line.get_color()) for line in models}
        assert len(colours) == 5
        assert {line.get_linestyle() for line in models} == {"-"}
        red, green, blue = matplotlib.colors.to_rgb(control.get_color())
        assert red == green == blue
        assert control.get_linestyle() == "--"
        assert to_hex(control.get_color()) not in colours
        # Behind the models.
        assert control.get_zorder() < min(line.get_zorder() for line in models)
    names, marks = labels_of(figure)
    assert names[0] == "distilgpt2 (6 layers)"
    assert names[-1] == "random weights (b, 30 layers)"
    assert marks == ["p < 0.05, Holm", "p ≥ 0.05, Holm", "95% confidence band"]
    assert "Random weights are a control" in texts_of(figure)


def test_twenty_models_have_distinct_line_styles():
    models = {f"model-{n}": 6 for n in range(20)}
    controls = [f"model-{n}" for n in (3, 9)]
    kinds = coefficients_by_depth.line_styles(synthetic(models, controls))
    assert len({(kind["color"], str(kind["linestyle"])) for kind in kinds.values()}) == 20
    assert {kinds[model]["color"] for model in controls} == {coefficients_by_depth.CONTROL}


def test_colours_are_those_of_the_colour_blind_palette_without_grey():
    palette = sns.color_palette("colorblind").as_hex()
    assert [colour for colour in palette if colour in coefficients_by_depth.COLOURS] == (
        coefficients_by_depth.COLOURS
    )
    assert len(coefficients_by_depth.COLOURS) == len(palette) - 1
    for colour in coefficients_by_depth.COLOURS:
        assert len(set(matplotlib.colors.to_rgb(colour))) > 1


def test_a_layer_that_was_not_fitted_is_a_gap_and_marked_in_its_colour():
    figure = drawn(some(2, unfitted=[("gpt2", 4), ("gpt2", 6)]))
    assert labels_of(figure)[1][-1] == "not fitted"
    for axes in figure.axes:
        (marks,) = (line for line in axes.lines if line.get_marker() == "^")
        np.testing.assert_allclose(marks.get_xdata(), [4 / 11, 6 / 11])
        line = lines_of(axes)[1]
        assert np.isnan(line.get_ydata()[[4, 6]]).all()
        assert marks.get_color() == line.get_color()
    assert "not fitted" not in labels_of(drawn(some(2)))[1]


def test_layers_without_attention_are_marked_at_their_depth_in_the_colour_of_their_model():
    mixers = {"distilgpt2": {"0": "Mamba", "5": "Mamba"}}
    data = coefficients_by_depth.Data(some(2), 0.05, "holm", mixers=mixers)
    figure = coefficients_by_depth.draw(data, title=TITLE)
    assert labels_of(figure)[0] == ["distilgpt2 (6 layers, ◇ no attention)", "gpt2 (12 layers)"]
    for axes in figure.axes:
        assert diamonds_of(axes) == [(0, 0), (1, 0)]
        (marks,) = (line for line in axes.lines if line.get_marker() == "D")
        assert marks.get_markeredgecolor() == lines_of(axes)[0].get_color()


def test_models_of_one_layer_and_models_without_a_fit_are_drawn(tmp_path):
    table = synthetic({"one": 1, "none": 2}, unfitted=[("none", 0), ("none", 1)])
    figure = drawn(table)
    ends = figure.axes[0].collections[1].get_segments()
    row = table[(table["model"] == "one") & (table["term"] == "lag_1")].iloc[0]
    np.testing.assert_allclose(ends, [[[0, row["conf_low"]], [0, row["conf_high"]]]])
    files.save(figure, [tmp_path / "few.png"])


def test_the_figure_names_the_level_and_the_correction():
    figure = drawn(some(2), adjust="none", alpha=0.1)
    assert labels_of(figure)[1] == ["p < 0.1", "p ≥ 0.1", "90% confidence band"]
    assert "not corrected" in texts_of(figure)


def test_files_stay_small(tmp_path):
    table = some(6, corpora=("prompts", "novels"), controls=["b"])
    paths = [tmp_path / "a.svg", tmp_path / "a.png"]
    files.save(drawn(table), paths)
    assert all(path.stat().st_size < 1_500_000 for path in paths)


def test_the_program_draws_one_site_and_regression(tmp_path):
    frame = pd.concat([some(2), some(2, site="mlp").assign(estimate=9.0)])
    record = {"stages": {"regression": {"alpha": 0.1, "adjust": "benjamini-hochberg"}}}
    corpus = {"name": "prompts", "documents": 25}
    record["studies"] = [
        {"regression": "notebook", "record": {**record, "corpus": corpus, "model": model}}
        for model in ({"name": "a", "bits": 4}, {"name": "b"})
    ]
    path = tmp_path / "coefficients.parquet"
    tables.write_frame(frame, path, path.with_suffix(".csv"), record)
    output = tmp_path / "figures" / "coefficients_by_depth.svg"
    names = ["--site", "attention", "--regression", "notebook"]
    done = run_program(tmp_path, "plot_comparison", str(path), *names, "--output", str(output))
    assert done.status == 0, done.printed
    said = "attention, notebook: drew coefficients_by_depth"
    assert re.fullmatch(rf"{said} \(\d+\.\d s\)\n", done.printed)
    expected = tmp_path / "expected.svg"
    finding = coefficients_by_depth.title_of(coefficients_by_depth.Data(some(2), 0.1, "none"))
    title = f"{finding}\nattention, notebook · a: 4-bit weights · 25 documents"
    files.save(drawn(some(2), "benjamini-hochberg", 0.1, title), [expected])
    assert output.read_bytes() == expected.read_bytes()
