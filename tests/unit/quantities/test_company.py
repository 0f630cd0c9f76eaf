"""The numbers of a token depend neither on other sequences of a batch nor on later tokens."""

import functools

import models
import numpy as np
import pytest
from models import STRETCHED, UNGROUPED, dynamic, extractor, longrope, outputs_of, ragged

from attnlag.errors import UserError
from attnlag.quantities import passes, proofs


def small_model(model_type, settings):
    return models.small_model(model_type, {**UNGROUPED, **settings})


# On both sides of the original length, at it, and twice of one length.
LENGTHS = [28, 33, 30, 60, 33, 5]


@functools.cache
def all_alone(name):
    """Return what attention adds to the tokens of each sequence, by a model of its own."""

    def alone(sequence):
        model = small_model(*STRETCHED[name])
        return outputs_of(model, [layer.self_attn for layer in model.layers], sequence)

    return np.concatenate(list(map(alone, ragged(LENGTHS))), axis=1)


@pytest.mark.parametrize("batch_tokens", [40, 4096])
@pytest.mark.parametrize("name", STRETCHED)
def test_embeddings_come_from_the_sequence_and_not_from_its_batch(name, batch_tokens):
    adjustments = extractor(
        small_model(*STRETCHED[name]), "vectors", batch_tokens=batch_tokens, threads=2
    )
    expected = all_alone(name)
    # A second run must not find what the first one left.
    for _ in range(2 if batch_tokens == 40 else 1):
        found = np.stack(adjustments.measure(ragged(LENGTHS))["vectors", "attention"])
        gap = np.linalg.norm(found - expected, axis=-1)
        assert (gap <= 1e-4 * np.linalg.norm(expected, axis=-1)).all()


@pytest.mark.parametrize("original", [100, 200, 256])
@pytest.mark.parametrize("kind", [("phi3", longrope), ("llama", dynamic)])
def test_a_short_original_context_length_is_accepted(kind, original):
    adjustments = extractor(small_model(kind[0], kind[1](original)), batch_tokens=512)
    adjustments.measure(ragged([300, 150]))
    assert adjustments.identity_error < 1e-5


def test_embeddings_that_differ_by_type_of_layer_are_found():
    whole = longrope(30)["rope_parameters"]
    types = ["sliding_attention", "full_attention", "sliding_attention"]
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    parameters = {"sliding_attention": plain, "full_attention": whole}
    settings = {"head_dim": 12, "layer_types": types, "rope_parameters": parameters}
    assert passes.Rotary(small_model("gemma3_text", settings)).limits == {("longrope", 30)}


def test_a_model_whose_numbers_depend_on_the_batch_is_refused():
    model = small_model("llama", {"max_position_embeddings": 256})
    # The output depends on how many sequences are in a batch.
    model.layers[1].mlp.register_forward_hook(lambda _, __, out: out * (1 + 0.01 * len(out)))
    # In the second case, only the middle sequence shares a batch.
    for lengths in ([40, 39, 38, 40], [80, 40, 39, 10]):
        adjustments = extractor(model, batch_tokens=2048, name="mine")
        with pytest.raises(UserError, match=r"model mine, of type 'llama', gives a sequence other"):
            adjustments.measure(ragged(lengths))
    # One that has every pass to itself is what it is.
    extractor(model, batch_tokens=1, name="mine").measure(ragged([40, 39, 38, 40]))


@pytest.mark.parametrize("batch_tokens", [1, 4096])
def test_a_stretch_that_outlives_its_pass_is_detected(monkeypatch, batch_tokens):
    """A later version of transformers may keep the state of its embeddings under other names."""
    monkeypatch.setattr(passes.Rotary, "reset", lambda self: None)
    model = small_model(*STRETCHED["dynamic"])
    adjustments = extractor(model, batch_tokens=batch_tokens, name="mine")
    with pytest.raises(UserError, match="gives a sequence other adjustments beside others"):
        adjustments.measure(ragged([60, 34, 40]))


@pytest.mark.parametrize("window", [4, 8])
def test_a_window_that_looks_ahead_is_refused(window):
    """Only the tokens just before a cut see beyond it. Half of all tokens and layers do not."""
    settings = {"sliding_window": window, "head_dim": 12, "max_position_embeddings": 512}
    settings["layer_types"] = ["sliding_attention"] * 3

    def measure(ahead):
        model = small_model("gemma3_text", {**settings, "use_bidirectional_attention": ahead})
        extractor(model, batch_tokens=512, name="mine").measure(ragged([300, 200]))

    measure(ahead=False)
    with pytest.raises(UserError, match=r"'gemma3_text', lets a token see the tokens afte"):
        measure(ahead=True)


def test_a_text_of_one_repeated_token_is_checked():
    model = small_model("gemma3_text", {"head_dim": 12, "use_bidirectional_attention": True})
    for token in (0, 7):
        adjustments = extractor(model, batch_tokens=512)
        with pytest.raises(UserError, match="lets a token see"):
            adjustments.measure([np.full(20, token, np.int32)])


def test_values_finite_in_one_pass_only_differ_infinitely():
    found = np.array([[np.nan, 1], [np.inf, 0], [1, 2], [3, 4], [0, 0], [0, 0]], np.float32)
    expected = np.array([[1, np.nan], [1, 0], [np.inf, 2], [0, 4], [0, 0], [3, 4]], np.float32)
    apart = proofs.relative_differences(found, expected)
    np.testing.assert_array_equal(apart, [0, np.inf, np.inf, 0.75, 0, 1])
    # Norms are compared as numbers.
    apart = proofs.relative_differences(np.float32([3, 0]), np.float32([2, np.nan]))
    np.testing.assert_array_equal(apart, [0.5, np.inf])
