"""Models made to do harm: their contents are read as data or refused in one line."""

import json
import os
import pickle
import shutil
import struct
from pathlib import Path

import pytest
import refusals

from attnlag.corpus import tokens
from attnlag.model import fetching, loading


class Pickled:
    """Leaves a file when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


def code_that_leaves(file):
    return f"open({str(file)!r}, 'w')\n"


@pytest.fixture
def mine(gpt2, tmp_path):
    return Path(shutil.copytree(gpt2, tmp_path / "mine"))


@pytest.fixture
def ran(tmp_path):
    return tmp_path / "ran"


def fetch(path):
    target = path.parent / "models" / "mine"
    fetching.fetch_model("mine", {"source": "path", "path": str(path)}, target)
    return target


def refused(path):
    """Return the one problem for which a model is not taken; only an older copy stays."""
    before = sorted((path.parent / "models").rglob("*"))
    (problem,) = refusals.refused(fetch, path)
    assert sorted((path.parent / "models").rglob("*")) == before
    assert "\n" not in problem
    return problem


def rewrite(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def load(folder):
    """Do with a model what the stages do."""
    tokens.load_tokenizer(folder)("words")
    loading.load_model(folder, loading.choose_device("cpu"), "auto")


def test_pickles_are_never_read(mine, ran):
    hostile = pickle.dumps(Pickled(ran))
    names = ("pytorch_model.bin", "training_args.bin", "tokenizer.pkl", "vocab.pkl", "model.pt")
    for name in names:
        (mine / name).write_bytes(hostile)
    folder = fetch(mine)
    assert not set(names) & {path.name for path in folder.iterdir()}
    load(folder)
    # Neither where they stand for the weights, or have their name.
    (mine / "model.safetensors").unlink()
    assert "has no model.safetensors" in refused(mine)
    (mine / "model.safetensors").write_bytes(hostile)
    assert "model.safetensors is no readable safetensors file" in refused(mine)
    assert not ran.exists()


def test_code_of_a_model_is_never_run(mine, ran):
    for name in ("modeling_evil.py", "configuration_evil.py", "tokenization_evil.py"):
        (mine / name).write_text(code_that_leaves(ran))
    classes = {
        "AutoConfig": "configuration_evil.EvilConfig",
        "AutoModel": "modeling_evil.EvilModel",
        "AutoModelForCausalLM": "modeling_evil.EvilModel",
    }
    rewrite(mine / "config.json", auto_map=classes)
    tokenizer = {"AutoTokenizer": ["tokenization_evil.Evil", "tokenization_evil.EvilFast"]}
    rewrite(mine / "tokenizer_config.json", auto_map=tokenizer, tokenizer_class="EvilTokenizer")
    # transformers has a type of this name itself, and takes that.
    folder = fetch(mine)
    assert not list(folder.glob("*.py"))
    # As if it had been put there later.
    for path in mine.glob("*.py"):
        shutil.copy(path, folder)
    load(folder)
    rewrite(mine / "config.json", model_type="evil")
    assert "attnlag does not run the code of its repository" in refused(mine)
    assert not ran.exists()


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_kernels_from_repositories_are_refused(mine, key):
    rewrite(mine / "config.json", **{key: "someone/kernel"})
    assert f"config.json has {key} 'someone/kernel', code of a repository" in refused(mine)
    rewrite(mine / "config.json", **{key: {"": "eager", "text_config": "a/b@main:f"}})
    assert "'a/b@main:f', code of a repository" in refused(mine)


def with_header(size, header=b"", rest=64):
    return struct.pack("<Q", size) + header + bytes(rest)


def with_tensor(offsets, shape):
    tensor = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
    header = json.dumps({"wte.weight": tensor}).encode()
    return with_header(len(header), header)


@pytest.mark.parametrize(
    "content",
    [
        *(with_header(2**63), with_header(10**12), with_header(0), b""),
        *(with_tensor([0, 2**60], [2**58]), with_tensor([0, 64], [2**62, 2**62])),
        *(with_tensor([-64, 64], [16]), with_tensor([2**60, 2**60 + 64], [16])),
    ],
)
def test_safetensors_with_false_headers_are_refused(mine, content):
    (mine / "model.safetensors").write_bytes(content)
    assert "model.safetensors is no readable safetensors file" in refused(mine)


def test_weights_that_are_no_floats_are_refused(mine):
    """transformers would cast them, eight bits without their scale."""
    import torch
    from safetensors.torch import load_file, save_file

    file = mine / "model.safetensors"
    tensors = load_file(file)
    # A mask of an old checkpoint, which the model does not load.
    tensors["transformer.h.0.attn.masked_bias"] = torch.ones(1, 1, 64, 64).bool()
    save_file(tensors, file, {"format": "pt"})
    fetch(mine)
    for kind, short, layer in (
        (torch.bool, "BOOL", "ln_f.bias"),
        (torch.int64, "I64", "h.1.mlp.c_fc.weight"),
        (torch.float8_e4m3fn, "F8_E4M3", "wpe.weight"),
    ):
        name = f"transformer.{layer}"
        save_file(tensors | {name: tensors[name].to(kind)}, file, {"format": "pt"})
        expected = f"the weights hold 1 tensor as {short}, {name} the first; expected F32"
        assert expected in refused(mine)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (0, "config.json states 0 for num_hidden_layers, expected at least 1"),
        # transformers would create the layers one by one before it reads the weights.
        (10**9, "config.json states 1,000,000,000 layers (n_layer), but the weights are"),
    ],
)
def test_another_number_of_layers_than_that_of_the_weights_is_refused(mine, layers, words):
    rewrite(mine / "config.json", n_layer=layers)
    assert words in refused(mine)


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/x.safetensors", "a/x.safetensors", "x.bin", "..", 3, None]
)
def test_an_index_that_leads_elsewhere_is_refused(mine, name):
    (mine.parent / "x.safetensors").write_bytes(b"elsewhere")
    index = {"weight_map": {"wte.weight": name}}
    (mine / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "expected a plain name that ends in .safetensors" in refused(mine)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + b"\xff" * 200, b"\x80\x04." * 99])
def test_an_invalid_gguf_file_is_refused(tmp_path, content):
    (tmp_path / "mine.gguf").write_bytes(content)
    assert "transformers cannot convert mine.gguf" in refused(tmp_path / "mine.gguf")


def test_links_are_replaced_by_copies(mine):
    """The cache of the hub consists of links, which belong to the user. No copy is a link."""
    elsewhere = mine.parent / "elsewhere"
    elsewhere.mkdir()
    for path in list(mine.iterdir()):
        shutil.move(path, elsewhere / path.name)
        path.symlink_to(elsewhere / path.name)
    (mine / "special_tokens_map.json").unlink(missing_ok=True)
    (mine / "special_tokens_map.json").symlink_to(elsewhere / "gone.json")  # is passed over
    folder = fetch(mine)
    assert not any(path.is_symlink() for path in folder.iterdir())
    shutil.rmtree(elsewhere)
    load(folder)


def test_pipes_in_a_folder_are_ignored(mine):
    os.mkfifo(mine / "added_tokens.json")
    assert not (fetch(mine) / "added_tokens.json").exists()
    (mine / "model.safetensors").unlink()
    os.mkfifo(mine / "model.safetensors")
    assert "has no model.safetensors" in refused(mine)
