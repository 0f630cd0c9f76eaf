"""What a pass gives of each layer, and where it ends."""

import numpy as np
import pytest
import torch
from models import MODELS, small_model

from attnlag.model.decoder import decoder_of
from attnlag.model.hooks import PROJECTED
from attnlag.quantities.batches import batch_of
from attnlag.quantities.layer_pass import Needs, run_pass

IDS = np.array([5, 3, 8, 1, 9, 2, 7], np.int32)


@pytest.fixture
def decoder():
    return decoder_of(small_model(*MODELS["llama"]))


@pytest.fixture
def runs_of_norm(decoder):
    """The passes that reached the norm after the last block."""
    runs = []
    decoder.model.norm.register_forward_hook(lambda *_: runs.append(1))
    return runs


def test_a_pass_gives_each_layer_what_it_needs_and_ends_after_the_last(decoder, runs_of_norm):
    ids = torch.from_numpy(IDS)[None].long()
    with torch.no_grad():
        states = decoder.model(input_ids=ids, output_hidden_states=True).hidden_states
    runs_of_norm.clear()
    layers = []
    needs = Needs({0: {"attention"}, 2: {"stream", "mlp"}})
    passed = run_pass(decoder, batch_of(IDS), needs, layers.append)
    assert [layer.layer for layer in layers] == [0, 2]
    assert [set(layer.added) for layer in layers] == [{"attention"}, {"mlp"}]
    assert layers[0].stream is None
    torch.testing.assert_close(layers[1].stream, states[2][0], rtol=0, atol=0)
    assert (passed.output, passed.layers, passed.problem) == (None, [], "")
    assert not runs_of_norm


def test_without_a_receiver_the_model_runs_to_its_end(decoder, runs_of_norm):
    every = range(len(decoder.blocks))
    needs = Needs({layer: {"stream", "attention", "mlp"} for layer in every})
    passed = run_pass(decoder, batch_of(IDS), needs)
    assert [layer.layer for layer in passed.layers] == [*every]
    last = passed.layers[-1]
    total = last.stream + last.added["attention"] + last.added["mlp"]
    normed = decoder.model.norm(total)
    torch.testing.assert_close(normed, passed.output.last_hidden_state[0])
    assert len(runs_of_norm) == 2
    assert set(passed.counts.values()) == {1}


def test_padding_is_left_out_and_rows_follow_the_sequences(decoder):
    batch = batch_of(IDS, IDS[:4])
    passed = run_pass(decoder, batch, Needs({1: {"attention"}}))
    alone = run_pass(decoder, batch_of(IDS[:4]), Needs({1: {"attention"}}))
    (together,), (short,) = passed.layers, alone.layers
    assert together.added["attention"].shape == (11, 48)
    torch.testing.assert_close(together.added["attention"][7:], short.added["attention"])


def test_what_is_no_vector_of_a_token_ends_the_pass_and_is_named(decoder, runs_of_norm):
    # It gives cosines once for all sequences.
    modules = {(0, PROJECTED): decoder.model.rotary_emb}
    needs = Needs({0: {PROJECTED}}, modules)
    passed = run_pass(decoder, batch_of(IDS, IDS), needs)
    assert passed.problem == "a tensor of 1 × 7 × 12 for 2 × 7 tokens"
    assert (passed.output, len(runs_of_norm)) == (None, 0)


def test_a_layer_that_lacks_a_point_is_not_received(decoder):
    layers = []
    modules = {(0, PROJECTED): torch.nn.Linear(2, 2)}
    needs = Needs({0: {"attention", PROJECTED}, 1: {"attention"}}, modules)
    passed = run_pass(decoder, batch_of(IDS), needs, layers.append)
    assert [layer.layer for layer in layers] == [1]
    (lacking,) = passed.layers
    assert (lacking.layer, set(lacking.added), lacking.projected) == (0, {"attention"}, None)
