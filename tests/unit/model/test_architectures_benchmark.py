"""A sample of the page of supported model types, whose rows are made anew."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

SPEC = importlib.util.spec_from_file_location("benchmark", ROOT / "benchmarks/architectures.py")
benchmark = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(benchmark)

# Types of each kind: the usual layout, other ones, hybrid, one mixer, several lists of blocks,
# refused.
SAMPLE = ["llama", "biogpt", "dbrx", "jamba", "mamba", "mistral3", "openai-gpt", "bert"]


@pytest.mark.parametrize("model_type", SAMPLE)
def test_the_page_states_the_row_of_each_model_type(model_type):
    assert benchmark.row_of(model_type) in benchmark.rows_of(benchmark.PAGE.read_text())


def test_a_hook_in_the_wrong_place_is_detected(monkeypatch):
    """The comparison is not with itself: it fails if other values are stored."""
    of = benchmark.extraction.Extractor.measure

    def shifted(self, sequences):
        layers = of(self, sequences)
        layers["vectors", "mlp"][1] *= 1.001
        return layers

    monkeypatch.setattr(benchmark.extraction.Extractor, "measure", shifted)
    assert benchmark.row_of("llama")[1] == "WRONG"
