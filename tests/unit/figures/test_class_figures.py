"""Slopes by class of tokens and lags as covariates enter: what the figures show and say."""

import numpy as np
import pandas as pd
import pytest

from attnlag.figures import lag_as_covariates_enter, slopes_by_class
from attnlag.figures.sizes import SIZES
from attnlag.regression.decomposition import EFFECTS, PARTS, POOLED

LAYERS = range(3)


def slopes():
    """Return slopes of two classes and of the rest; only NOUN differs, in layer 1."""
    rows = [
        {
            "subset": name,
            "layer": layer,
            "term": "lag_1",
            "estimate": estimate + 0.1 * layer,
            "conf_low": estimate - 0.1,
            "conf_high": estimate + 0.3,
            "p_adjusted": 0.001,
            "finding": "present",
            "difference": np.nan if name == "all" else estimate - 0.3,
            "difference_p_adjusted": 0.01 if (name, layer) == ("NOUN", 1) else 0.4,
            "n_obs": n_obs,
            "n_documents": 20,
            "vcov_type": "cluster",
        }
        for name, estimate, n_obs in (
            ("all", 0.3, 900),
            ("VERB", 0.1, 300),
            ("NOUN", 0.5, 500),
            ("other", 0.9, 100),
        )
        for layer in LAYERS
    ]
    tests = pd.DataFrame(
        {
            "layer": LAYERS,
            "term": "lag_1",
            "hypothesis": "equal",
            "p_adjusted": [0.2, 0.01, 0.3],
            "merged": "SYM, X",
        }
    )
    return pd.DataFrame(rows), tests


def by_class():
    rows, tests = slopes()
    return slopes_by_class.Data(
        slopes=rows,
        tests=tests,
        term="lag_1",
        classes=["NOUN", "VERB", "other"],
        what="part of speech",
        of="the outcome",
        alpha=0.05,
        adjust="holm",
    )


def by_number():
    """Return slopes that fall along a number, and those of thirds."""
    rows, tests = slopes()
    one = rows[rows["subset"] == "NOUN"]
    along = {"-1 SD": 0.5, "0 SD": 0.3, "+1 SD": 0.1, "low": 0.4, "middle": 0.3, "high": 0.2}
    parts = [
        one.assign(subset=name, estimate=estimate + 0.1 * one["layer"], at=estimate)
        for name, estimate in along.items()
    ]
    change = one.assign(subset="per SD", estimate=-0.2, p_adjusted=[0.01, 0.3, 0.01], at=np.nan)
    return slopes_by_class.Data(
        slopes=pd.concat([*parts, change], ignore_index=True),
        tests=pd.concat([tests, tests.assign(hypothesis="linear")], ignore_index=True),
        term="lag_1",
        classes=["low", "middle", "high"],
        what="surprisal",
        of="the outcome",
        alpha=0.05,
        adjust="holm",
    )


def entering():
    steps = pd.DataFrame(
        [
            {
                "layer": layer,
                "step": step,
                "term": "lag_1",
                "estimate": 0.4 - 0.05 * place,
                "conf_low": 0.2,
                "conf_high": 0.5,
                "r_squared": 0.1 + 0.1 * place,
                "n_obs": 400,
                "n_documents": 20,
            }
            for layer in LAYERS
            for place, step in enumerate((POOLED, *EFFECTS))
        ]
    )
    parts = pd.DataFrame(
        [
            {"layer": layer, "term": "lag_1", "part": part, "change": -0.05}
            for layer in LAYERS
            for part in PARTS
        ]
    )
    return lag_as_covariates_enter.Data(steps, parts, "lag_1", 0.05)


def test_the_title_names_the_extreme_classes_and_counts_the_layers():
    assert slopes_by_class.title_of(by_class()) == (
        "Lag 1 differs by part of speech in 1 of 3 layers (equal slopes would in none): 0.20 "
        "(VERB) to 0.60 (NOUN) in the median layer"
    )
    assert slopes_by_class.title_of(by_number()) == (
        "Lag 1 by surprisal: 0.60 at -1 SD, 0.20 at +1 SD in the median layer; the slope changes "
        "in 2 of 3 layers, not linearly in 1; a constant one would in none"
    )
    assert lag_as_covariates_enter.title_of(entering()) == (
        "Holding documents, parts of speech and tokens fixed moves lag 1 from 0.40 to 0.15"
    )


def test_crosses_mark_cells_that_do_not_differ_significantly():
    figure = slopes_by_class.draw(by_class(), title="Title")
    cells = next(axes for axes in figure.axes if axes.get_xlabel() == "layer")
    (marks,) = [line for line in cells.lines if line.get_marker() == "x"]
    crossed = set(zip(*(np.asarray(side) for side in marks.get_data()), strict=True))
    assert crossed == {(x + 0.5, y + 0.5) for x in LAYERS for y in range(3)} - {(1.5, 0.5)}
    assert [text.get_text() for text in cells.get_yticklabels()] == ["NOUN", "VERB", "other"]


def test_slopes_along_a_number_are_drawn_above_those_of_thirds():
    figure = slopes_by_class.draw(by_number(), title="Title")
    panels = [axes for axes in figure.axes if axes.get_ylabel().startswith("coefficient")]
    drawn = [
        [
            line.get_ydata()[0]
            for line in axes.lines
            if len(line.get_ydata()) == 3 and line.get_ls() == "-"
        ]
        for axes in panels
    ]
    assert drawn == [pytest.approx([0.5, 0.3, 0.1]), pytest.approx([0.4, 0.3, 0.2])]


def test_each_step_has_a_line_and_each_part_a_row():
    figure = lag_as_covariates_enter.draw(entering(), title="Title")
    above = next(axes for axes in figure.axes if axes.get_ylabel() == "coefficient")
    drawn = [line.get_ydata() for line in above.lines if len(line.get_ydata()) == 3]
    assert [values[0] for values in drawn] == pytest.approx([0.4, 0.35, 0.3, 0.25, 0.2, 0.15])
    below = next(
        axes for axes in figure.axes if "change of lag 1 by part" in axes.get_title(loc="left")
    )
    assert len(below.get_yticklabels()) == len(PARTS)


@pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: size.name)
def test_both_figures_are_drawn_in_every_size(size):
    for module, data in (
        (slopes_by_class, by_class()),
        (slopes_by_class, by_number()),
        (lag_as_covariates_enter, entering()),
    ):
        figure = module.draw(data, title=module.title_of(data), size=size)
        assert figure.get_size_inches()[0] == pytest.approx(size.canvas)
