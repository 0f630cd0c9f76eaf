"""A measurement of some layers equals those layers of one of all."""

import numpy as np
import pandas as pd
import pytest
from models import LLAMA, small_model
from projects import ENDS, WORDS, refused
from transformers import AutoModelForCausalLM

import attnlag
from attnlag.corpus.tokens import load_tokenizer
from attnlag.figures import drawing
from attnlag.figures.sizes import PAGE
from attnlag.figures.templates import Line, Lines, Map, Sheet

LAYERS = [0, 3, 5]
QUANTITIES = ["vectors", "geometry", "heads", "surprisal", "readout"]
TEXTS = [
    " ".join(WORDS[(i * 7 + j * (i + 3)) % len(WORDS)] for j in range(20 + i)) for i in range(8)
]


@pytest.fixture(scope="module")
def pair(gpt2_tokenizer):
    """Return measurements of all six layers, and of three."""
    settings = {**LLAMA, "num_hidden_layers": 6, "vocab_size": ENDS["vocab_size"]}
    model = small_model("llama", settings, AutoModelForCausalLM)
    tokenizer = load_tokenizer(gpt2_tokenizer)
    return [
        attnlag.measure(
            model, tokenizer, TEXTS, quantities=QUANTITIES, layers=layers, progress=False
        )
        for layers in (None, LAYERS)
    ]


@pytest.mark.parametrize("quantity", ["norms", "geometry", "heads"])
def test_a_quantity_has_these_layers_alone(pair, quantity):
    whole, some = (measured.table(quantity) for measured in pair)
    of_layers = whole[whole["layer"].isin(LAYERS)].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, of_layers)


def test_vectors_and_what_is_of_the_model(pair):
    whole, some = pair
    assert (whole.layer_numbers, some.layer_numbers) == ([0, 1, 2, 3, 4, 5], LAYERS)
    for place, layer in enumerate(LAYERS):
        np.testing.assert_array_equal(
            some.vectors["attention"][place], whole.vectors["attention"][layer]
        )
        np.testing.assert_array_equal(some.stream[place], whole.stream[layer])
    pd.testing.assert_frame_equal(some.tokens, whole.tokens)
    # It comes from passes of its own.
    pd.testing.assert_frame_equal(some.table("readout"), whole.table("readout"))
    assert "without" not in some.remarks["heads"]


def test_a_fit_has_the_coefficients_of_these_layers(pair, subtests):
    controls = {"permutation": {"draws": 19}, "random_weights": {"documents": 6}}
    options = {"lags": [1, 2], "fixed_effects": "document", "controls": controls}
    whole, some = (attnlag.fit(measured, **options) for measured in pair)
    for table in ("coefficients", "controls"):
        with subtests.test(table=table):
            of_all, of_some = getattr(whole, table), getattr(some, table)
            of_layers = of_all[of_all["layer"].isin(LAYERS)].reset_index(drop=True)
            names = {"p_adjusted", "order_p_adjusted"} & {*of_all}  # over the layers
            kept = of_layers.drop(columns=list(names))
            pd.testing.assert_frame_equal(of_some.drop(columns=list(names)), kept, rtol=1e-6)
    figure = some.plot()
    figure.canvas.draw()
    (axes,) = (each for each in figure.axes if each.get_title(loc="left").startswith("variance"))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "3", "5"]
    assert axes.get_xticks().tolist() == [0.5, 3.5, 5.5]


def test_layers_without_a_gap_have_adjacent_cells():
    assert drawing.places_of_layers([1, 2, 3]).tolist() == [0.5, 1.5, 2.5]
    assert drawing.places_of_layers([0, 10, 19]).tolist() == [0.5, 10.5, 19.5]


def test_lines_keep_their_distance_and_maps_have_a_cell_for_each_layer(subtests):
    lines = Lines([Line(np.arange(3.0))], "rows")
    cells = Map(np.ones((2, 3)), ["a", "b"], "norm")
    for name, panels, places in (
        ("lines alone", [lines], [0.5, 10.5, 19.5]),
        ("below a map", [cells, lines], [0.5, 1.5, 2.5]),
    ):
        with subtests.test(name=name):
            figure = Sheet("Three layers", [0, 10, 19], panels, "", across=1).draw("", PAGE)
            axes = next(each for each in figure.axes if each.get_ylabel() == "rows")
            assert axes.get_xticks().tolist() == places
            assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "10", "19"]


def test_what_the_layers_do_not_give_is_refused(pair, gpt2_tokenizer, subtests):
    whole, some = pair
    (line,) = refused(attnlag.fit, some, lags=[1], covariates=["previous_layer"])
    assert line == (
        "covariates: found previous_layer of a measurement of the layers 0, 3, 5, expected layers "
        "without a gap"
    )
    (line,) = refused(attnlag.fit, whole, lags=[1], before={0: some})
    assert line == ("before[0]: found the layers 0, 3, 5, expected 0 to 5, as in the final weights")
    model = small_model("llama", {**LLAMA, "vocab_size": 8281}).float()
    for layers, said in (
        ([2, 7], "layers: found 7, but model LlamaModel has layers 0 to 2"),
        ([], "layers: found [], expected at least one entry"),
        ([1, 1], "layers: found 1 twice, expected each entry once"),
        (1, "layers: found 1, expected a list, as in [a, b]"),
    ):
        with subtests.test(said=said):
            (line,) = refused(
                attnlag.measure, model, load_tokenizer(gpt2_tokenizer), TEXTS, layers=layers
            )
            assert line == said
