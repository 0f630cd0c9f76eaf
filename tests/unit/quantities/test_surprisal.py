"""The predictions at each token agree with the model's own logits and its own loss."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from models import LLAMA, extractor, small_model
from torch.nn import functional
from transformers import AutoModelForCausalLM

from attnlag.errors import UserError
from attnlag.model.decoder import decoder_of
from attnlag.quantities import formats, surprisal
from attnlag.quantities.batches import batch_of
from attnlag.storage.sequences import TokenSequence

LENGTHS = (30, 1, 17, 29)
ENDS = np.cumsum(LENGTHS)
SEQUENCES = np.split(np.random.default_rng(0).integers(0, 20_011, ENDS[-1]), ENDS[:-1])


def tiny(kind, **stated):
    """Return a model whose vocabulary is computed in several parts."""
    sizes = LLAMA | {"vocab_size": 20_011, "pad_token_id": 0}
    return small_model(kind, sizes | stated, AutoModelForCausalLM)


BOTH = ["norms", "surprisal"]


def head_of(model):
    """Return what computes the predictions of a model."""
    return extractor(model, *BOTH).computations["surprisal", ""]


def measured(model, *quantities, of=SEQUENCES):
    return extractor(model, *quantities, batch_tokens=48).measure(of)


KINDS = {
    "llama": {},
    "gemma2": {"final_logit_softcapping": 20.0, "head_dim": 8},
    "granite": {"logits_scaling": 4.0},
    "cohere": {"logit_scale": 0.25},
    "phi": {},  # its head has a bias
    "opt": {"word_embed_proj_dim": 16},  # runs the decoder in its base model alone
    "llama4_text": {"head_dim": 8, "num_local_experts": 2},  # is its own base model
}


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_equal_those_of_the_models_own_logits(kind, subtests):
    model = tiny(kind, **KINDS[kind])
    beside = measured(model, *BOTH)
    (columns,) = beside["surprisal", ""]
    found = dict(zip(surprisal.PREDICTED, columns.T, strict=True))
    # Predictions change no norm.
    for key, layers in measured(decoder_of(model).model, "norms").items():
        np.testing.assert_array_equal(beside[key], layers)
    for sequence, start, end in zip(SEQUENCES, ENDS - LENGTHS, ENDS, strict=True):
        ids = torch.from_numpy(sequence)
        with torch.inference_mode():
            logits = model(ids[None]).logits[0].double()
        said = functional.cross_entropy(logits[:-1], ids[1:], reduction="none")
        entropy = torch.distributions.Categorical(logits=logits).entropy()
        chosen = logits[:-1].gather(1, ids[1:, None])
        # Tokens whose logits are as near as this may change places.
        least, most = (1 + (logits[:-1] > chosen + e).sum(1).numpy() for e in (1e-5, -1e-5))
        rows = {name: values[start:end] for name, values in found.items()}
        for name in ("surprisal", "entropy_before", "rank"):
            with subtests.test(name=name):
                assert np.isnan(rows[name][0])
        np.testing.assert_allclose(rows["surprisal"][1:], said, atol=2e-5)
        np.testing.assert_allclose(rows["entropy_next"], entropy, atol=2e-5)
        np.testing.assert_allclose(rows["entropy_before"][1:], entropy[:-1], atol=2e-5)
        # The token itself is not above itself.
        assert ((rows["rank"][1:] >= least) & (rows["rank"][1:] <= most - 1)).all()


def test_uniform_logits_give_the_log_of_the_vocabulary_and_the_first_rank():
    model = tiny("llama")
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    head = head_of(model)
    ids = np.array([3, 20_010, 8192, 0, 8191])
    said, before, after, rank = head.predict(torch.randn(5, 48), batch_of(ids)).T
    for values in (said[1:], before[1:], after):
        np.testing.assert_allclose(values, np.log(20_011), rtol=1e-7)
    # None is above the token itself.
    assert rank[1:].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_likeliest_token_has_the_first_rank_and_no_negative_surprisal(dtype):
    """Despite rounding in half precision."""
    model = tiny("llama").to(dtype)
    with torch.inference_mode():
        hidden = (4 * torch.randn(400, 48)).to(dtype)
        logits = model.get_output_embeddings()(hidden).float()
    likeliest = logits.argmax(-1).numpy()
    # Row t predicts token t + 1.
    found = head_of(model).predict(hidden, batch_of(np.append([0], likeliest[:-1])))[1:]
    assert (found[:, 3] == 1).float().mean() > 0.95
    assert found[:, 0].min() >= 0
    ids = torch.from_numpy(likeliest[:-1])
    expected = functional.cross_entropy(logits[:-1], ids, reduction="none")
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)


def test_logits_that_the_head_does_not_reproduce_are_refused():
    model = tiny("granite", logits_scaling=4.0)
    extractor(model, *BOTH).measure([np.arange(8)])
    model.config.logits_scaling = 1.0
    other = extractor(model, *BOTH, name="mine")
    model.config.logits_scaling = 4.0
    said = (
        "model mine, of type 'granite', fails the check of its predictions: found logits that "
        "differ by .* of their size, expected those of its head applied to its input"
    )
    with pytest.raises(UserError, match=said):
        other.measure([np.arange(8)])


def test_a_model_that_runs_its_head_twice_is_refused():
    def again(module, _, output):
        module.lm_head(torch.zeros(1, output.logits.shape[1], 48))

    model = tiny("llama")
    model.register_forward_hook(again)
    with pytest.raises(UserError, match="found 2 passes of its head, expected one"):
        measured(model, *BOTH, of=[np.arange(8)])


def test_a_file_of_predictions_has_nulls_where_nothing_is_predicted():
    values = np.float32([[np.nan, np.nan, 3.5, np.nan], [1.5, 2.5, 4.5, 7]])
    run = [TokenSequence("a", 0, np.array([5, 6]))]
    found = formats.rows_of(head_of(tiny("llama")), run, [values])
    assert found.schema.field("rank").type == pa.int32()
    told = found.select(surprisal.PREDICTED).to_pydict()
    assert list(told.values()) == [[None, 1.5], [None, 2.5], [3.5, 4.5], [None, 7]]
    assert found["token_id"].to_pylist() == [5, 6]
