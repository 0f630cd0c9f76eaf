"""Random effects of models over shared documents, where their variances are known."""

import numpy as np
import pytest
from designs import profile_of_documents

from attnlag.regression.beyond import population

DOCUMENTS, MODELS, LAYERS = 60, 8, 400


@pytest.mark.parametrize(("between", "shared", "own"), [(0.1, 0.5, 0.2), (0.0, 0.5, 0.4)])
def test_the_spread_of_models_is_told_from_that_of_documents(between, shared, own):
    """Estimates vary by model, by shared document, and by both."""
    random = np.random.default_rng(1)
    values = 0.3 + between * random.normal(size=(MODELS, 1, LAYERS))
    values = values + shared * random.normal(size=(1, DOCUMENTS, LAYERS))
    values = values + own * random.normal(size=(MODELS, DOCUMENTS, LAYERS))
    profiles = [profile_of_documents(of_model[..., None], ["lag_1"]) for of_model in values]
    table = population.summary(profiles, 0.05)
    assert (table["models"] == MODELS).all()
    assert np.sqrt((table["between_models_sd"] ** 2).mean()) == pytest.approx(between, abs=0.03)
    error = np.sqrt((shared**2 + own**2 / MODELS) / DOCUMENTS)
    assert table["between_documents_se"].mean() == pytest.approx(error, rel=0.02)
    inside = (table["conf_low"] < 0.3) & (table["conf_high"] > 0.3)
    assert 0.93 < inside.mean() <= 1
    # The equation of Paule and Mandel: Σ (θ - θ̄)² / (v + τ²) = K - 1, where v leaves out what the
    # models share; the mean of all has a share of each model's own.
    layer = table["between_models_sd"].argmax()
    estimates, apart = values.mean(axis=1)[:, layer], (values - values.mean(axis=0))[..., layer]
    variances = apart.var(axis=1, ddof=1) / DOCUMENTS * MODELS / (MODELS - 1)
    weights = 1 / (variances + table["between_models_sd"].max() ** 2)
    distances = estimates - np.average(estimates, weights=weights)
    assert weights @ distances**2 == pytest.approx(MODELS - 1, rel=1e-3)
