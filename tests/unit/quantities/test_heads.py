"""Norms of attention heads in many families, against each head's vector computed directly."""

import re
from dataclasses import replace

import models
import numpy as np
import pytest
import torch
from models import EXPERTS, LLAMA, MODELS, WRITTEN_BY
from models import ragged as sequences

from attnlag.model.decoder import decoder_of
from attnlag.quantities import heads
from attnlag.quantities.batches import batch_of
from attnlag.quantities.layer_pass import LayerPass


def small_model(name):
    return models.small_model(*MODELS[name], attn_implementation="eager")


def outright(name, model, sequence):
    """Return the norm of each head's vector: all others are set to zero before the projection.

    A norm after it is frozen: what it divides by comes from the whole.
    """
    path, added, scale = WRITTEN_BY[name]
    norms = []
    # Heads one by one: (heads, heads, 1), the second axis being what is kept of each.
    alone = torch.eye(4, dtype=torch.float64)[..., None]
    for block in model.h if hasattr(model, "h") else model.layers:
        projection, last, seen = block.get_submodule(path), block.get_submodule(added), []
        see = projection.register_forward_hook(lambda _, args, out, s=seen: s.extend([*args, out]))
        with torch.no_grad():
            with see:
                model(input_ids=torch.tensor(sequence[None].astype(np.int64)), use_cache=False)
            z, whole = (rows[0].double() for rows in seen)
            projection.double()
            by_head = (z.view(len(z), 1, 4, -1) * alone).flatten(2)
            vectors = scale * (projection(by_head) - projection(torch.zeros_like(by_head)))
            projection.float()
            if added == "post_attention_layernorm":
                gain = last.weight.double() + (name == "gemma2")
                eps = last.eps if hasattr(last, "eps") else last.variance_epsilon
                rms = (whole.square().mean(-1, keepdim=True) + eps).sqrt()
                vectors = gain * vectors / rms[:, None]
        norms.append(vectors.norm(dim=-1).numpy())
    return np.stack(norms)


def measured(model):
    """Return the remark on the heads of a model and their norms, (layers, tokens, heads)."""
    adjustments = models.extractor(model, "norms", "heads", batch_tokens=256)
    layers = adjustments.measure(sequences())
    remark = adjustments.computations["heads", "attention"].remark
    return remark, np.stack(layers["heads", "attention"] or [[]])


@pytest.mark.parametrize("name", WRITTEN_BY)
def test_norms_of_heads_equal_those_of_their_vectors(name):
    model = small_model(name)
    remark, found = measured(model)
    within = re.fullmatch(r"heads \+ bias = adjustment within (\S+)", remark)
    assert 0 < float(within[1]) < 1e-5
    assert found.shape == (3, 47, 4)
    expected = np.concatenate([outright(name, model, one) for one in sequences()], axis=1)
    np.testing.assert_allclose(found, expected, rtol=2e-4)


def test_a_differential_head_is_made_by_two_attention_heads():
    """Other queries of attention heads 1 and 3 change the second of two differential heads."""
    model = models.small_model("diffllama", LLAMA)
    before = measured(model)[1][-1]
    with torch.no_grad():
        model.layers[-1].self_attn.q_proj.weight.view(4, 12, 48)[[1, 3]] *= 50
    after = measured(model)[1][-1]
    assert before.shape == (47, 2)
    np.testing.assert_array_equal(after[:, 0], before[:, 0])
    assert (np.abs(after[:, 1] / before[:, 1] - 1) > 1e-3).mean() > 0.8


def test_heads_that_do_not_add_up_or_do_not_divide_the_projection_are_refused(subtests):
    model = small_model("llama")
    layer = heads.located(decoder_of(model).blocks, model.config)[0][2]
    z = torch.randn(5, 48)
    added = z.double() @ layer.weights
    batch = batch_of(np.zeros(5, np.int32))
    passed = LayerPass(layer=2, batch=batch, added={"attention": added}, heads=z)
    check = heads.check_sum(passed, layer, 1e-5)
    assert check.ok
    assert check.error < 1e-6
    wrong = {"scaled": added * 1.001, "moved": added + 0.01, "not finite": added * torch.nan}
    for name, adjustment in wrong.items():
        with subtests.test(name=name):
            check = heads.check_sum(replace(passed, added={"attention": adjustment}), layer, 1e-5)
            assert not check.ok
            start = "in layer 2, heads and bias make up the adjustment only"
            assert check.reason.startswith(start)
    # A number of heads that does not divide.
    model.config.num_attention_heads = 7
    remark, found = measured(model)
    assert (remark, found.size) == ("no heads: layer 0 has 48 inputs for 7 heads", 0)


class Uncalled(torch.nn.Linear):
    """A projection whose hooks do not run, as if a fused operation used its weights."""

    def __call__(self, z):
        return torch.nn.functional.linear(z, self.weight)


def test_a_projection_that_is_not_called_takes_the_heads_of_its_layer_alone():
    model = small_model("llama")
    _, whole = measured(model)
    model.layers[1].self_attn.o_proj.__class__ = Uncalled
    remark, found = measured(model)
    assert remark.startswith("heads + bias = adjustment within ")
    assert remark.endswith(
        "1 layer without, as layer 1 adds what its output projection has not made"
    )
    np.testing.assert_array_equal(found, whole[[0, 2]])


JETMOE = {**EXPERTS, "kv_channels": 8}
MAMBA = {"mamba_num_heads": 4, "mamba_head_dim": 16, "n_groups": 1, "ssm_state_size": 8}
MAMBA |= {"layers_block_type": ["mamba", "mamba", "mlp"], "head_dim": 16}


@pytest.mark.parametrize(
    ("kind", "settings", "found"),
    [
        ("jetmoe", JETMOE, "no heads: layer 0 has no output projection of a known name"),
        ("nemotron_h", MAMBA, "no heads: layer 0 has NemotronHMamba2Mixer in place of attention"),
        ("modernbert-decoder", {"pad_token_id": 0}, "heads + bias = adjustment within"),
    ],
)
def test_models_without_heads_that_can_be_told_say_why(kind, settings, found):
    model = models.small_model(kind, LLAMA | settings)
    remark, norms = measured(model)
    assert remark.startswith(found)
    assert bool(norms.size) == found.startswith("heads")


def test_layers_of_another_mixer_leave_the_heads_of_the_others():
    layers = {"layers_block_type": ["mamba", "attention", "mlp"]}
    model = models.small_model("nemotron_h", LLAMA | MAMBA | layers)
    adjustments = models.extractor(model, "norms", "heads", batch_tokens=256)
    results = adjustments.measure(sequences())
    found = adjustments.computations["heads", "attention"]
    assert found.layers == [1]
    mixer = "layer 0 has NemotronHMamba2Mixer in place of attention"
    assert found.remark.endswith(f"; 2 layers without, as {mixer}")
    (of_heads,) = results["heads", "attention"]
    norms = results["norms", "attention"][1]
    assert of_heads.shape == (47, 4)
    # The vector of the layer is the sum of those of its heads.
    assert (norms <= of_heads.sum(axis=1) * (1 + 1e-5)).all()
    assert (norms > 0).all()
