"""Norms by kind of token: shares of variance, slopes and errors, and what chance would give."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from attnlag.figures import norms_by_part_of_speech, norms_by_surprisal
from attnlag.figures.sizes import SIZES


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(3)
    document = np.sort(random.integers(0, 12, 500))
    x, z = random.normal(size=(2, 500)) + 0.4 * document
    y = 0.3 * x - 0.5 * z + random.normal(size=12)[document] + random.normal(size=500)
    upos = np.array(["NOUN", "VERB", "ADP"])[random.integers(0, 3, 500)]
    return pd.DataFrame({"y": y, "x": x, "z": z, "document": document, "upos": upos})


def test_the_share_between_classes_is_r_squared_with_their_dummies(frame):
    logs = frame["y"].to_numpy().copy()
    logs[::50] = np.nan
    expected = smf.ols("y ~ C(upos)", frame.assign(y=logs).dropna()).fit().rsquared
    found = norms_by_part_of_speech.share_between(logs, frame["upos"].to_numpy())
    assert found == pytest.approx(expected, rel=1e-10)


def test_surprisal_is_permuted_only_within_documents(frame):
    x, document = frame["x"].to_numpy(), frame["document"].to_numpy()
    order = np.random.default_rng(0).permutation(len(x))
    x, document = x[order], document[order]
    for draw in norms_by_surprisal.exchanged(x, document, 3):
        assert not np.array_equal(draw, x)
        for one in np.unique(document):
            assert sorted(draw[document == one]) == sorted(x[document == one])


def test_the_titles_state_what_chance_would_give():
    data = norms_by_part_of_speech.Data(
        classes=["NOUN", "none"],
        counts=np.array([[50, 30], [40, 0]]),
        means=np.zeros((2, 2, 3)),
        share=np.array([0.1, 0.62, np.nan]),
        by_chance=0.0125,
        layers=[0, 1, 2],
        site="attention",
        tokens=120,
    )
    assert norms_by_part_of_speech.title_of(data) == (
        "Parts of speech account for 10% (layer 0) to 62% (layer 1) of the variance of log norms; "
        "assigned at random, for 1.25%"
    )
    data.share[:] = np.nan
    assert norms_by_part_of_speech.title_of(data) == "No token has a part of speech"
    for size in SIZES.values():
        figure = norms_by_part_of_speech.draw(data, title="T", size=size)
        names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert names == ["NOUN (50)", "none (30)"]
