"""Models that cannot be run print the lines of tests/workflow/errors.md."""

import json
from collections.abc import Callable

import pytest
import torch
from bad_input import Cases, Jobs, Row, Run, each_row, try_row
from projects import Project
from safetensors.torch import load_file, save_file

SOURCE = "data/models/tiny/source.json"
TOKENS = "results/tiny/small/tokens/0000.parquet"
WEIGHTS = "mine/model.safetensors"

FETCHED = Jobs(("fetch_model",))
TOKENIZED = Jobs(("fetch_model", "prepare_corpus", "tokenize_corpus"))
EXTRACTED = Jobs(("fetch_model", "tokenize_corpus", "extract_activations"))

# What comes before the job that fails may be made anew.
CASES = Cases("Models", made_anew=r"data/models/tiny/|results/(corpora|tiny/small/tokens)/")


def state_model(project: Project, **settings) -> None:
    project.write_config(models={"tiny": {"source": "path", "path": "mine", **settings}})


def change_config(project: Project, **changes) -> None:
    path = project.folder / "mine/config.json"
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def change_tensor(project: Project, end: str, change: Callable[[torch.Tensor], object]) -> None:
    """Change the one tensor whose name ends so, in place; where that gives None, take it out."""
    path = project.folder / WEIGHTS
    tensors = load_file(path)
    (name,) = [name for name in tensors if name.endswith(end)]
    changed = change(tensors.pop(name))
    if isinstance(changed, torch.Tensor):
        tensors[name] = changed
    save_file(tensors, path, metadata={"format": "pt"})


def extracted_anew(project: Project, **settings) -> Jobs:
    project.write_config(extraction={"dtype": "float32", **settings})
    return Jobs(("extract_activations",))


# --- a folder ------------------------------------------------------------------------------


@CASES.of("a config.json without a type")
def _(project: Project):
    change_config(project, model_type=None)
    return FETCHED


@CASES.of("an encoder")
def _(project: Project):
    change_config(project, model_type="bert")
    return FETCHED


@CASES.of("sizes that do not go together")
def _(project: Project):
    change_config(project, n_head=5)
    return FETCHED


# --- weights -------------------------------------------------------------------------------


@CASES.of("weights that are cut off", whole=True)
def _(project: Project):
    content = (project.folder / WEIGHTS).read_bytes()
    (project.folder / WEIGHTS).write_bytes(content[:-100])
    return Run([SOURCE])


@CASES.of("a tensor that is missing, another of the wrong shape")
def _(project: Project):
    change_tensor(project, "h.1.attn.c_proj.weight", lambda tensor: None)
    change_tensor(project, "h.0.ln_1.weight", lambda tensor: tensor[:5].clone())
    return FETCHED


@CASES.of("weights that are not finite")
def _(project: Project):
    change_tensor(project, "h.1.mlp.c_fc.weight", lambda tensor: tensor.fill_(float("nan")))
    return EXTRACTED


# --- a hub, a package ----------------------------------------------------------------------


@CASES.of("a hub that is out of reach", whole=True)
def _(project: Project):
    model = {"source": "hub", "repository": "small/empty", "revision": "main"}
    project.write_config(models={"tiny": model})
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(project.folder / "cache")}
    return Run([SOURCE], {**nowhere, "NO_PROXY": "127.0.0.1,localhost"})


# --- what was fetched ----------------------------------------------------------------------


@CASES.of("a tokenizer that knows more tokens than the model")
def _(project: Project):
    change_config(project, vocab_size=300)
    change_tensor(project, "wte.weight", lambda tensor: tensor[:300].clone())
    return TOKENIZED


@CASES.of("a tokenizer that cannot be read")
def _(project: Project):
    (project.folder / "mine/tokenizer.json").write_text("{}")
    return TOKENIZED


@CASES.of("sequences longer than the model has positions for")
def _(project: Project):
    path = project.folder / "data/small.jsonl"
    path.write_text(path.read_text().replace('"}', f'{" and so on" * 30}"}}'))
    project.write_config(tokens={"max_length": 1000})
    return TOKENIZED


@CASES.of("a fetched model that lost a file, another changed since")
def _(project: Project):
    folder = project.folder / "data/models/tiny"
    (folder / "generation_config.json").unlink()
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    return extracted_anew(project)


@CASES.of("a model and a batch larger than memory")
def _(project: Project):
    return extracted_anew(project, batch_tokens=10**9)


@CASES.of("modules that do not add up to the stream")
def _(project: Project):
    state_model(project, modules={"blocks": "h", "attention": "ln_1", "mlp": "mlp"})
    return EXTRACTED


# --- the disk ------------------------------------------------------------------------------


@CASES.of("a disk that is full while a model is fetched", whole=True)
def _(project: Project):
    return Run([SOURCE], mount="mount -t tmpfs -o size=64k tmpfs data/models")


@CASES.of("a disk that is full while weights are saved", whole=True)
def _(project: Project):
    project.write_config(models={"twin": {"source": "random", "of": "tiny"}})
    return Run(
        ["data/models/twin/source.json"], mount="mount -t tmpfs -o size=12m tmpfs data/models"
    )


@CASES.of("results that may only be read", whole=True)
def _(project: Project):
    # What is there, and protected, Snakemake itself refuses to make anew.
    (project.folder / TOKENS).unlink()
    return Run([TOKENS], mount="mount --bind results results && mount -o remount,bind,ro results")


@each_row(CASES)
def test_a_bad_model_prints_the_documented_lines(row: Row, request: pytest.FixtureRequest):
    try_row(row, CASES, request)
