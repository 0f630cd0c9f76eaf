"""Models made to do harm: their contents are read as data or refused in one line."""

import json
import os
import pickle
import shutil
import struct

import pytest
from local_models import from_path, problem_of, rewrite

from attnlag.corpus import tokens
from attnlag.model import loading


class Pickled:
    """Leaves a file when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


@pytest.fixture
def ran(tmp_path):
    return tmp_path / "ran"


def load(folder):
    """Do with a model what the stages do."""
    tokens.load_tokenizer(folder)("words")
    loading.load_model(folder, loading.choose_device("cpu"), "auto")


def test_pickles_are_never_read(mine, target, ran):
    hostile = pickle.dumps(Pickled(ran))
    names = ("pytorch_model.bin", "training_args.bin", "tokenizer.pkl", "vocab.pkl", "model.pt")
    for name in names:
        (mine / name).write_bytes(hostile)
    from_path(mine, target)
    assert not set(names) & {path.name for path in target.iterdir()}
    load(target)
    # Neither where they stand for the weights, or have their name.
    (mine / "model.safetensors").unlink()
    assert "has no model.safetensors" in problem_of(mine, target)
    (mine / "model.safetensors").write_bytes(hostile)
    assert "model.safetensors is no readable safetensors file" in problem_of(mine, target)
    assert not ran.exists()


def test_code_of_a_model_is_never_run(mine, target, ran):
    for name in ("modeling_evil.py", "configuration_evil.py", "tokenization_evil.py"):
        (mine / name).write_text(f"open({str(ran)!r}, 'w')\n")
    classes = {
        "AutoConfig": "configuration_evil.EvilConfig",
        "AutoModel": "modeling_evil.EvilModel",
        "AutoModelForCausalLM": "modeling_evil.EvilModel",
    }
    rewrite(mine / "config.json", auto_map=classes)
    tokenizer = {"AutoTokenizer": ["tokenization_evil.Evil", "tokenization_evil.EvilFast"]}
    rewrite(mine / "tokenizer_config.json", auto_map=tokenizer, tokenizer_class="EvilTokenizer")
    # transformers has a type of this name itself, and takes that.
    from_path(mine, target)
    assert not list(target.glob("*.py"))
    # As if it had been put there later.
    for path in mine.glob("*.py"):
        shutil.copy(path, target)
    load(target)
    rewrite(mine / "config.json", model_type="evil")
    assert "attnlag does not run the code of its repository" in problem_of(mine, target)
    assert not ran.exists()


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
def test_safetensors_with_false_headers_are_refused(mine, target, content):
    (mine / "model.safetensors").write_bytes(content)
    assert "model.safetensors is no readable safetensors file" in problem_of(mine, target)


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/x.safetensors", "a/x.safetensors", "x.bin", "..", 3, None]
)
def test_an_index_that_leads_elsewhere_is_refused(mine, target, name):
    (mine.parent / "x.safetensors").write_bytes(b"elsewhere")
    index = {"weight_map": {"wte.weight": name}}
    (mine / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "expected a plain name that ends in .safetensors" in problem_of(mine, target)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + b"\xff" * 200, b"\x80\x04." * 99])
def test_an_invalid_gguf_file_is_refused(tmp_path, target, content):
    (tmp_path / "mine.gguf").write_bytes(content)
    assert "cannot convert mine.gguf" in problem_of(tmp_path / "mine.gguf", target)


def test_links_are_replaced_by_copies(mine, target):
    """The cache of the hub consists of links, which belong to the user. No copy is a link."""
    elsewhere = mine.parent / "elsewhere"
    mine.rename(elsewhere)
    mine.mkdir()
    for path in elsewhere.iterdir():
        (mine / path.name).symlink_to(path)
    # A link to nothing, and a pipe, are passed over.
    (mine / "special_tokens_map.json").unlink(missing_ok=True)
    (mine / "special_tokens_map.json").symlink_to(elsewhere / "gone.json")
    os.mkfifo(mine / "added_tokens.json")
    from_path(mine, target)
    assert not (target / "added_tokens.json").exists()
    assert not any(path.is_symlink() for path in target.iterdir())
    shutil.rmtree(elsewhere)
    load(target)
    (mine / "model.safetensors").unlink()
    os.mkfifo(mine / "model.safetensors")
    assert "has no model.safetensors" in problem_of(mine, target)
