"""Checkpoints of every form give the numbers of the plain one; what does not fit is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from attnlag.adjustments import extraction
from attnlag.errors import UserError
from attnlag.model import loading

CPU = torch.device("cpu")
NAMES = ["gpt2", "llama"]


def ragged(lengths: list[int]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 50257, n).astype(np.int32) for n in lengths]


def norms_of(model: torch.nn.Module, keep: str = "norms") -> np.ndarray:
    """Return the attention adjustments, or their norms, over three sequences."""
    adjustments = extraction.Adjustments(model, batch_tokens=64, keep=keep)
    return np.stack(adjustments.of(ragged([30, 7, 19]))["attention"])


def saved(source: Path, folder: Path, **options: object) -> Path:
    """Save a model again, in another form."""
    dtype = options.pop("dtype", torch.float32)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
    model.save_pretrained(folder, **options)
    return folder


# --- forms of checkpoints ------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_sharded_checkpoint(fetched: dict[str, Path], name: str, tmp_path: Path) -> None:
    saved(fetched[name], tmp_path / "sharded", max_shard_size="50KB")
    shards = list((tmp_path / "sharded").glob("*.safetensors"))
    assert len(shards) > 2
    sharded = norms_of(loading.load_model(tmp_path / "sharded", CPU, "auto"))
    np.testing.assert_array_equal(sharded, norms_of(loading.load_model(fetched[name], CPU, "auto")))
    shards[0].unlink()
    with pytest.raises((UserError, OSError)):
        loading.load_model(tmp_path / "sharded", CPU, "auto")


def test_tied_embeddings(tmp_path: Path, fetched: dict[str, Path]) -> None:
    """Stored once, and under the head's name too: the trunk is the same."""
    weights = load_file(fetched["gpt2"] / "model.safetensors")
    assert not any("lm_head" in key for key in weights)
    shutil.copytree(fetched["gpt2"], tmp_path / "twice")
    (key,) = [key for key in weights if key.endswith("wte.weight")]
    weights["lm_head.weight"] = weights[key].clone()
    save_file(weights, tmp_path / "twice" / "model.safetensors", metadata={"format": "pt"})
    once, twice = (
        loading.load_model(f, CPU, "auto") for f in (fetched["gpt2"], tmp_path / "twice")
    )
    np.testing.assert_array_equal(norms_of(once), norms_of(twice))
    assert not any("lm_head" in name for name, _ in twice.named_modules())


@pytest.mark.parametrize("shard_size", ["1GB", "50KB"])
@pytest.mark.parametrize("name", NAMES)
def test_a_bfloat16_checkpoint(
    fetched: dict[str, Path], name: str, shard_size: str, tmp_path: Path
) -> None:
    """On the CPU it runs in float32 with the numbers of the rounded weights."""
    half = saved(fetched[name], tmp_path / "half", dtype=torch.bfloat16, max_shard_size=shard_size)
    rounded = AutoModelForCausalLM.from_pretrained(half, dtype=torch.float32)
    rounded.save_pretrained(tmp_path / "rounded")
    model = loading.load_model(half, CPU, "auto")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    expected = norms_of(loading.load_model(tmp_path / "rounded", CPU, "float32"))
    np.testing.assert_array_equal(norms_of(model), expected)

    assert loading.stored_dtype(half) == torch.bfloat16
    assert loading.choose_dtype(half, torch.device("cuda"), "auto") == torch.bfloat16
    assert loading.choose_dtype(half, torch.device("cuda"), "float32") == torch.float32
    assert loading.choose_dtype(fetched[name], torch.device("cuda"), "auto") == torch.float32


def test_a_checkpoint_in_a_precision_of_its_own(tmp_path: Path) -> None:
    weights = {"a": torch.zeros(90, dtype=torch.int8), "b": torch.zeros(2), "c": torch.zeros(3)}
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="holds its weights as I8, expected a model in float32"):
        loading.stored_dtype(tmp_path)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", NAMES)
def test_norms_are_summed_in_float32(fetched: dict[str, Path], name: str, dtype: str) -> None:
    """The norms of a half-precision model against the float64 norms of its own vectors."""
    model = loading.load_model(fetched[name], CPU, dtype)
    vectors = norms_of(model, "vectors").astype(np.float64)
    assert (vectors.astype(np.float32) == vectors).all()
    norms = norms_of(model)
    assert norms.dtype == np.float32
    np.testing.assert_allclose(norms, np.linalg.norm(vectors, axis=-1), rtol=1e-6)
    in_half = torch.tensor(vectors, dtype=getattr(torch, dtype)).norm(dim=-1).double().numpy()
    assert np.abs(in_half / norms - 1).max() > 1e-5


# --- several devices -----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_map_of_devices_changes_no_number(fetched: dict[str, Path], name: str) -> None:
    """accelerate's own path, every part of the model dispatched to the one device there is."""
    from accelerate import dispatch_model

    plain = loading.load_model(fetched[name], CPU, "auto")
    expected = norms_of(plain)
    whole = loading.load_trunk(fetched[name], torch.float32, {"": "cpu"})
    np.testing.assert_array_equal(norms_of(whole), expected)

    parts = loading.pieces(plain, torch.float32)
    places = dict.fromkeys(parts, "cpu")
    mapped = loading.load_trunk(fetched[name], torch.float32, places)
    np.testing.assert_array_equal(norms_of(mapped), expected)
    dispatched = dispatch_model(mapped, places, force_hooks=True)
    block = (dispatched.h if name == "gpt2" else dispatched.layers)[1]
    assert torch.device(block._hf_hook.execution_device) == CPU
    np.testing.assert_array_equal(norms_of(dispatched), expected)


@pytest.mark.parametrize("name", NAMES)
def test_pieces_are_the_whole_trunk_in_order(fetched: dict[str, Path], name: str) -> None:
    model = loading.load_model(fetched[name], CPU, "auto")
    held = [*model.parameters(), *model.buffers()]
    hollow = loading.hollow_trunk(fetched[name])
    assert {p.device.type for p in hollow.parameters()} == {"meta"}
    parts = loading.pieces(hollow, torch.float32)
    assert sum(parts.values()) == sum(tensor.numel() * tensor.element_size() for tensor in held)
    blocks = ["h.0", "h.1"] if name == "gpt2" else ["layers.0", "layers.1", "layers.2"]
    assert [part for part in parts if part[-1].isdigit()] == blocks
    assert all(not any(p.startswith(f"{block}.") for p in parts) for block in blocks)
    # Every parameter is in exactly one part.
    for parameter, _ in model.named_parameters():
        assert len([part for part in parts if f"{parameter}.".startswith(f"{part}.")]) == 1
    weights = sum(p.numel() for p in model.parameters())
    halves = loading.pieces(hollow, torch.bfloat16)
    assert sum(parts.values()) - sum(halves.values()) >= 2 * weights


def test_pieces_count_what_is_tied_once() -> None:
    shared = torch.nn.Linear(4, 4, bias=False)
    model = torch.nn.Sequential(shared, torch.nn.Linear(4, 1), shared)
    model[1].weight = torch.nn.Parameter(model[1].weight.detach())
    assert loading.pieces(model, torch.float32) == {"0": 64, "1": 20}
    tied = torch.nn.ModuleDict({"a": torch.nn.Linear(4, 4), "b": torch.nn.Linear(4, 4)})
    tied["b"].weight = tied["a"].weight
    assert loading.pieces(tied, torch.bfloat16) == {"a": 40, "b": 8}


def test_a_model_is_spread_only_if_no_device_holds_it() -> None:
    sizes = {"wte": 3, "h.0": 4, "h.1": 4, "ln_f": 1}
    assert loading.spread(sizes, {"cpu": 12}) == {"": "cpu"}
    assert loading.spread(sizes, {"cpu": 11}) is None
    assert loading.spread(sizes, {"cuda:0": 12, "cuda:1": 99}) == {"": "cuda:0"}
    assert loading.spread(sizes, {"cuda:0": 8, "cuda:1": 12}) == {"": "cuda:1"}
    assert loading.spread(sizes, {"cuda:0": 8, "cuda:1": 5}) == {
        "wte": "cuda:0",
        "h.0": "cuda:0",
        "h.1": "cuda:1",
        "ln_f": "cuda:1",
    }
    # Room enough in all, but not for whole blocks.
    assert loading.spread(sizes, {"cuda:0": 6, "cuda:1": 6}) is None
    # A device that is full already is passed over.
    assert set((loading.spread(sizes, {"a": -5, "b": 7, "c": 6}) or {}).values()) == {"b", "c"}


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.lists(st.integers(-2, 30), min_size=1, max_size=5),
)
def test_no_device_gets_more_than_it_holds(sizes: list[int], room: list[int]) -> None:
    parts = {f"h.{i}": size for i, size in enumerate(sizes)}
    free = {f"cuda:{i}": size for i, size in enumerate(room)}
    places = loading.spread(parts, free)
    if places is None:
        assert max(room) < sum(sizes)
        return
    if "" in places:
        assert sum(sizes) <= free[places[""]]
        return
    assert list(places) == list(parts)
    order = [int(device.removeprefix("cuda:")) for device in places.values()]
    assert order == sorted(order)
    for device, most in free.items():
        assert sum(parts[part] for part, at in places.items() if at == device) <= max(most, 0)


# --- what does not fit ---------------------------------------------------------------------


def refused(free: dict[str, int], dtype: torch.dtype = torch.float32) -> str:
    sizes = {"wte": 3 * 10**9, "h.0": 102 * 10**8}
    with pytest.raises(UserError) as caught:
        loading.place("llama", sizes, 10**9, free, dtype, 4096)
    return str(caught.value)


def test_the_message_has_the_sizes() -> None:
    assert refused({"cpu": 7_900_000_000}) == (
        "the weights of llama need 13.2 GB in float32 and a forward pass over 4,096 tokens about "
        "1.0 GB, but 7.9 GB of memory are free; expected a smaller dtype (extraction.dtype: "
        "bfloat16), a smaller extraction.batch_tokens, more memory or a GPU"
    )
    assert refused({"cuda:0": 11 * 10**9, "cuda:1": 10**9}, torch.bfloat16) == (
        "the weights of llama need 13.2 GB in bfloat16 and a forward pass over 4,096 tokens about "
        "1.0 GB, but cuda:0 has 11.0 GB free, cuda:1 has 1.0 GB free; expected a smaller "
        "extraction.batch_tokens, more GPUs or extraction.device: cpu"
    )
    # What a forward pass needs is needed on every device.
    assert "13.2 GB" in refused({"cpu": 13_900_000_000})
    assert loading.place("x", {"wte": 10**9}, 10**9, {"cpu": 2 * 10**9}, torch.float32, 1) == {
        "": "cpu"
    }


def test_a_model_larger_than_memory_is_refused_before_it_is_loaded(
    fetched: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*_: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(loading, "load_trunk", loaded)
    monkeypatch.setattr(loading, "free_memory", lambda: 500 * 10**6)
    with pytest.raises(UserError, match=r"the weights of gpt2 need 7 MB in float32 .* 500 MB of"):
        loading.load_model(fetched["gpt2"], CPU, "auto")
    # The batch counts: the same model with room for a small one only.
    monkeypatch.setattr(loading, "free_memory", lambda: loading.HEADROOM + 20 * 10**6)
    with pytest.raises(UserError, match="over 4,096 tokens"):
        loading.load_model(fetched["gpt2"], CPU, "auto")
    with pytest.raises(AssertionError, match="weights were read"):
        loading.load_model(fetched["gpt2"], CPU, "auto", batch_tokens=256)


def test_headroom_holds_the_vectors_that_wait() -> None:
    assert loading.HEADROOM >= extraction.BUFFER_BYTES


def test_devices_of_a_machine_with_two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decisions alone: torch's answers are those of such a machine."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: ((index + 1) * 10**9, 8 * 10**9))
    assert loading.choose_device("auto") == torch.device("cuda")
    assert loading.choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UserError, match="found cuda:2, expected one of cuda:0, cuda:1"):
        loading.choose_device("cuda:2")
    assert loading.free_bytes(torch.device("cuda")) == {"cuda:0": 10**9, "cuda:1": 2 * 10**9}
    assert loading.free_bytes(torch.device("cuda:1")) == {"cuda:1": 2 * 10**9}


@pytest.mark.parametrize(
    ("device", "places"),
    [
        ("cpu", None),
        ("cuda", {"": "cuda:0"}),
        ("cuda:1", {"": "cuda:1"}),
        ("full", {"wte": "cuda:0", "ln_f": "cuda:1"}),
    ],
)
def test_the_map_that_a_model_is_loaded_with(
    fetched: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    places: dict[str, str] | None,
) -> None:
    """Up to the call that reads the weights, on a machine with two GPUs."""
    maps = []
    monkeypatch.setattr(
        loading, "load_trunk", lambda folder, dtype, places, _attention: maps.append(places)
    )
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    working = loading.working_bytes(
        loading.hollow_trunk(fetched["gpt2"]).config, 4096, torch.float32
    )
    sizes = loading.pieces(loading.hollow_trunk(fetched["gpt2"]), torch.float32)
    room = sum(sizes.values()) - (1 if device == "full" else 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (room + working, 0))
    loading.load_model(fetched["gpt2"], torch.device(device.replace("full", "cuda")), "auto")
    (found,) = maps
    assert (found is None) == (places is None)
    if places:
        assert places.items() <= found.items()
