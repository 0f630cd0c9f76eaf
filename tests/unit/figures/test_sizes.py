"""The sizes of figures: for a page, a column of a paper, a slide."""

import struct
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import test_coefficients_by_depth
import test_diagnostics
import test_norms_by_position
import test_specifications_by_layer
import test_text_by_token
from test_figures import (
    coefficients_figure,
    controls_figure,
    lags_figure,
    norms_figure,
    overlaps,
    sites_figure,
)

from attnlag.figures import (
    files,
    groups_by_layer,
    norms_by_group,
    norms_by_position,
    order_left,
    text_by_token,
)
from attnlag.figures.sizes import COLUMN, PAGE, SIZES, SLIDE, size_of, suffix_of


def comparison(layers, **kinds):
    table = test_coefficients_by_depth.synthetic(
        {"small": layers, "large": layers + 6}, corpora=("prompts", "letters"), controls=["large"]
    )
    return test_coefficients_by_depth.drawn(table, **kinds)


def diagnostics(layers, **kinds):
    return test_diagnostics.drawn(*test_diagnostics.synthetic(layers), **kinds)


def specifications(layers, **kinds):
    tables = test_specifications_by_layer.some(layers, ("notebook", "within", "three"))
    return test_specifications_by_layer.drawn(tables, **kinds)


def positions(layers, **kinds):
    edges = norms_by_position.position_edges(3000)
    data = norms_by_position.Data(
        np.random.default_rng(0).normal(size=(len(edges) - 1, layers)),
        np.linspace(90, 1, len(edges) - 1).astype(int),
        edges,
        list(range(layers)),
        site="attention",
        drop_first=1,
        tokens=500,
    )
    title = "First tokens stand out: up to 2 times their layer's norm\ngpt2, prompts, attention"
    return norms_by_position.draw(data, title=title, **kinds)


def groups(layers, **kinds):
    random = np.random.default_rng(0)
    names = [f"group-{place}" for place in range(13)]
    table = pd.DataFrame(
        {
            "subset": np.repeat(names, layers),
            "layer": np.tile(np.arange(layers), len(names)),
            "estimate": random.normal(size=layers * len(names)),
            "p_adjusted": random.random(layers * len(names)),
            "vcov_type": "cluster",
            "status": "ok",
        }
    )
    data = groups_by_layer.Data(table.assign(n_documents=10), "lag_1", 0.05, "holm")
    title = (
        "Lag 1 differs by group: in the median layer 0.12 (novels) to 0.31 (code)\ngpt2, prompts"
    )
    return groups_by_layer.draw(data, title=title, **kinds)


def norms_of_groups(layers, **kinds):
    data = test_norms_by_position.norms_of_groups([f"group-{n}" for n in range(13)], layers)
    return norms_by_group.draw(data, title=norms_by_group.title_of(data), **kinds)


def text(layers, **kinds):
    words = [f" word{place}" for place in range(60)]
    documents = [test_text_by_token.document(words) for _ in range(13)]
    data = text_by_token.Data(documents, [(0.0, 1.0)] * 3, [0, 1, 2], first=0, site="mlp")
    return text_by_token.draw(data, title=text_by_token.title_of(data), **kinds)


def left(layers, **kinds):
    partial = np.random.default_rng(layers).normal(scale=0.03, size=(20, layers))
    partial[:, 1] = np.nan
    data = order_left.Data(list(range(layers)), partial, [3, 4, 6, 7, 8, 9, 10], partial[3])
    return order_left.draw(data, title=order_left.title_of(data), **kinds)


DRAWN = [
    left,
    norms_figure,
    coefficients_figure,
    controls_figure,
    lags_figure,
    sites_figure,
    comparison,
    diagnostics,
    specifications,
    positions,
    groups,
    norms_of_groups,
    text,
]


# Few layers on a slide have the most room of all.
@pytest.mark.parametrize(
    ("layers", "size"),
    [(2, COLUMN), (48, COLUMN), (48, SLIDE)],
    ids=lambda value: getattr(value, "name", value),
)
@pytest.mark.parametrize("draw", DRAWN)
def test_texts_neither_overlap_nor_leave_the_figure(draw, layers, size):
    figure = draw(layers, size=size)
    assert overlaps(figure) == []
    width, height = figure.get_size_inches() * size.magnification
    assert width == pytest.approx(size.width)
    # A page of a paper is 9 inches high, or more.
    assert height == pytest.approx(7.5) if size is SLIDE else height < 9


@pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: size.name)
def test_files_have_the_physical_dimensions_of_their_size(size, tmp_path):
    paths = [tmp_path / f"figure{suffix_of(size.name)}.{kind}" for kind in ("svg", "png")]
    files.save_in_sizes(lambda size: coefficients_figure(3, size=size), paths)
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


def test_the_name_of_a_file_states_its_size():
    assert size_of(Path("results/a_column/norms_by_layer.svg")) is PAGE
    assert size_of(Path("results/gpt2/norms_by_layer_column.svg")) is COLUMN
    assert size_of(Path("norms_by_layer_slide.png")) is SLIDE


def test_each_size_is_drawn_once_for_all_its_files(tmp_path):
    drawn = []

    def draw(size):
        drawn.append(size.name)
        return coefficients_figure(2, size=size)

    names = [f"figure{end}.{kind}" for kind in ("svg", "png") for end in ("", "_slide")]
    files.save_in_sizes(draw, [tmp_path / name for name in names])
    assert drawn == ["page", "slide"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_small_sizes_have_panels_for_fewer_layers():
    shown = {
        size.name: [axes.get_title(loc="left") for axes in lags_figure(30, size=size).axes[:-1]]
        for size in SIZES.values()
    }
    assert len(list(filter(None, shown["page"]))) == 30
    assert shown["column"] == ["layer 0", "layer 10", "layer 19", "layer 29"]
    assert len(shown["slide"]) == 10
    assert "4 of 30 layers" in " ".join(t.get_text() for t in lags_figure(30, size=COLUMN).texts)
