"""Random effects of models over shared documents, where their variances are known."""

import numpy as np
import pytest

from attnlag.regression.beyond import population
from attnlag.regression.beyond.comparison import Profile

DOCUMENTS, MODELS = 60, 8


def profiles_of(random, between, shared, own, layers=1):
    """Return profiles whose estimates vary by model, by shared document, and by both."""
    truth = 0.3 + between * random.normal(size=(MODELS, 1, layers))
    values = truth + shared * random.normal(size=(1, DOCUMENTS, layers))
    values = values + own * random.normal(size=(MODELS, DOCUMENTS, layers))
    found = []
    for each in values:
        estimate = each.mean(axis=0)[:, None]
        scores = (each[..., None] - estimate) / np.sqrt(DOCUMENTS * (DOCUMENTS - 1))
        df = np.full(estimate.shape, DOCUMENTS - 1.0)
        found.append(Profile(["lag_1"], estimate, np.empty((0, *estimate.shape)), scores, df))
    return found


@pytest.mark.parametrize(("between", "shared", "own"), [(0.1, 0.5, 0.2), (0.0, 0.5, 0.4)])
def test_the_spread_of_models_is_told_from_that_of_documents(between, shared, own):
    random = np.random.default_rng(1)
    table = population.summary(profiles_of(random, between, shared, own, layers=400), 0.05)
    assert np.sqrt((table["between_models_sd"] ** 2).mean()) == pytest.approx(between, abs=0.03)
    error = np.sqrt((shared**2 + own**2 / MODELS) / DOCUMENTS)
    assert table["between_documents_se"].mean() == pytest.approx(error, rel=0.02)
    inside = (table["conf_low"] < 0.3) & (table["conf_high"] > 0.3)
    assert 0.93 < inside.mean() <= 1
