import os
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from attnlag import extraction, layout, loading, sites
from attnlag.errors import UserError


@pytest.fixture(scope="module")
def models(fetched):
    cpu = torch.device("cpu")
    return {name: loading.load_model(path, cpu, "auto") for name, path in fetched.items()}


def ragged(lengths, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 50257, n).astype(np.int32) for n in lengths]


def run_sites(model, sequences, wanted, batch_tokens=256, keep="vectors"):
    """Return (layers, tokens[, width]) over all sequences, for each site."""
    adjustments = extraction.Adjustments(model, wanted=wanted, batch_tokens=batch_tokens, keep=keep)
    runs = [
        {site: np.stack(layers[site]) for site in wanted}
        for _, _, layers in adjustments.over(sequences)
    ]
    return {site: np.concatenate([found[site] for found in runs], axis=1) for site in wanted}


def run(model, sequences, batch_tokens=256, keep="vectors"):
    return run_sites(model, sequences, ["attention"], batch_tokens, keep)["attention"]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_adjustments_explain_the_hidden_states(models, name):
    """The oracle is what transformers itself returns: hidden states, and the MLP run by hand."""
    model = models[name]
    (sequence,) = ragged([40])
    with torch.inference_mode():
        ids = torch.tensor(sequence[None].astype(np.int64))
        states = model(input_ids=ids, output_hidden_states=True).hidden_states
    added = torch.tensor(run(model, [sequence]))
    blocks = model.h if name == "gpt2" else model.layers
    norm = "ln_2" if name == "gpt2" else "post_attention_layernorm"
    for layer, block in enumerate(blocks):
        middle = states[layer] + added[layer]
        with torch.inference_mode():
            result = middle + block.mlp(getattr(block, norm)(middle))
            if layer == len(blocks) - 1:  # the last hidden state has the final norm applied
                result = (model.ln_f if name == "gpt2" else model.norm)(result)
        torch.testing.assert_close(result, states[layer + 1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    batch_tokens=st.integers(1, 300),
    seed=st.integers(0, 100),
)
@settings(max_examples=15, deadline=None)
def test_a_sequence_is_the_same_in_any_batch(models, name, lengths, batch_tokens, seed):
    model, sequences = models[name], ragged(lengths, seed)
    together = run(model, sequences, batch_tokens)
    alone = np.concatenate([run(model, [sequence]) for sequence in sequences], axis=1)
    scale = np.linalg.norm(alone, axis=-1, keepdims=True)
    assert (np.abs(together - alone) <= 1e-4 * scale).all()


def test_norms_are_those_of_the_vectors(models):
    sequences = ragged([5, 30, 17])
    vectors = run(models["gpt2"], sequences)
    norms = run(models["gpt2"], sequences, keep="norms")
    assert norms.dtype == np.float32
    np.testing.assert_allclose(norms, np.linalg.norm(vectors.astype(float), axis=-1), rtol=1e-6)


ALL = ["attention", "mlp", "block"]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_all_sites_come_from_one_pass(models, name):
    """The oracle: the MLP run by hand, and the difference of two hidden states."""
    model = models[name]
    (sequence,) = ragged([40])
    passes = []
    handle = model.register_forward_hook(lambda *_: passes.append(1))
    added = run_sites(model, [sequence], ALL)
    handle.remove()
    assert len(passes) == 1
    np.testing.assert_array_equal(added["attention"], run(model, [sequence]))
    np.testing.assert_array_equal(added["block"], added["attention"] + added["mlp"])
    with torch.inference_mode():
        ids = torch.tensor(sequence[None].astype(np.int64))
        states = model(input_ids=ids, output_hidden_states=True).hidden_states
        block = model.h[0] if name == "gpt2" else model.layers[0]
        norm = block.ln_2 if name == "gpt2" else block.post_attention_layernorm
        mlp = block.mlp(norm(states[0] + torch.tensor(added["attention"][0])))
    np.testing.assert_allclose(added["mlp"][0], mlp[0], rtol=1e-4, atol=1e-6)
    update = (states[1] - states[0])[0]
    np.testing.assert_allclose(added["block"][0], update, rtol=1e-4, atol=1e-6)


def test_norms_of_a_block_are_those_of_its_whole_update(models):
    sequences = ragged([5, 30, 17])
    vectors = run_sites(models["llama"], sequences, ["block", "mlp"])
    norms = run_sites(models["llama"], sequences, ["block", "mlp"], keep="norms")
    for site in ("block", "mlp"):
        expected = np.linalg.norm(vectors[site].astype(float), axis=-1)
        np.testing.assert_allclose(norms[site], expected, rtol=1e-5)


def test_the_buffer_counts_all_sites(models, monkeypatch):
    spans = []
    monkeypatch.setattr(
        extraction, "buffers", lambda lengths, tokens: spans.append(tokens) or iter(())
    )
    for wanted in (["attention"], ALL):
        assert run_spans(models["gpt2"], wanted) == []
    assert spans[0] == extraction.BUFFER_BYTES // (4 * 2 * 32)
    assert spans[1] == extraction.BUFFER_BYTES // (4 * 2 * 32 * 3)


def run_spans(model, wanted):
    adjustments = extraction.Adjustments(model, wanted=wanted, batch_tokens=64, keep="vectors")
    return list(adjustments.over(ragged([5])))


def test_small_buffers_change_nothing(models, monkeypatch):
    sequences = ragged([5, 30, 17, 8, 60, 1])
    whole = run(models["gpt2"], sequences)
    monkeypatch.setattr(extraction, "BUFFER_BYTES", 40 * 4 * 2 * 32)
    np.testing.assert_allclose(run(models["gpt2"], sequences), whole, rtol=1e-4, atol=1e-6)


def test_every_real_token_is_counted_once(models):
    seen = []
    adjustments = extraction.Adjustments(
        models["gpt2"], batch_tokens=64, keep="norms", progress=seen.append
    )
    sequences = ragged([5, 30, 17, 8])
    list(adjustments.over(sequences))
    assert sum(seen) == 60


@given(st.lists(st.integers(1, 500), max_size=50), st.integers(1, 1000))
def test_batches_hold_every_sequence_once_within_the_budget(lengths, budget):
    lengths = np.array(lengths, dtype=int)
    groups = list(extraction.batches(lengths, budget))
    found = np.concatenate(groups) if groups else np.array([], dtype=int)
    assert sorted(found.tolist()) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * lengths[group].max() <= budget
        assert lengths[group].min() >= extraction.LIKE_LENGTH * lengths[group].max()


@given(st.lists(st.integers(1, 500), max_size=50), st.integers(1, 1000))
def test_buffers_are_consecutive_and_bounded(lengths, tokens):
    lengths = np.array(lengths, dtype=int)
    spans = list(extraction.buffers(lengths, tokens))
    assert [i for first, stop in spans for i in range(first, stop)] == list(range(len(lengths)))
    for first, stop in spans:
        assert stop - first == 1 or lengths[first:stop].sum() <= tokens


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_residual_identity_holds(models, name):
    adjustments = extraction.Adjustments(models[name], batch_tokens=256, keep="norms")
    list(adjustments.over(ragged([20, 31])))
    assert adjustments.identity_error < 1e-5


@pytest.mark.parametrize("attention", ["mlp", "ln_1", "ln_2"])
def test_the_proof_sees_a_site_of_the_right_shape_that_is_not_the_one(
    models, monkeypatch, attention
):
    monkeypatch.setattr(sites, "FAMILIES", (sites.Family(("gpt2",), "h", attention, "mlp"),))
    adjustments = extraction.Adjustments(models["gpt2"], batch_tokens=256, keep="norms")
    with pytest.raises(UserError, match=r"type 'gpt2', fails the proof of its sites.*layer 0"):
        next(adjustments.over(ragged([20])))


def test_an_unknown_architecture_is_refused(models, monkeypatch):
    monkeypatch.setattr(sites, "FAMILIES", sites.FAMILIES[1:])
    with pytest.raises(UserError, match=r"found the type 'gpt2' \(GPT2Model\)"):
        sites.locate(models["gpt2"])


def test_a_module_that_is_not_there_is_named(models, monkeypatch):
    monkeypatch.setattr(sites, "FAMILIES", (sites.Family(("gpt2",), "h", "attention", "mlp"),))
    with pytest.raises(
        UserError, match=r"found no module 'h\.0\.attention'.*ln_1, attn, ln_2, mlp"
    ):
        sites.locate(models["gpt2"])


def test_the_trunk_is_loaded_without_its_head(models):
    assert not any("lm_head" in name for name, _ in models["llama"].named_modules())
    assert next(models["llama"].parameters()).dtype == torch.float32


def test_dtype_of_the_model_and_of_what_is_kept(fetched):
    model = loading.load_model(fetched["llama"], torch.device("cpu"), "bfloat16")
    assert next(model.parameters()).dtype == torch.bfloat16
    sequences = ragged([12, 7])
    full = loading.load_model(fetched["llama"], torch.device("cpu"), "float32")
    norms = run(model, sequences, keep="norms")
    assert norms.dtype == np.float32
    np.testing.assert_allclose(norms, run(full, sequences, keep="norms"), rtol=0.05)


def test_missing_weights_are_refused(fetched, tmp_path):
    for path in fetched["gpt2"].iterdir():
        if path.name != "model.safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(fetched["gpt2"] / "model.safetensors")
    dropped = next(name for name in weights if name.endswith("h.1.attn.c_proj.weight"))
    del weights[dropped]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lacks 1 weight of GPT2Model.*h\.1\.attn\.c_proj"):
        loading.load_model(tmp_path, torch.device("cpu"), "auto")


def test_devices():
    assert loading.choose_device("cpu").type == "cpu"
    if torch.cuda.is_available():
        assert loading.choose_device("auto").type == "cuda"
    else:
        assert loading.choose_device("auto").type == "cpu"
        with pytest.raises(UserError, match="no CUDA device"):
            loading.choose_device("cuda")


def test_nothing_reaches_for_the_network():
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_the_table_has_one_row_per_token_in_order(models):
    sequences = ragged([3, 2])
    adjustments = extraction.Adjustments(models["gpt2"], batch_tokens=64, keep="vectors")
    ((first, stop, layers),) = adjustments.over(sequences)
    schema = layout.schema(2, 32)
    table = extraction.table(["a", "b"], [0, 1], sequences, layers["attention"], schema)
    assert (first, stop) == (0, 2)
    assert table.schema == schema
    assert table["document"].to_pylist() == ["a", "a", "a", "b", "b"]
    assert table["window"].to_pylist() == [0, 0, 0, 1, 1]
    assert table["position"].to_pylist() == [0, 1, 2, 0, 1]
    assert table["token_id"].to_pylist() == np.concatenate(sequences).tolist()
    assert table.schema.field("layer_01").type == pa.list_(pa.float32(), 32)
    np.testing.assert_array_equal(np.array(table["layer_01"].to_pylist()), layers["attention"][1])


def test_the_whole_gpt2_path(gpt2_tokenizer, tmp_path):
    """The architecture of GPT-2 itself, at its own size: Conv1D, learned positions, 12 x 768."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from attnlag import sources

    shutil.copytree(gpt2_tokenizer, tmp_path, dirs_exist_ok=True)
    torch.manual_seed(2)
    GPT2LMHeadModel(GPT2Config()).save_pretrained(tmp_path)
    settings = {"source": "path", "path": str(tmp_path), "layers": 12, "width": 768}
    record = sources.fetch_model("gpt2", settings, tmp_path / "fetched" / "gpt2")
    assert record["parameters"] == 124_439_808
    model = loading.load_model(tmp_path / "fetched" / "gpt2", torch.device("cpu"), "auto")
    plain = AutoModel.from_pretrained(tmp_path).eval()
    (sequence,) = ragged([50])
    added = torch.tensor(run(model, [sequence]))
    assert added.shape == (12, 50, 768)
    with torch.inference_mode():
        ids = torch.tensor(sequence[None].astype(np.int64))
        states = plain(input_ids=ids, output_hidden_states=True).hidden_states
        for layer in range(11):
            middle = states[layer] + added[layer]
            result = middle + plain.h[layer].mlp(plain.h[layer].ln_2(middle))
            torch.testing.assert_close(result, states[layer + 1], rtol=1e-5, atol=1e-5)


def hooks_of(model):
    """Return the hooks of all modules; transformers leaves some of its own."""
    return [[*module._forward_hooks, *module._forward_pre_hooks] for module in model.modules()]


@pytest.mark.parametrize(
    ("wanted", "last_mlps"), [(["attention"], 1), (["mlp"], 3), (["block"], 3)]
)
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_pass_ends_where_nothing_is_left_to_see(models, name, wanted, last_mlps):
    """The first of three batches goes to the end, for the proof; the numbers are those of it."""
    model = models[name]
    last = (model.h if name == "gpt2" else model.layers)[-1].mlp
    final = model.ln_f if name == "gpt2" else model.norm
    sequences = ragged([40, 30, 20])
    before = hooks_of(model)
    calls = []
    watched = (model.get_input_embeddings(), last, final)
    handles = [module.register_forward_hook(lambda m, *_: calls.append(m)) for module in watched]
    stopped = run_sites(model, sequences, wanted, batch_tokens=40)
    for handle in handles:
        handle.remove()
    assert [calls.count(module) for module in watched] == [3, last_mlps, 1]
    # Each alone is a first batch, which is not stopped.
    whole = [run_sites(model, [sequence], wanted) for sequence in sequences]
    for site in wanted:
        expected = np.concatenate([found[site] for found in whole], axis=1)
        np.testing.assert_array_equal(stopped[site], expected)
    assert hooks_of(model) == before


def test_an_error_of_the_model_is_no_end_of_a_pass(models):
    adjustments = extraction.Adjustments(models["gpt2"], batch_tokens=40, keep="norms")
    list(adjustments.over(ragged([20])))
    before = hooks_of(models["gpt2"])
    handle = models["gpt2"].h[1].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(adjustments.over(ragged([20])))
    handle.remove()
    assert hooks_of(models["gpt2"]) == before
