"""Figures that no template draws: the shaded text, and the added-variable plot of a lag."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from pictures import TITLE, overlaps, synthetic_norms, texts_of
from projects import refused

from attnlag.figures import outcome_by_lag, text_by_token, wording
from attnlag.figures.outcome_by_lag import EDGES
from attnlag.figures.sizes import COLUMN, PAGE, SIZES
from attnlag.figures.templates import CustomFigure
from attnlag.figures.text_by_token import wrapped
from attnlag.quantities.outcomes import log_norms

GROUP_OF = {"news-1": "news", "poem-1": "poetry", "news-2": "news"}


def document(tokens, logs=None):
    logs = np.arange(len(tokens), dtype=float) / 10 if logs is None else np.asarray(logs, float)
    dropped = np.arange(len(tokens)) < 1
    return "g", pd.DataFrame({"token": tokens, "dropped": dropped, "log": logs})


def shaded(documents, size=PAGE, limits=(0.0, 1.0)) -> Figure:
    parts = documents, limits, "norm in layer 6"
    return CustomFigure("", text_by_token.draw, parts).draw("T\ns", size)


def test_the_first_document_of_each_group_is_shown_by_default():
    assert text_by_token.chosen_documents(None, GROUP_OF, "prompts") == ["news-1", "poem-1"]
    assert text_by_token.chosen_documents(["news-2"], GROUP_OF, "prompts") == ["news-2"]


def test_an_unknown_document_is_named_with_the_nearest():
    asked = ["news-1", "poem1", "x"]
    first, second = refused(text_by_token.chosen_documents, asked, GROUP_OF, "prompts")
    expected = "figures.documents.prompts: found 'poem1', expected one of its 3 documents; did you "
    assert first == f"{expected}mean 'poem-1'?"
    assert second.startswith("figures.documents.prompts: found 'x'")


def test_the_scale_of_shades_covers_the_central_tokens():
    logs = np.concatenate([np.linspace(0, 1, 10_001), [np.nan, 50.0]])
    low, high = text_by_token.limits_of(pd.Series(logs))
    assert low == pytest.approx(0.005, abs=1e-3)
    assert high == pytest.approx(0.995, abs=1e-3)
    assert text_by_token.limits_of(pd.Series([2.0] * 5)) == (1.5, 2.5)
    assert text_by_token.limits_of(pd.Series([np.nan] * 5)) == (-0.5, 0.5)


def lines_of(tokens, width, lines=9):
    """Return the lines of tokens as they are seen, and whether tokens are left out."""
    seen, (parts, left_out) = {}, wrapped(tokens, width, lines)
    for _, line, column, text, _ in sorted(parts, key=lambda part: part[1:3]):
        seen[line] = seen.get(line, "").ljust(column) + text
    return list(seen.values()), left_out


def test_wrapped_parts_fit_the_line_and_lose_nothing_but_space_between_words():
    tokens = ["one", " two", "\n", "three", " " + "x" * 25, "."]
    shown = ["one two⏎", "three xxxx", "x" * 10, "x" * 10, "x."]
    assert lines_of(tokens, 10) == (shown, False)
    assert lines_of(tokens, 10, lines=2) == (shown[:2], True)
    of_token = {token: text for token, *_, text, _ in wrapped(tokens, 10, 9)[0]}
    assert of_token == dict(enumerate(["one", "two", "⏎", "three", "x", "."]))


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        # Lines end where words and lines of the text do.
        ("a 71-metre road of well-known hills", ["a 71-metre road of", "well-known hills"]),
        ("one\n\n\n  \ntwo\n three", ["one⏎", "two⏎", "three"]),
        ("12 + 3", ["12 + 3"]),
        # Hebrew letters are in the order of reading, at the right edge; numbers and names are not.
        ("אבג New York, דה (ו) 12", [" 12 )ו( הד ,New York גבא"]),
        ("12 אב", [" " * 19 + "בא 12"]),
        ("אב 12 GPT - 2 ג", [" " * 9 + "ג GPT - 2 12 בא"]),
        ("say אבג דה, 12 times", ["say הד גבא, 12 times"]),
    ],
)
def test_lines_are_those_of_the_text_in_the_order_of_its_script(text, seen):
    assert lines_of([*text], 24) == (seen, False)


def test_brackets_face_the_letters_that_they_enclose():
    (axes, _) = shaded([document(["ab", " (", ")", "\n", "في", " (", "12"])]).axes
    assert [text.get_text() for text in axes.texts[1:]] == [
        *("ab", "(", ")", "⏎"),
        *("12", "\u200f(", "\u200fفي"),
    ]


def test_the_claim_says_how_neighbours_correlate_within_documents():
    def claim_of(*logs):
        documents = [document([" word"] * len(of_document), of_document) for of_document in logs]
        return text_by_token.claim_of(documents, 6)

    random = np.random.default_rng(0)
    smooth = [
        level + np.convolve(random.normal(size=201), [1, 1], "valid") for level in (0.0, 50.0)
    ]
    each = [np.corrcoef(logs[1:-1], logs[2:])[0, 1] for logs in smooth]
    start = "Large norms come in runs in 2 documents (correlation of neighbours "
    end = " in layer 6)"
    found = claim_of(*smooth)
    assert found == f"{start}{found[len(start) : -len(end)]}{end}"
    assert float(found[len(start) : -len(end)]) == pytest.approx(np.mean(each), abs=0.03)
    assert claim_of([0.0, 1.0] * 100, [0.0, 1.0] * 9).startswith("Large and small norms alternate")
    assert claim_of([1.0] * 200) == "Norms along the text in layer 6"


def test_white_space_that_is_not_shown_cuts_off_nothing():
    blank, ended = document([" ", "\n\n"]), document(["one", "\n", "\n", " "])
    for documents, cut in (([blank, ended], False), ([document([" word"] * 2000)], True)):
        drawn = shaded(documents)
        assert ("Only the beginnings of the documents are shown." in texts_of(drawn)) == cut


@pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: size.name)
def test_the_figure_shades_each_token(size):
    one = document(["dark", " light", " $x$"], [1.0, 0.0, 0.5])
    others = [document([f" word{place}" for place in range(60)]) for _ in range(5)]
    drawn = shaded([one, *others], size)
    assert overlaps(drawn) == []
    axes = drawn.axes[0]
    # Between the words lies their white space.
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)][:5:2]
    lightness = [np.mean(box.get_facecolor()[:3]) for box in boxes]
    assert lightness[0] < lightness[2] < lightness[1]
    assert [box.get_edgecolor()[3] for box in boxes] == [1, 0, 0]
    bar = drawn.axes[1]
    assert bar.get_xlabel() == "norm in layer 6 (log scale)"
    assert bar.get_xticklabels()[-1].get_text() == "2.7"
    assert r"\$x\$" in [text.get_text() for text in axes.texts]
    # The ticks of the bar have room beside the shortest text.
    assert overlaps(shaded([document(["one"])], size, np.log([123_456, 234_567]))) == []


def cloud_of(lag, outcome, documents=None, **others):
    terms = pd.DataFrame({"y": outcome, "lag_1": lag, **others}, documents)
    return outcome_by_lag.cloud_of(terms, "lag_1", documents is not None)


def layers_of(count: int) -> dict:
    position, norms = synthetic_norms(count)
    logs = log_norms(norms)
    rows = np.flatnonzero(position >= 2)
    return {n: cloud_of(logs[rows - 1, n], logs[rows, n]) for n in range(count)}


def drawn(layers, lag="lag_1", size=PAGE, reasons=None) -> Figure:
    parts = layers, reasons, lag, 0, "norm"
    return CustomFigure("", outcome_by_lag.draw, parts).draw(TITLE, size)


@pytest.mark.parametrize(
    ("layers", "size", "shown"),
    [
        (1, PAGE, [0]),
        (2, COLUMN, [0, 1]),
        (7, PAGE, range(7)),
        (30, COLUMN, [0, 10, 19, 29]),
        (30, PAGE, range(30)),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_layers_have_panels_in_order_and_texts_do_not_overlap(layers, size, shown):
    figure = drawn(layers_of(layers), size=size)
    # This draws the figure, which places the panels.
    assert overlaps(figure) == []
    panels = figure.axes
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles == [f"layer {layer}" for layer in shown]
    assert figure.get_size_inches()[0] * size.magnification <= size.width + 1e-9
    assert (f"{len(shown)} of {layers} layers" in texts_of(figure)) == (len(shown) < layers)
    if size is PAGE:
        # One inch and a third at the least.
        assert all(axes.get_window_extent().width / figure.dpi > 1.25 for axes in panels)
        for time in ("t − 1", "t"):
            assert f"log norm at token {time} given the other terms (SD)" in texts_of(figure)
    places = [(round(-axes.get_position().y0, 2), axes.get_position().x0) for axes in panels]
    assert places == sorted(places)
    assert len({axes.get_xlim() + axes.get_ylim() for axes in panels}) == 1
    assert wording.PREDICTIVE in texts_of(figure)
    # The lowest panel of each column has numbers.
    for axes in {round(axes.get_position().x0 * 100): axes for axes in panels}.values():
        assert any(label.get_visible() for label in axes.get_xticklabels())


def test_the_claim_states_the_share_that_the_lag_explains():
    random = np.random.default_rng(0)
    lag, noise = random.normal(size=(2, 500))
    outcomes = {3 + n: lag * slope + noise for n, slope in enumerate((0.4, 1, 0.1))}
    layers = {layer: cloud_of(lag, outcome) for layer, outcome in outcomes.items()}
    shares = {layer: np.corrcoef(lag, y)[0, 1] ** 2 for layer, y in outcomes.items()}
    unfitted = {9: None}
    assert outcome_by_lag.claim_of(layers | unfitted, "lag_1") == (
        f"Lag 1 explains {np.median(list(shares.values())):.0%} of the variance that the other "
        f"terms leave (median layer; at most {shares[4]:.0%}, layer 4)"
    )
    assert outcome_by_lag.claim_of(unfitted, "lag_1") == "No layer was fitted"


def test_points_and_their_line_are_those_of_the_whole_regression():
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
    others = np.column_stack([other, dummies])[known]
    restricted, of_lag = (sm.OLS(each[known], others).fit() for each in (outcome, lag))

    axes = drawn({0: cloud_of(lag, outcome, documents, other=other)}).axes[0]
    (line,), (image,) = axes.lines, axes.collections
    assert line.get_xy1() == (0, 0)
    assert line.get_slope() == pytest.approx(fit.params[0])
    share = 1 - fit.ssr / restricted.ssr
    assert axes.get_title(loc="right") == f"{fit.params[0]:.2f}, r² {share:.2f}"
    # With the raw cloud the line would misfit: the slope between documents is another.
    assert abs(np.polyfit(lag[known], outcome[known], 1)[0] - fit.params[0]) > 1
    # The lag lies along x, with a row of squares for each stretch of the outcome.
    points = np.stack([restricted.resid, of_lag.resid]) / np.sqrt(restricted.ssr / known.sum())
    squares = np.histogram2d(*points, [EDGES, EDGES])[0]
    np.testing.assert_array_equal(image.get_array().filled(0), squares)


CONSTANT, VARYING = np.full(50, 2.0), np.arange(50.0)


@pytest.mark.parametrize(
    ("lag", "outcome"), [(VARYING, np.full(50, np.nan)), (VARYING, CONSTANT), (CONSTANT, VARYING)]
)
def test_the_panel_of_a_layer_without_points_states_the_reason(lag, outcome):
    layers = layers_of(1) | {1: cloud_of(lag, outcome)}
    figure = drawn(layers, lag="lead_2", reasons={1: "the regressors are collinear"})
    axes = figure.axes[1]
    said = " ".join(axes.texts[0].get_text().split())
    assert said == "not fitted: the regressors are collinear"
    assert not axes.lines
    # A lead is named as one.
    assert "log norm at token t + 2 given the other terms (SD)" in texts_of(figure)
    assert "coefficient of lead 2" in texts_of(figure)


def test_reasons_have_room_in_panels_of_many_layers_even_if_none_has_points():
    reasons = dict.fromkeys(range(12), "the regressors are collinear")
    figure = drawn(dict.fromkeys(reasons), reasons=reasons)
    figure.draw_without_rendering()
    for axes in figure.axes:
        reason, panel = axes.texts[0].get_window_extent(), axes.get_window_extent()
        assert panel.x0 < reason.x0
        assert reason.x1 < panel.x1
