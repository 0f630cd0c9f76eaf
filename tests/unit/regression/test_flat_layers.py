"""Layers whose norms are equal but for rounding, and layers that come close to that."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.api as sm
import torch
from designs import stack_of
from transformers import AutoConfig, AutoModel

from attnlag.adjustments import extraction
from attnlag.regression.estimation import regress

LENGTHS = [90, 60, 70, 80, 50, 75, 66, 84]


def log_norms(model_type, **settings):
    """Return what a small model as transformers initialises it gives: (layers, tokens)."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        model_type,
        vocab_size=200,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=None,
        **settings,
    )
    model = AutoModel.from_config(config).eval()
    generator = np.random.default_rng(0)
    sequences = [generator.integers(1, 200, n).astype(np.int32) for n in LENGTHS]
    adjustments = extraction.Adjustments(model, batch_tokens=4096, keep="norms")
    return np.log(np.stack(adjustments.measure(sequences)["attention"]).astype(float))


def design(outcomes, before=None):
    """Return the design of an autoregression of two lags."""
    codes = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    place = np.concatenate([np.arange(n) for n in LENGTHS])
    rows = np.flatnonzero(place >= 3)
    columns = {
        "document": pa.array([f"d{code}" for code in codes[rows]], pa.string()).dictionary_encode()
    }
    for layer, y in enumerate(outcomes):
        columns |= {f"layer_{layer:02d}.y": y[rows]}
        columns |= {f"layer_{layer:02d}.lag_{lag}": y[rows - lag] for lag in (1, 2)}
        if before is not None:
            columns[f"layer_{layer:02d}.previous_layer"] = before[layer][rows]
    return pa.table(columns)


@pytest.mark.parametrize("fixed_effects", [False, True])
def test_an_untrained_norm_after_the_sublayer_leaves_nothing_to_regress(fixed_effects):
    """The first layer's attention output is small relative to the epsilon of the norm."""
    found = log_norms("gemma2", head_dim=16)[1:]
    np.testing.assert_allclose(found, np.log(np.sqrt(64)), atol=0.01)
    table = design(found)
    # What would be reported: the artefact is smooth.
    frame = table.to_pandas()
    for layer in range(3):
        x = sm.add_constant(frame[[f"layer_{layer:02d}.lag_{lag}" for lag in (1, 2)]])
        artefact = sm.OLS(frame[f"layer_{layer:02d}.y"], x).fit()
        assert artefact.rsquared > 0.5
    within = " within documents" * fixed_effects
    for fit in regress.fit(stack_of(table, fixed_effects=fixed_effects), "cluster", 4):
        assert fit.status == (
            f"norms are equal but for rounding: the standard deviation of the outcome{within} is "
            "below 0.0039, the precision of bfloat16"
        )
        assert np.isnan(fit.estimate).all()


@pytest.mark.parametrize(("spread", "ok"), [(0.0035, False), (0.0043, True)])
def test_a_layer_is_flat_below_the_precision_of_bfloat16(spread, ok):
    generator = np.random.default_rng(1)
    values = pd.Series(generator.normal(size=sum(LENGTHS)))
    fits = regress.fit(stack_of(design([2 + spread * values])), "cluster", 4)
    assert (fits[0].status == "ok") == ok


def test_a_flat_layer_before_is_reported():
    generator = np.random.default_rng(1)
    y, flat = generator.normal(size=(2, sum(LENGTHS)))
    other = generator.normal(size=sum(LENGTHS))
    fits = regress.fit(stack_of(design([y, y], [other, 1 + 0.001 * flat])), "cluster", 4)
    assert fits[0].status == "ok"
    assert fits[1].status.startswith("norms are equal but for rounding: the standard deviation of ")
    assert "previous_layer is below" in fits[1].status
