"""Layers whose norms are equal but for rounding, and layers that come close to that."""

import designs
import numpy as np
import pytest
import torch
from designs import design_settings, norms_table
from fits import fitted
from models import LLAMA
from transformers import AutoConfig, AutoModel

from attnlag.model.decoder import decoder_of
from attnlag.quantities import extraction

LENGTHS = [90, 60, 70, 80, 50, 75, 66, 84]
EQUAL = "norms are equal but for rounding: the standard deviation of "


def design_of(logs, covariates=()):
    """Return the design of an autoregression of two lags, from (layers, tokens) log norms."""
    table = norms_table({(f"d{i}", 0): n for i, n in enumerate(LENGTHS)}, np.exp(logs))
    return designs.design_of(table, design_settings(lags=(1, 2), covariates=covariates))


@pytest.mark.parametrize("effects", [False, True])
def test_an_untrained_norm_after_the_sublayer_leaves_nothing_to_regress(effects):
    """The model is one as transformers initialises it."""
    torch.manual_seed(0)
    sizes = {**LLAMA, "hidden_size": 64, "head_dim": 16, "num_hidden_layers": 4}
    model = AutoModel.from_config(AutoConfig.for_model("gemma2", **sizes)).eval()
    random = np.random.default_rng(0)
    sequences = [random.integers(1, 200, n).astype(np.int32) for n in LENGTHS]
    adjustments = extraction.Extractor(decoder_of(model), batch_tokens=4096)
    # The first layer's attention output is small relative to the epsilon of the norm.
    logs = np.log(np.stack(adjustments.measure(sequences)["norms", "attention"])[1:].astype(float))
    np.testing.assert_allclose(logs, np.log(np.sqrt(64)), atol=0.01)
    within = " within documents" * effects
    for fit in fitted(design_of(logs), effects=effects):
        bound = "is below 0.0039, the precision of bfloat16"
        assert fit.status == f"{EQUAL}the outcome{within} {bound}"
        assert np.isnan(fit.estimate).all()


def test_a_layer_is_flat_below_the_precision_of_bfloat16_also_as_the_layer_before():
    spread = np.array([[1], [0.0043], [0.0035], [1]])
    logs = 2 + spread * np.random.default_rng(1).normal(size=(4, sum(LENGTHS)))
    _, varied, flat, after = fitted(design_of(logs, ["previous_layer"]))
    assert varied.status == "ok"
    assert flat.status.startswith(f"{EQUAL}the outcome is below")
    assert after.status.startswith(f"{EQUAL}previous_layer is below")
