"""Checkpoints of every form give the same numbers, and one that does not fit is refused."""

import shutil
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from models import measured, ragged
from projects import refused
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from attnlag.errors import UserError
from attnlag.model import loading
from attnlag.model.language_models import hollow_model
from attnlag.quantities import extraction

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NAMES = ["gpt2", "llama"]


def norms_of(model):
    return measured(model, "norms", ["attention"], ragged([30, 7, 19]))[1]["attention"]


def save(weights, folder):
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_tied_embeddings_may_be_stored_once_or_twice(tmp_path, fetched):
    weights = load_file(fetched["gpt2"] / "model.safetensors")
    assert not any("lm_head" in key for key in weights)
    shutil.copytree(fetched["gpt2"], tmp_path, dirs_exist_ok=True)
    (key,) = [key for key in weights if key.endswith("wte.weight")]
    save(weights | {"lm_head.weight": weights[key].clone()}, tmp_path)
    once, twice = (loading.load_model(f, CPU, "auto") for f in (fetched["gpt2"], tmp_path))
    np.testing.assert_array_equal(norms_of(once), norms_of(twice))
    assert not any("lm_head" in name for name, _ in twice.named_modules())


@pytest.mark.parametrize("shard_size", ["1GB", "50KB"])
@pytest.mark.parametrize("name", NAMES)
def test_a_bfloat16_checkpoint_gives_the_norms_of_its_rounded_weights(
    fetched, name, shard_size, tmp_path
):
    """On the CPU the model runs in float32, with the rounded weights of one file or of shards."""
    half = tmp_path / "half"
    source = AutoModelForCausalLM.from_pretrained(fetched[name], dtype=torch.bfloat16)
    source.save_pretrained(half, max_shard_size=shard_size)
    rounded = AutoModelForCausalLM.from_pretrained(half, dtype=torch.float32)
    rounded.save_pretrained(tmp_path / "rounded")
    model = loading.load_model(half, CPU, "auto")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    expected = norms_of(loading.load_model(tmp_path / "rounded", CPU, "float32"))
    np.testing.assert_array_equal(norms_of(model), expected)

    assert loading.choose_dtype(half, CUDA, "auto") == torch.bfloat16
    assert loading.choose_dtype(half, CUDA, "float32") == torch.float32
    assert loading.choose_dtype(fetched[name], CUDA, "auto") == torch.float32
    shards = list(half.glob("*.safetensors"))
    assert (len(shards) > 2) == (shard_size == "50KB")
    shards[0].unlink()
    with pytest.raises(OSError, match=shards[0].name):
        loading.load_model(half, CPU, "auto")


def test_a_checkpoint_of_integers_is_refused(tmp_path):
    weights = {"a": torch.zeros(90, dtype=torch.int8), "b": torch.zeros(2), "c": torch.zeros(3)}
    save(weights, tmp_path)
    with pytest.raises(UserError, match="holds its weights as I8, expected a model in float32"):
        loading.choose_dtype(tmp_path, CUDA, "auto")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", NAMES)
def test_norms_of_each_site_are_those_of_its_vectors_summed_in_float32(
    fetched, name, dtype, subtests
):
    model = loading.load_model(fetched[name], CPU, dtype)
    added, of_sites = (measured(model, each)[1] for each in ("vectors", "norms"))
    for site, norms in of_sites.items():
        with subtests.test(site=site):
            assert added[site].dtype == norms.dtype == np.float32
            vectors = added[site].astype(np.float64)
            np.testing.assert_allclose(norms, np.linalg.norm(vectors, axis=-1), rtol=1e-6)
            in_half = torch.tensor(vectors, dtype=getattr(torch, dtype)).norm(dim=-1)
            distances = np.abs(in_half.double().numpy() / norms - 1)
            assert dtype == "float32" or distances.max() > 1e-5
    np.testing.assert_array_equal(added["block"], added["attention"] + added["mlp"])


@pytest.mark.parametrize("name", NAMES)
def test_a_map_of_devices_changes_no_number(fetched, name):
    """accelerate dispatches every part of the model to the one device of the machine."""
    from accelerate import dispatch_model

    plain = loading.load_model(fetched[name], CPU, "auto")
    expected = norms_of(plain)
    whole = loading.load_base_model(fetched[name], torch.float32, {"": "cpu"})
    np.testing.assert_array_equal(norms_of(whole), expected)

    blocks = "h" if name == "gpt2" else "layers"
    children = [child for child, _ in plain.named_children() if child != blocks]
    parts = [*children, *(f"{blocks}.{layer}" for layer in range(plain.config.num_hidden_layers))]
    places = dict.fromkeys(parts, "cpu")
    mapped = loading.load_base_model(fetched[name], torch.float32, places)
    np.testing.assert_array_equal(norms_of(mapped), expected)
    dispatched = dispatch_model(mapped, places, force_hooks=True)
    block = (dispatched.h if name == "gpt2" else dispatched.layers)[1]
    assert torch.device(block._hf_hook.execution_device) == CPU
    np.testing.assert_array_equal(norms_of(dispatched), expected)


def hollow_base_model(folder, dtype=torch.float32):
    return hollow_model(loading.config_of(folder), dtype, head=False)


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """Return the config of a model of eight equal blocks, which are most of it."""
    folder = tmp_path_factory.mktemp("deep")
    config = AutoConfig.for_model(
        "llama", num_hidden_layers=8, hidden_size=64, intermediate_size=256, vocab_size=100
    )
    config.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_base_model_without_data_states_the_memory_of_the_loaded_one(fetched, name):
    model = loading.load_model(fetched[name], CPU, "auto")
    held = [*model.parameters(), *model.buffers()]
    hollow = hollow_base_model(fetched[name])
    assert {p.device.type for p in hollow.parameters()} == {"meta"}
    full = hollow.get_memory_footprint()
    assert full == sum(tensor.numel() * tensor.element_size() for tensor in held)
    half = hollow_base_model(fetched[name], torch.bfloat16).get_memory_footprint()
    assert full - half == 2 * sum(p.numel() for p in model.parameters())


@example([0.1] * 12)
@example([1.0, 9.0])
@example([0.9, 1.0])
@example([-0.5, 0.7, 0.6])
@given(st.lists(st.floats(-0.5, 1.2), min_size=2, max_size=5))
def test_no_device_gets_more_than_it_can_hold(deep, shares):
    """A model is split only if no single device holds it; one that is full is passed over."""
    base_model = hollow_base_model(deep)
    weights = base_model.get_memory_footprint()
    working = loading.working_bytes(base_model.config, 64, torch.float32)
    free = {f"cuda:{i}": int(share * weights) + working for i, share in enumerate(shares)}
    try:
        places = loading.place(deep.name, base_model, free, 64)
    except UserError:
        # What fits with a block to spare on each device is not refused.
        assert sum(max(0, share - 0.26) for share in shares) < 1
        assert max(shares) < 1
        return
    if max(shares) >= 1:
        assert places == {"": f"cuda:{next(i for i, share in enumerate(shares) if share >= 1)}"}
    order = [int(device.removeprefix("cuda:")) for device in places.values()]
    assert order == sorted(order)
    taken = dict.fromkeys(places.values(), 0)
    for name, tensor in [*base_model.named_parameters(), *base_model.named_buffers()]:
        (part,) = [part for part in places if not part or f"{name}.".startswith(f"{part}.")]
        taken[places[part]] += tensor.numel() * tensor.element_size()
    for device, size in taken.items():
        assert size <= shares[int(device.removeprefix("cuda:"))] * weights
    assert all(part.count(".") == 1 for part in places if part.startswith("layers."))


def test_the_message_of_a_model_that_does_not_fit_states_the_sizes(tmp_path):
    config = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 16}
    AutoConfig.for_model("llama", **config).save_pretrained(tmp_path)
    free = {"cuda:0": 5 * 10**9, "cuda:1": 2 * 10**9}
    base_model = hollow_base_model(tmp_path, torch.bfloat16)
    assert refused(loading.place, "llama", base_model, free, 4096) == [
        "the weights of llama need 6.7 GB in bfloat16 and a forward pass over 4,096 tokens about "
        "1.7 GB, but the free memory is 5.0 GB on cuda:0, 2.0 GB on cuda:1; expected more, a "
        "smaller precision (bfloat16) or fewer tokens at a time"
    ]
    # What a forward pass needs is needed on every device.
    base_model = hollow_base_model(tmp_path)
    assert "13.5 GB" in refused(loading.place, "llama", base_model, {"cpu": 16 * 10**9}, 4096)[0]
    assert loading.place("x", base_model, {"cpu": 17 * 10**9}, 4096) == {"": "cpu"}


def test_a_model_larger_than_memory_is_refused_before_it_is_loaded(fetched, monkeypatch):
    def loaded(*_):
        raise AssertionError("weights were read")

    # What is free after loading holds the vectors of a pass.
    assert loading.HEADROOM >= extraction.BUFFER_BYTES

    monkeypatch.setattr(loading, "load_base_model", loaded)
    monkeypatch.setattr(loading, "free_memory", lambda: 500 * 10**6)
    loaded_in = partial(loading.load_model, fetched["gpt2"], CPU, "auto")
    assert "the weights of gpt2 need 1 MB in float32 and" in refused(loaded_in)[0]
    # The batch counts: the same model with room for a small one only.
    monkeypatch.setattr(loading, "free_memory", lambda: loading.HEADROOM + 20 * 10**6)
    assert "over 4,096 tokens about" in refused(loaded_in)[0]
    with pytest.raises(AssertionError, match="weights were read"):
        loaded_in(batch_tokens=256)
    # A longer sequence is a batch by itself, and another number of tokens at a time is no remedy.
    (line,) = refused(loaded_in, batch_tokens=256, longest=9000)
    assert "over 9,000 tokens (the longest sequence) about" in line
    assert "or shorter sequences (tokens.max" in line
    # One as long as a batch is no reason.
    (line,) = refused(loaded_in, batch_tokens=9000, longest=9000)
    assert "over 9,000 tokens about" in line
    # New weights are drawn with the head.
    monkeypatch.setattr(loading, "free_memory", lambda: loading.HEADROOM + 10**6)
    with pytest.raises(UserError, match="the weights of gpt2 need"):
        loading.check_room_to_draw(fetched["gpt2"], 256)


def test_the_devices_of_a_machine_with_two_gpus_are_found(monkeypatch):
    """Only the decisions are tested: torch answers as on such a machine."""
    assert loading.choose_device("cpu").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert loading.choose_device("auto").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: ((index + 1) * 10**9, 8 * 10**9))
    assert loading.choose_device("auto") == torch.device("cuda")
    assert loading.choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UserError, match="found cuda:2, but there is no such device"):
        loading.choose_device("cuda:2")
    assert loading.free_bytes(torch.device("cuda")) == {"cuda:0": 10**9, "cuda:1": 2 * 10**9}
    assert loading.free_bytes(torch.device("cuda:1")) == {"cuda:1": 2 * 10**9}


@pytest.mark.parametrize(
    ("device", "places"),
    [
        ("cpu", None),
        ("cuda", {"": "cuda:0"}),
        ("cuda:1", {"": "cuda:1"}),
        ("full", {"embed_tokens": "cuda:0", "layers.7": "cuda:1", "norm": "cuda:1"}),
    ],
)
def test_a_model_is_loaded_with_the_device_map_that_fits(deep, monkeypatch, device, places):
    """The test covers all steps before the weights are read, on a machine with two GPUs."""
    maps = []
    monkeypatch.setattr(
        loading, "load_base_model", lambda folder, dtype, places, *_: maps.append(places)
    )
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    base_model = hollow_base_model(deep)
    working = loading.working_bytes(base_model.config, 4096, torch.float32)
    room = int(base_model.get_memory_footprint() * (0.8 if device == "full" else 1))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (room + working, 0))
    loading.load_model(deep, torch.device(device.replace("full", "cuda")), "float32")
    (found,) = maps
    assert (found is None) == (places is None)
    if places:
        assert places.items() <= found.items()


def test_a_model_is_loaded_with_its_head_on_request(fetched, subtests):
    ids = torch.arange(6)[None]
    for name in NAMES:
        with subtests.test(name=name):
            whole = loading.load_model(fetched[name], CPU, "auto", head=True)
            base_model = loading.load_model(fetched[name], CPU, "auto")
            assert type(whole.base_model) is type(base_model)
            with torch.inference_mode():
                states = base_model(input_ids=ids).last_hidden_state
                expected = whole.get_output_embeddings()(states)
                torch.testing.assert_close(whole(input_ids=ids).logits, expected)


def test_missing_weights_are_refused(fetched, tmp_path):
    shutil.copytree(fetched["gpt2"], tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    save({k: v for k, v in weights.items() if not k.endswith("h.1.attn.c_proj.weight")}, tmp_path)
    with pytest.raises(UserError, match=r"lacks 1 weight of GPT2Model.*h\.1\.attn\.c_proj"):
        loading.load_model(tmp_path, CPU, "auto")
