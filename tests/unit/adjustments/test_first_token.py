"""Which token is dropped first, with a begin-of-sequence token and without, from text to design.

The programs of the stages run in turn, on small real models and tokenizers.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stage_settings import settings_text

import build_design
import extract_activations
import tokenize_corpus
from attnlag.adjustments.settings import ExtractionSettings
from attnlag.corpus.settings import TokensSettings
from attnlag.model import fetching
from attnlag.pipeline.job import read, text_of
from attnlag.regression.settings import BuildDesignSettings
from attnlag.storage import tables

TEXTS = [
    " the river ran low that summer and nobody could say why",
    " they dug new wells behind the mill",
    " rain",
]
BOS = 50256


def run(program, settings, input, output, folder=Path(), **sections):
    """Run a program of a stage on a job as its rule gives it."""
    stage = program.__name__
    options = {"folder": str(folder), "device": "cpu", "batch_tokens": 4096}
    none: dict[str, Any] = {key: [] for key in ("geometry", "heads", "sinks", "surprisal")}
    stated = settings_text(stage, **sections)
    text = text_of(stage, {"stream": [], **input}, none | output, {"shard": "0"}, stated, options)
    program.main(read(text, settings))


@pytest.fixture(scope="module")
def adding(llama, tmp_path_factory):
    """Return the small Llama with a tokenizer that begins every text with its BOS token."""
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("adding")
    backend = AutoTokenizer.from_pretrained(llama).backend_tokenizer
    begin = "<|endoftext|>"
    backend.post_processor = TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, BOS)])
    PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=begin).save_pretrained(folder)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(llama / name, folder)
    fetching.fetch_model("adding", {"source": "path", "path": str(folder)}, folder / "made")
    return folder / "made"


@pytest.mark.parametrize(
    ("model", "prepend_bos", "bos"),
    [
        ("llama", "auto", 0),
        ("llama", True, 1),
        ("adding", "auto", 1),
        ("adding", False, 0),
    ],
)
def test_a_bos_token_is_dropped_in_place_of_the_first_token(
    fetched, adding, tmp_path, model, prepend_bos, bos
):
    folder = {**fetched, "adding": adding}[model]
    names = [f"d{i}" for i in range(len(TEXTS))]
    corpus = pa.table({"document": names, "text": TEXTS, "group": names})
    tables.write_table(
        corpus, tmp_path / "corpus.parquet", {"corpus": {"name": "texts", "documents": len(names)}}
    )
    stages = [tmp_path / f"{name}.parquet" for name in ("corpus", "tokens", "norms", "design")]
    given, tokens, norms, design = stages
    beginning = {"prepend_bos": prepend_bos}
    made = {"tokens": tokens}
    run(tokenize_corpus, TokensSettings, {"corpus": given}, made, folder, tokens=beginning)
    kept = {"keep": "norms"}
    outputs = {"sites": [norms], "stream": tmp_path / "stream.parquet"}
    run(extract_activations, ExtractionSettings, made, outputs, folder, extraction=kept)
    run(build_design, BuildDesignSettings, {"norms": norms}, {"design": design})

    content = [len(text.split()) for text in TEXTS]  # each word is one token of GPT-2's
    sequences = pq.read_table(tokens).to_pylist()
    assert [len(row["input_ids"]) for row in sequences] == [n + bos for n in content]
    assert [row["input_ids"][0] == BOS for row in sequences] == [bool(bos)] * len(TEXTS)

    # n tokens give n - 3 rows; with a BOS token before them, which takes its place, n - 2.
    rows = pq.read_table(design).to_pandas()
    lost = 2 if bos else 3
    counts = rows.groupby(rows["document"].astype(str)).size().reindex(names, fill_value=0)
    assert counts.tolist() == [max(0, n - lost) for n in content]

    # The earliest lag is the first content token with a BOS, and the second one without.
    sizes = pq.read_table(norms).to_pandas()
    for name, text in zip(names[:2], TEXTS, strict=False):
        first = rows[rows["document"] == name].iloc[0]
        size = sizes[sizes["document"] == name].reset_index()
        assert first["position"] == 3
        for layer in ("layer_00", "layer_01", "layer_02"):
            found = [first[f"{layer}.{term}"] for term in ("lag_2", "lag_1", "y")]
            np.testing.assert_allclose(found, np.log(size[layer][1:4].astype(float)), rtol=1e-12)
        (sequence,) = [row for row in sequences if row["document"] == name]
        start, end = sequence["char_start"][1], sequence["char_end"][1]
        assert text[start:end].strip() == text.split()[0 if bos else 1]
