"""The shaded text: what is chosen, and how it is laid out."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from pictures import overlaps, texts_of
from refusals import refused

from attnlag.figures import text_by_token
from attnlag.figures.sizes import SIZES

GROUP_OF = {"news-1": "news", "poem-1": "poetry", "news-2": "news"}


def document(tokens, logs=None):
    logs = np.arange(len(tokens), dtype=float) / 10 if logs is None else np.asarray(logs, float)
    dropped = np.arange(len(tokens)) < 1
    return "g", pd.DataFrame({"token": tokens, "dropped": dropped, "log": logs})


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


def lines_of(parts):
    """Return the text of each line."""
    lines = {line: "" for _, line, _, _ in parts}
    for _, line, column, text in parts:
        assert column == len(lines[line])
        lines[line] += text
    return list(lines.values())


def test_wrapped_parts_fit_the_line_and_lose_nothing_but_space_between_words():
    tokens = ["one", " two", "\n", "three", " " + "x" * 25, "."]
    parts = text_by_token.wrapped(tokens, width=10, lines=99)
    assert all(len(line) <= 10 for line in lines_of(parts))
    for place, token in enumerate(tokens):
        own = "".join(text for of, _, _, text in parts if of == place)
        assert own.strip() == token.strip(" ").replace("\n", "⏎")
    assert max(line for _, line, _, _ in text_by_token.wrapped(tokens, width=10, lines=2)) == 1


def test_lines_end_where_words_or_lines_of_the_text_do():
    words = text_by_token.wrapped(["a", " 71", "-", "kilomet", "re", " road"], width=13, lines=9)
    assert lines_of(words) == ["a", "71-kilometre", "road"]
    blank = ["one", "\n\n", "\n", "  \n", "two", "\n", " three"]
    assert lines_of(text_by_token.wrapped(blank, width=10, lines=9)) == ["one⏎", "two⏎", "three"]


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
        drawn = text_by_token.draw(documents, (0.0, 1.0), "norm in layer 6", "T\ns")
        assert ("Only the beginnings of the documents are shown." in texts_of(drawn)) == cut


@pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: size.name)
def test_the_figure_shades_each_token(size):
    one = document(["dark", " light", " $x$"], [1.0, 0.0, 0.5])
    others = [document([f" word{place}" for place in range(60)]) for _ in range(5)]
    drawn = text_by_token.draw([one, *others], (0.0, 1.0), "norm in layer 6", "T\ns", size)
    assert overlaps(drawn) == []
    axes = drawn.axes[0]
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)][:3]
    lightness = [np.mean(box.get_facecolor()[:3]) for box in boxes]
    assert lightness[0] < lightness[2] < lightness[1]
    assert [box.get_edgecolor()[3] for box in boxes] == [1, 0, 0]
    bar = drawn.axes[1]
    assert bar.get_xlabel() == "norm in layer 6 (log scale)"
    assert bar.get_xticklabels()[-1].get_text() == "2.7"
    assert r"\$x\$" in [text.get_text() for text in axes.texts]
