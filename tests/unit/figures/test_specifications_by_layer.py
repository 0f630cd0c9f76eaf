"""The figure of specifications: a line for each regression, named at its end."""

import re

import numpy as np
import pytest
from programs import run_program
from test_figures import (
    band_of,
    ends_of,
    overlaps,
    synthetic_tables,
    texts_of,
)

from attnlag.figures import files, specifications_by_layer, wording
from attnlag.storage import tables

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


def drawn(regressions, **kinds):
    data = specifications_by_layer.Data(regressions, 0.05)
    title = "Regressions by layer: gpt2, prompts, attention"
    return specifications_by_layer.draw(data, title=title, **kinds)


@pytest.mark.parametrize("layers", [2, 12, 48])
@pytest.mark.parametrize("count", [2, 4, 5])
def test_texts_neither_overlap_nor_leave_the_figure(count, layers):
    figure = drawn(some(layers, tuple(KINDS)[-count:]))
    assert overlaps(figure) == []
    assert figure.get_size_inches()[0] <= 10


def test_each_regression_is_a_line_named_at_its_end():
    regressions = some(12)
    axes = drawn(regressions).axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) == 12]
    terms = ["lag_1", "lag_1", "lead_1", "lag_1", "lag_1", "lag_1"]
    names = {text.get_text(): text for text in axes.texts}
    assert list(names) == [
        "notebook",
        "within",
        "lead (lead 1)",
        "three",
        "five",
        "a-regression-with-a-lon…",
    ]
    for line, table, term, text in zip(lines, regressions, terms, names.values(), strict=True):
        rows = table[table["term"] == term]
        np.testing.assert_array_equal(line.get_ydata(), rows["estimate"])
        assert text.get_color() == line.get_color()
        assert text.xy == (11, rows["estimate"].iloc[-1])
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 6
    # Bands of so many would hide each other.
    assert len(axes.collections) == 0


def test_few_regressions_have_bands_and_one_without_a_fit_is_labelled():
    regressions = [*some(6, ("notebook",)), synthetic_tables(6, unfitted=range(6))[0]]
    figure = drawn(regressions)
    axes = figure.axes[0]
    np.testing.assert_allclose(band_of(axes.collections[0]), ends_of(regressions[0], "lag_1"))
    assert [text.get_text() for text in axes.texts] == ["notebook", "notebook (not fitted)"]
    assert "clustered by document (CRV1)" in texts_of(figure)
    assert wording.PREDICTIVE in texts_of(figure)


@pytest.mark.parametrize("heights", [[0.5, 0.5, 0.5], [0.0, 1.0, 0.97, 0.02], [2.0, -1.0]])
def test_names_keep_their_order_and_a_gap(heights):
    found = specifications_by_layer.spread_out(heights, 0.1, 0.0, 1.0)
    assert np.diff(np.sort(found)).min() >= 0.1 - 1e-12
    assert found.min() >= 0
    assert found.max() <= 1
    np.testing.assert_array_equal(np.argsort(found), np.argsort(heights, kind="stable"))
    np.testing.assert_array_equal(
        specifications_by_layer.spread_out([0.9, 0.2], 0.1, 0.0, 1.0), [0.9, 0.2]
    )


def test_the_program_draws_the_tables_in_order_with_equal_bytes(tmp_path):
    record = {
        "model": {"name": "tiny"},
        "corpus": {"name": "prompts", "documents": 25},
        "stages": {"regression": {"alpha": 0.05, "adjust": "max-t"}},
    }
    regressions = some(6)
    paths = []
    for table in regressions:
        name = table["regression"].iloc[0]
        paths.append(tmp_path / f"{name}.parquet")
        tables.write_frame(table, paths[-1], tmp_path / "table.csv", record)
    output = [tmp_path / f"specifications_by_layer.{kind}" for kind in ("svg", "png")]
    arguments = ["--coefficients", *paths, "--output", *output]
    done = run_program(tmp_path, "plot_specifications", *map(str, arguments))
    assert done.status == 0, done.printed
    said = "gpt2, prompts, attention: drew specifications_by_layer"
    assert re.fullmatch(rf"{said} \(\d+\.\d s\)\n", done.printed)
    expected = [tmp_path / "expected.svg", tmp_path / "expected.png"]
    data = specifications_by_layer.Data(regressions, 0.05)
    title = f"{specifications_by_layer.title_of(data)}\ngpt2, prompts, attention · 25 documents"
    files.save(specifications_by_layer.draw(data, title=title), expected)
    for one, other in zip(output, expected, strict=True):
        assert one.read_bytes() == other.read_bytes()
