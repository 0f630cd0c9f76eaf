"""A sample of the page of supported model types, whose rows are made anew."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

SPEC = importlib.util.spec_from_file_location("every_type", ROOT / "benchmarks/architectures.py")
every_type = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(every_type)

# Types of each kind: the usual layout, other ones, hybrid, one mixer, several lists of blocks,
# refused.
SAMPLE = ["llama", "biogpt", "dbrx", "jamba", "mamba", "mistral3", "openai-gpt", "bert"]


@pytest.mark.parametrize("model_type", SAMPLE)
def test_the_page_states_the_row_of_each_model_type(model_type):
    assert every_type.row_of(model_type) in every_type.rows_of(every_type.PAGE.read_text())


def test_a_hook_in_the_wrong_place_is_detected(monkeypatch):
    """The comparison is not with itself: it fails if other values are stored."""
    of = every_type.extraction.Extractor.measure

    def shifted(self, sequences):
        layers = of(self, sequences)
        layers["vectors", "mlp"][1] *= 1.001
        return layers

    monkeypatch.setattr(every_type.extraction.Extractor, "measure", shifted)
    assert every_type.row_of("llama")[1] == "WRONG"
