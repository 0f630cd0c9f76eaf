"""Attention to the first token, against values that are zero at every other token."""

import numpy as np
import pytest
import torch
from models import FALCON, LLAMA, STRETCHED, ragged
from models import small_model as model_of

from attnlag.adjustments import sinks
from attnlag.model.hooks import NotGiven

# Groups of queries that share keys, layers that see four tokens only, a cap on what is attended to,
# and attention sinks that are no tokens.
MODELS = {
    "llama": {},
    "mistral": {"sliding_window": 4},
    "gemma2": {"head_dim": 12, "sliding_window": 4},
    "gpt_oss": {
        "head_dim": 12,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "sliding_window": 4,
    },
}
LENGTHS = (9, 5, 7)


def small_model(name):
    return model_of(name, {**LLAMA, **MODELS[name]})


def gathered(model, layer, ids):
    """Return what heads gather if the first token alone has a value, of ones, (tokens, heads)."""
    attention, seen = model.layers[layer].self_attn, []

    def only_first(_, __, values):
        values = torch.zeros_like(values)
        values[:, 0] = 1
        return values

    handles = [
        attention.v_proj.register_forward_hook(only_first),
        attention.o_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0])),
    ]
    with torch.no_grad():
        model(input_ids=torch.from_numpy(ids)[None], use_cache=False)
    for handle in handles:
        handle.remove()
    return seen[0][0].view(len(ids), 4, -1)[..., 0].numpy()


@pytest.mark.parametrize("name", MODELS)
def test_the_attention_is_that_of_the_model_as_it_runs(name):
    """transformers chooses the implementation, which returns no weights if it does not have to."""
    model = small_model(name)
    generator = np.random.default_rng(0)
    sequences = [generator.integers(1, 200, n) for n in LENGTHS]
    expected = [
        np.concatenate([gathered(model, layer, ids) for ids in sequences])
        for layer in range(len(model.layers))
    ]
    found = sinks.sink_scores(model, sequences, 4)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    far = np.concatenate([np.arange(n) for n in LENGTHS]) >= 4
    if name == "mistral":
        assert (found[0][far] == 0).all()
        assert (found[0][~far] > 0).all()


@pytest.mark.parametrize("name", STRETCHED)
def test_positions_are_stretched_as_in_a_pass_over_the_whole_sequence(name):
    sequences, expected = ragged((200, 25, 90, 150, 90, 30)), []
    for sequence in sequences:
        model = model_of(*STRETCHED[name])
        model.set_attn_implementation("eager")
        with torch.no_grad():
            ids = torch.from_numpy(sequence[None].astype(np.int64))
            weights = model(input_ids=ids, use_cache=False, output_attentions=True).attentions
        expected.append([w[0, :, : sinks.TOKENS, 0].T.numpy() for w in weights])
    found = sinks.sink_scores(model_of(*STRETCHED[name]), sequences, 4)
    for layer, of_layer in zip(found, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(layer, np.concatenate(of_layer), rtol=0, atol=1e-5)


def test_sinks_are_measured_at_the_beginnings_of_a_few_sequences():
    assert len(sinks.sampled(1000)) == sinks.SEQUENCES
    assert sinks.sampled(1000)[[0, -1]].tolist() == [0, 999]
    assert sinks.sampled(3).tolist() == [0, 1, 2]
    model = small_model("llama")
    long = np.arange(1, 150)
    (found, *_) = sinks.sink_scores(model, [long], 4)
    assert found.shape == (sinks.TOKENS, 4)
    with pytest.raises(NotGiven, match="numbers of shape"):
        sinks.sink_scores(model, [long], 5)


def test_attention_weights_without_the_causal_mask_are_refused():
    """Falcon's own attention returns weights for all tokens unless it is loaded as eager."""
    (ids,) = [np.arange(1, 20)]
    with pytest.raises(NotGiven, match="after a token's own"):
        sinks.sink_scores(model_of("falcon", FALCON), [ids], 4)
    eager = model_of("falcon", FALCON, attn_implementation="eager")
    assert (sinks.sink_scores(eager, [ids], 4)[0][0] == 1).all()
