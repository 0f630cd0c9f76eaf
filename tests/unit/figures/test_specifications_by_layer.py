"""The figure of specifications: each regression's own coefficient, the others behind it."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from test_figures import (
    band_of,
    ends_of,
    legend_of,
    marks_of,
    overlaps,
    synthetic_tables,
    texts_of,
)
from warm_python import python

from attnlag.figures import drawing, files, specifications_by_layer
from attnlag.storage import tables

SCRIPTS = Path(__file__).parents[3] / "scripts"
KINDS = {
    "notebook": {},
    "within": {"unfitted": (0,)},
    "lead": {"lags": 0, "leads": 2},
    "three": {"lags": 3},
    "five": {"lags": 5},
    "a-regression-with-a-long-name": {"lags": 1, "leads": 1},
}


def some(layers: int, names=tuple(KINDS)):
    regressions = []
    for place, name in enumerate(names):
        table = synthetic_tables(layers, regression=name, **KINDS[name])[0]
        numbers = ["estimate", "conf_low", "conf_high"]
        table[numbers] += 0.1 * place
        regressions.append(table)
    return regressions


def drawn(regressions, adjust="holm", **kinds):
    data = specifications_by_layer.Data(regressions, 0.05, adjust)
    title = "Regressions by layer: gpt2, prompts, attention"
    return specifications_by_layer.draw(data, title=title, **kinds)


def lines_of(axes, own: bool):
    """Return the heights of the regression's own line, or those of the others behind it."""
    return [
        np.asarray(line.get_ydata())
        for line in axes.lines
        if line.get_marker() == "None"
        and len(line.get_xdata()) > 2
        and (to_hex(line.get_color()) == specifications_by_layer.COLOUR) is own
    ]


@pytest.mark.parametrize("layers", [2, 12, 48])
@pytest.mark.parametrize("count", [2, 4, 5])
def test_no_text_lies_on_another_or_leaves_the_figure(count, layers):
    figure = drawn(some(layers, tuple(KINDS)[-count:]))
    assert overlaps(figure) == []
    assert figure.get_size_inches()[0] <= 10


def test_rows_hold_four_panels_at_most_and_are_about_equal():
    shapes = {n: specifications_by_layer.shape_of(n) for n in (1, 2, 4, 5, 7, 9)}
    assert shapes == {1: (1, 1), 2: (1, 2), 4: (1, 4), 5: (2, 3), 7: (2, 4), 9: (3, 3)}


def test_each_panel_shows_its_own_coefficient_before_the_others():
    regressions = some(12)
    figure = drawn(regressions)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == [
        "notebook",
        "within",
        "lead (lead 1)",
        "three",
        "five",
        "a-regression-with-a-long-name",
    ]
    terms = ["lag_1", "lag_1", "lead_1", "lag_1", "lag_1", "lag_1"]
    of_term = [table[table["term"] == term] for table, term in zip(regressions, terms, strict=True)]
    for place, axes in enumerate(panels):
        (own,) = lines_of(axes, own=True)
        np.testing.assert_array_equal(own, of_term[place]["estimate"])
        others = [rows["estimate"] for other, rows in enumerate(of_term) if other != place]
        behind = lines_of(axes, own=False)
        np.testing.assert_array_equal(behind, others)
        expected = ends_of(regressions[place].dropna(), terms[place])
        np.testing.assert_allclose(band_of(axes.collections[0]), expected)
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in panels}) == 1
    (marks,) = (line for line in panels[1].lines if line.get_marker() == "^")
    assert list(marks.get_xdata()) == [0]


def test_significance_and_the_others_are_in_the_legend():
    table = synthetic_tables(12, lags=1)[0]
    figure = drawn([table, *some(12, ("within",))])
    assert [layer for layer, _ in marks_of(figure.axes[0], full=False)] == [0, 3, 6, 9]
    assert legend_of(figure) == [
        "p < 0.05, Holm",
        "p ≥ 0.05, Holm",
        "95% confidence band",
        "not fitted",
        "the other regressions",
    ]
    assert "clustered by document (CRV1)" in texts_of(figure)
    assert drawing.PREDICTIVE in texts_of(figure)


def test_the_program_draws_the_tables_in_order_with_equal_bytes(tmp_path):
    record = {
        "model": {"name": "tiny"},
        "stages": {"regression": {"alpha": 0.05, "adjust": "max-t"}},
    }
    regressions = some(6)
    paths = []
    for table in regressions:
        name = table["regression"].iloc[0]
        paths.append(tmp_path / f"{name}.parquet")
        tables.write_frame(table, paths[-1], tmp_path / "table.csv", record)
    output = [tmp_path / f"specifications_by_layer.{kind}" for kind in ("svg", "png")]
    command = [python(), SCRIPTS / "plot_specifications.py", "--coefficients", *paths]
    done = subprocess.run(
        [*command, "--output", *output], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = "gpt2, prompts, attention: drew specifications_by_layer"
    assert re.fullmatch(rf"{said} \(\d+\.\d s\)\n", done.stderr)
    expected = [tmp_path / "expected.svg", tmp_path / "expected.png"]
    files.save(drawn(regressions, "max-t"), expected)
    for one, other in zip(output, expected, strict=True):
        assert one.read_bytes() == other.read_bytes()
