"""Lags by step of training: the lines, their axis and what they are beside."""

import numpy as np
import pandas as pd
import pytest
from figure_inputs import inputs_of
from pictures import legend_of, overlaps

from attnlag.figures import coefficients_by_step
from attnlag.figures.sizes import PAGE

STEPS = [0, 8, 64, 512]


def inputs(losses=True, changed=lambda table: table):
    """Return a training of three layers, of which one cannot be fitted at step 0."""
    medians, layers = [], []
    for quantity, start in (("lag_1", 1.1), ("lags_summed", 1.2), ("r_squared", 0.9)):
        for place, step in enumerate([*STEPS, None]):
            value = start / (place + 1)
            row = {"step": step, "quantity": quantity, "estimate": value, "documents": 16}
            row |= {"conf_low": value - 0.05, "conf_high": value + 0.1, "level": 0.95, "layers": 3}
            row |= {"difference": value - start / 5, "difference_low": 0.0, "difference_high": 1.0}
            row |= {"loss": 8.0 - place if losses else np.nan, "revision": str(step)}
            medians.append(row)
            for layer in range(3):
                known = value + layer / 10 if step or layer else np.nan
                layers.append(
                    {"step": step, "layer": layer, "quantity": quantity, "estimate": known}
                )
    return inputs_of(
        {"equivalence_bound": 0.05},
        {"training": {"alpha": 0.05}, "design": {"outcome": "norm"}},
        training=changed(pd.DataFrame(medians)),
        training_layers=changed(pd.DataFrame(layers)),
    )


def test_layers_and_medians_are_lines_over_steps_beside_the_final_weights(looks_as_before):
    sheet = coefficients_by_step.figure(inputs())
    looks_as_before("coefficients_by_step", sheet)
    assert sheet.claim == "Lag 1 is highest at step 0 (1.10); its final value is 0.22"
    assert [panel.title for panel in sheet.panels] == ["lag 1", "R²", "loss"]
    lag, r_squared, loss = sheet.panels
    *layers, final, median = lag.lines
    expected = [[1.1 / (place + 1) + layer / 10 for place in range(4)] for layer in range(3)]
    expected[0][0] = np.nan
    np.testing.assert_allclose([line.y for line in layers], expected)
    np.testing.assert_allclose(final.y, [0.22] * 4)
    np.testing.assert_allclose(median.y, [1.1 / (place + 1) for place in range(4)])
    np.testing.assert_allclose(median.low, np.array(median.y) - 0.05)
    np.testing.assert_allclose(median.high, np.array(median.y) + 0.1)
    *thin, last, middle = r_squared.lines
    explained = np.array([0.9 / (place + 1) for place in range(4)])
    np.testing.assert_allclose([middle.y, middle.low], [explained, explained - 0.05])
    np.testing.assert_allclose(middle.high, explained + 0.1)
    np.testing.assert_allclose(last.y, [0.18] * 4)
    for layer, line in enumerate(thin):
        np.testing.assert_allclose(line.y[1:], explained[1:] + layer / 10)
    np.testing.assert_allclose([line.y for line in loss.lines], [[4.0] * 4, [8, 7, 6, 5]])
    figure = sheet.draw(f"{sheet.claim}\ntiny, texts", PAGE)
    assert overlaps(figure) == []
    assert {"layers", "median layer", "final weights"} <= set(legend_of(figure))
    axes = figure.axes[0]
    assert axes.get_xscale() == "symlog"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "8", "64", "512"]


def test_a_step_without_room_for_its_number_has_a_tick(monkeypatch):
    monkeypatch.setattr(coefficients_by_step, "MAX_TICKS", 2)
    sheet = coefficients_by_step.figure(inputs())
    axes = sheet.draw(f"{sheet.claim}\ntiny, texts", PAGE).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "512"]
    assert axes.xaxis.get_minorticklocs().tolist() == [8, 64]


@pytest.mark.parametrize("steps", [[0], [0, 64], [1000, 143000]])
def test_few_steps_are_drawn_too(steps):
    names = dict(zip(STEPS, steps, strict=False))

    def renamed(table):
        kept = table["step"].isna() | table["step"].isin(names)
        return table[kept].assign(step=table["step"].map(names))

    sheet = coefficients_by_step.figure(inputs(losses=False, changed=renamed))
    assert [panel.title for panel in sheet.panels] == ["lag 1", "R²"]
    assert overlaps(sheet.draw(f"{sheet.claim}\ntiny, texts", PAGE)) == []


def test_nothing_is_drawn_where_no_layer_could_be_fitted():
    given = inputs(changed=lambda table: table.assign(estimate=np.nan))
    assert coefficients_by_step.figure(given).panels == ()
