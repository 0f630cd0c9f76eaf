"""A model in a wrapper of PEFT: `make test-bridge`."""

import shutil

import pandas as pd
import pytest
import torch
from models import MODELS
from peft import LoraConfig, get_peft_model
from projects import WORDS, save_model
from transformers import AutoModelForCausalLM, AutoTokenizer

import attnlag

TEXTS = [" ".join(WORDS), " ".join(WORDS[10:])]
PROJECTIONS = {"gpt2": ["c_attn", "c_proj"], "llama": ["q_proj", "o_proj"]}


@pytest.fixture(params=PROJECTIONS)
def pair(request, gpt2_tokenizer, tmp_path):
    """Return a model with a random adapter, one with its merged weights, and the tokenizer."""
    settings = {**MODELS[request.param][1], "vocab_size": 8281}
    save_model(tmp_path, request.param, **settings)
    shutil.copytree(gpt2_tokenizer, tmp_path, dirs_exist_ok=True)
    lora = LoraConfig(
        r=4, target_modules=PROJECTIONS[request.param], fan_in_fan_out=request.param == "gpt2"
    )
    models = []
    for _ in range(2):
        model = AutoModelForCausalLM.from_pretrained(tmp_path)
        torch.manual_seed(0)
        wrapped = get_peft_model(model, lora).eval()
        for name, weights in wrapped.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weights, std=0.05)
        models.append(wrapped)
    wrapped, other = models
    return wrapped, other.merge_and_unload(), AutoTokenizer.from_pretrained(tmp_path)


def test_an_adapter_has_the_numbers_of_its_merged_weights(pair):
    wrapped, merged, tokenizer = pair
    names = attnlag.check(wrapped)
    assert (names["unexplained"] == "").all()
    assert names["module"].str.startswith("base_model.model.").all()
    found = attnlag.measure(wrapped, tokenizer, TEXTS, progress=False).norms
    expected = attnlag.measure(merged, tokenizer, TEXTS, progress=False).norms
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4, atol=1e-6)


def test_the_adapter_is_part_of_what_is_measured(pair):
    wrapped, _, tokenizer = pair
    with_adapter = attnlag.measure(wrapped, tokenizer, TEXTS, progress=False).norms["norm"]
    with wrapped.disable_adapter():
        without = attnlag.measure(wrapped, tokenizer, TEXTS, progress=False).norms["norm"]
    assert (with_adapter - without).abs().max() > 1e-3 * without.max()
