"""Adjustments that cannot be regressed print the lines of tests/workflow/errors.md."""

import hashlib
import json
import os
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from bad_input import Cases, Jobs, Row, Run, each_row, try_row
from projects import Project
from safetensors.torch import load_file, save_file

# Up to the tables of a regression, what fails is like what does not.
CASES = Cases(
    "Numbers",
    made_anew=r"results/(explorer.html|tiny/small/(causal|attention/(figures|heads|geometry|notebook))/)",
)

ATTENTION = "results/tiny/small/attention"
NORMS = f"{ATTENTION}/norms/0000.parquet"
DESIGN = f"{ATTENTION}/notebook/design/0000.parquet"

EXTRACTED = Jobs(("extract_activations",))
DESIGNED = Jobs(("build_design",))
FITTED = Jobs(("build_design", "accumulate_crossproducts", "fit_regression"))
CHECKED = Jobs((*FITTED.stages, "check_fits"))


def change_norms(project: Project, change: Callable[[np.ndarray], object], layer: int = 1) -> None:
    path = project.folder / NORMS
    table = pq.read_table(path)
    name = f"layer_{layer:02d}"
    norms = table[name].to_numpy().copy()
    change(norms)
    table = table.set_column(table.schema.get_field_index(name), name, pa.array(norms))
    pq.write_table(table, path)


def keep_documents(project: Project, *documents: str) -> None:
    path = project.folder / NORMS
    table = pq.read_table(path)
    pq.write_table(table.filter(np.isin(table["document"].to_pylist(), documents)), path)


def extract_from(project: Project, weight: float, **settings) -> Jobs:
    """Extract anew, from a model whose last layer's attention ends in weights as large as this."""
    path = project.folder / "data/models/tiny/model.safetensors"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    tensors = load_file(path)
    for name in ("weight", "bias"):
        tensors[f"transformer.h.1.attn.c_proj.{name}"].fill_(weight)
    save_file(tensors, path, metadata={"format": "pt"})
    # So that it passes for what was fetched.
    os.utime(path, ns=times)
    source = path.with_name("source.json")
    times = source.stat().st_atime_ns, source.stat().st_mtime_ns
    record = json.loads(source.read_text())
    record["files"][path.name]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    source.write_text(json.dumps(record))
    os.utime(source, ns=times)
    project.write_config(extraction=settings)
    return EXTRACTED


def damage(project: Project, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change the bytes of a result, and not its time."""
    path = project.folder / name
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(change(path.read_bytes()))
    os.utime(path, ns=times)


# --- adjustments and their norms -----------------------------------------------------------


@CASES.of("adjustments that are infinite")
def _(project: Project):
    return extract_from(project, torch.finfo(torch.float32).max, dtype="float32")


@CASES.of("adjustments beyond the range of float16")
def _(project: Project):
    return extract_from(project, 65504, dtype="float16")


@CASES.of("adjustments too large to be stored as float16")
def _(project: Project):
    return extract_from(project, 1e6, storage_dtype="float16")


@CASES.of("norms that are zero or not finite")
def _(project: Project):
    change_norms(project, lambda norms: np.put(norms, [30, 31, 200], [0, np.nan, np.inf]))
    return DESIGNED


@CASES.of("a layer whose norms vary by rounding only")
def _(project: Project):
    noise = np.random.default_rng(0).normal(8, 0.004, 10**4)
    change_norms(project, lambda norms: np.copyto(norms, noise[: len(norms)]))
    return CHECKED


# --- rows and columns ----------------------------------------------------------------------


@CASES.of("fewer rows than columns")
def _(project: Project):
    change_norms(project, lambda norms: norms[5:].fill(np.nan))
    return CHECKED


@CASES.of("one document only")
def _(project: Project):
    keep_documents(project, "doc-3")
    return FITTED


@CASES.of("errors clustered by fewer than six groups")
def _(project: Project):
    project.write_config(inference={"cluster": "group"})
    return FITTED


@CASES.of("a document all of whose tokens are dropped")
def _(project: Project):
    project.write_config(norms={"drop_first": 21})
    return DESIGNED


@CASES.of("documents all of whose tokens are dropped")
def _(project: Project):
    project.write_config(norms={"drop_first": 1000})
    return FITTED


# --- results that are damaged --------------------------------------------------------------


@CASES.of("norms that are cut off", whole=True)
def _(project: Project):
    damage(project, NORMS, lambda content: content[:-100])
    project.write_config(norms={"drop_first": 2})
    return Run([DESIGN])


@CASES.of("a design that is damaged within")
def _(project: Project):
    damage(project, DESIGN, lambda content: content[:9] + bytes(2000) + content[2009:])
    return Jobs(("accumulate_crossproducts",))


@each_row(CASES)
def test_bad_numbers_print_the_documented_lines(row: Row, request: pytest.FixtureRequest):
    try_row(row, CASES, request)
