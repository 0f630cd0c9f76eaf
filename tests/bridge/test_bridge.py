"""A real `TransformerBridge` in all of the library: `make test-bridge`."""

import shutil

import numpy as np
import pandas as pd
import pytest
from models import MODELS
from projects import WORDS, save_model
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer

import attnlag

TYPES = ["gpt2", "llama", "gemma2", "bloom"]
TEXTS = [" ".join(WORDS), " ".join(WORDS[10:])]
QUANTITIES = ["vectors", "geometry", "heads", "surprisal", "readout"]


@pytest.fixture(params=TYPES)
def pair(request, gpt2_tokenizer, tmp_path, monkeypatch):
    """Return a bridge, the same model without it, and the tokenizer."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    settings = {**MODELS[request.param][1], "vocab_size": 8281}
    save_model(tmp_path, request.param, **settings)
    shutil.copytree(gpt2_tokenizer, tmp_path, dirs_exist_ok=True)
    bridge = TransformerBridge.boot_transformers(str(tmp_path), device="cpu").eval()
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    return bridge, plain, AutoTokenizer.from_pretrained(tmp_path)


def test_a_bridge_has_the_numbers_of_the_model_in_it(pair, subtests):
    bridge, plain, tokenizer = pair
    names = attnlag.check(bridge)
    assert (names["unexplained"] == "").all()
    assert names["module"].str.startswith("blocks.").all()
    found, expected = (
        attnlag.measure(
            model, tokenizer, TEXTS, sites=["attention", "mlp"], quantities=QUANTITIES,
            progress=False,
        )
        for model in (bridge, plain)
    )  # fmt: skip
    for quantity in ("norms", "geometry", "heads", "readout"):
        with subtests.test(quantity=quantity):
            left, right = (
                measured.table(quantity).drop(columns="rank", errors="ignore")
                for measured in (found, expected)
            )
            pd.testing.assert_frame_equal(left, right, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.tokens["surprisal"], expected.tokens["surprisal"], rtol=1e-5)
    # A bridge adds in another order: two logits that differ by rounding alone then change places.
    np.testing.assert_allclose(found.tokens["rank"], expected.tokens["rank"], rtol=0, atol=3)


def test_interventions_on_a_bridge_are_those_on_the_model_in_it(pair):
    bridge, plain, tokenizer = pair
    options = {"lags": 1, "interventions": ["zero", "double"], "progress": False}
    found, expected = (
        attnlag.intervene(model, tokenizer, TEXTS, **options).effects for model in (bridge, plain)
    )
    pd.testing.assert_frame_equal(found, expected, rtol=1e-3, atol=1e-5)


def test_a_bridge_has_no_sources_and_says_so(pair):
    bridge, _, tokenizer = pair
    found = attnlag.measure(bridge, tokenizer, TEXTS, quantities="sources", progress=False)
    assert found.remarks["sources"] == "no sources: layer 0 computes attention by itself"
