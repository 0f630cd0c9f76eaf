"""Maps of norms: which positions share a column, what is dropped, what a cell shows."""

import numpy as np
import pandas as pd
import pytest

from attnlag.figures import groups_by_layer, norms_by_group, norms_by_position


@pytest.mark.parametrize("longest", [0, 1, 7, 8, 9, 100, 5000])
def test_each_position_is_in_exactly_one_column(longest):
    edges = norms_by_position.position_edges(longest)
    assert edges[0] == 0
    assert edges[-2] <= longest < edges[-1]
    assert (np.diff(edges) > 0).all()
    assert (np.diff(edges)[:8] == 1).all()


def test_means_are_those_of_the_columns():
    random = np.random.default_rng(0)
    logs = random.normal(size=400)
    logs[::7] = np.nan
    column = random.integers(0, 4, 400)
    column[column == 3] = np.where(np.arange((column == 3).sum()) < 6, 3, 2)
    found = norms_by_position.means_by_column(logs, column, 5)
    expected = pd.Series(logs).groupby(column).agg(["mean", "count"])
    for place in range(4):
        if expected.loc[place, "count"] >= norms_by_position.FEWEST_TOKENS:
            assert found[place] == pytest.approx(expected.loc[place, "mean"], abs=1e-12)
        else:
            assert np.isnan(found[place])
    assert np.isnan(found[4])


def figure_of(drop_first=1, sink=3.0, documents=None):
    edges = norms_by_position.position_edges(100)
    means = np.random.default_rng(0).normal(size=(len(edges) - 1, 6))
    means[0] += sink
    if documents is None:
        documents = np.full(len(means), 50)
    data = norms_by_position.Data(
        means, documents, edges, list(range(6)), "attention", drop_first, tokens=500
    )
    return norms_by_position.draw(data, title="T")


def extents_of(axes, patches):
    boxes = [patch.get_extents().transformed(axes.transData.inverted()) for patch in patches]
    return [(round(box.x0, 6), round(box.x1, 6)) for box in boxes]


@pytest.mark.parametrize("drop_first", [0, 1, 3])
def test_the_dropped_positions_are_marked(drop_first):
    axes = figure_of(drop_first).axes[0]
    hatched = extents_of(axes, [patch for patch in axes.patches if patch.get_hatch()])
    assert hatched == ([(0, drop_first)] if drop_first else [])


@pytest.mark.parametrize(("most", "few"), [(50, 20), (10, 5)])
def test_positions_with_few_documents_are_faded(most, few):
    edges = norms_by_position.position_edges(100)
    documents = np.full(len(edges) - 1, most)
    documents[-3:] = few, few - 1, 1
    axes = figure_of(documents=documents).axes[0]
    veils = extents_of(axes, [patch for patch in axes.patches if not patch.get_hatch()])
    assert veils == [(len(documents) - 2, len(documents) - 1), (len(documents) - 1, len(documents))]
    assert f"faded: fewer than {few} documents" in [text.get_text() for text in axes.texts]
    assert len(figure_of().axes) == 2  # one map and its scale


def test_the_attention_sink_does_not_stretch_the_colour_scale():
    """The scale of colours covers only the positions that are kept."""
    reach = [figure_of(1, sink).axes[0].collections[0].norm.vmax for sink in (0.0, 100.0)]
    assert reach[0] == reach[1] < 5


def test_groups_are_rows_and_crosses_mark_cells_that_are_not_significant():
    layers = range(3)
    table = pd.DataFrame(
        {
            "subset": np.repeat(["prose", "a very long name of a group of documents", "rare"], 3),
            "layer": [*layers, *layers, *layers],
            "estimate": [0.1, 0.2, 0.3, -0.1, np.nan, 0.5, *[np.nan] * 3],
            "p_adjusted": [0.01, 0.5, 0.01, 0.2, np.nan, 0.001, *[np.nan] * 3],
            "vcov_type": "cluster",
            "n_documents": [7, 7, 7, 9, 8, 9, 2, 2, 2],
            "status": ["ok"] * 6 + ["2 documents: too few to cluster by"] * 3,
        }
    )
    data = groups_by_layer.Data(table, "lag_1", 0.05, "holm")
    slopes = groups_by_layer.draw(data, title="T").axes[0]
    names = [label.get_text() for label in slopes.get_yticklabels()]
    assert names == ["prose (7)", "a very long name of a… (9)", "rare (2)"]
    shown = slopes.collections[0].get_array()
    shown = np.ma.reshape(shown, (3, 3))
    assert shown[0].tolist() == [0.1, 0.2, 0.3]
    assert bool(np.ma.getmaskarray(shown)[1, 1])
    # A row without numbers says why.
    assert [text.get_text() for text in slopes.texts] == [
        "not fitted: 2 documents: too few to cluster by"
    ]
    assert slopes.texts[0].get_position() == (1.5, 2.5)
    crosses = slopes.lines[-1].get_xydata().tolist()
    assert crosses == [[1.5, 0.5], [0.5, 1.5]]


def norms_of_groups(names, layers=4):
    random = np.random.default_rng(0)
    return norms_by_group.Data(
        groups=names,
        documents=[10] * len(names),
        quantiles=np.sort(random.normal(size=(len(names), 5))),
        means=random.normal(size=(len(names), layers)) * (1e-15 if len(names) == 1 else 1),
        layers=list(range(layers)),
        site="mlp",
        tokens=500,
    )


def test_norms_by_group_have_boxes_and_a_map_unless_there_is_one_group():
    data = norms_of_groups(["prose", "verse"])
    boxes, shades = norms_by_group.draw(data, title="T").axes[:2]
    assert boxes.get_yticklabels()[1].get_text() == "verse (10)"
    np.testing.assert_array_equal(np.reshape(shades.collections[0].get_array(), (2, 4)), data.means)
    medians = data.quantiles[:, 2]
    assert norms_by_group.title_of(data) == (
        f"Norms differ by group: medians range from {medians.min():+.2f} SD "
        f"({data.groups[medians.argmin()]}) to {medians.max():+.2f} SD "
        f"({data.groups[medians.argmax()]}) from the layer's mean"
    )
    alone = norms_of_groups(["prose"])
    assert len(norms_by_group.draw(alone, title="T").axes) == 1
    assert "nothing to compare" in norms_by_group.title_of(alone)
