"""What a tap does to what passes through a model."""

import pytest
import torch
from models import MODELS, small_model

from attnlag.model import hooks
from attnlag.model.decoder import decoder_of


class AsKind(torch.nn.Module):
    """A module whose outputs are in a list or a tuple."""

    def __init__(self, module, kind):
        super().__init__()
        self.module = module
        self.kind = kind

    def forward(self, *args, **kwargs):
        return self.kind(self.module(*args, **kwargs))


@pytest.mark.parametrize("kind", [tuple, list])
def test_an_edit_replaces_the_first_output_and_keeps_the_others(kind):
    model = small_model(*MODELS["llama"], attn_implementation="eager")
    model.layers[1].self_attn = AsKind(model.layers[1].self_attn, kind)
    blocks = decoder_of(model).blocks
    outputs = []

    def nothing_added(layer, _, value):
        return torch.zeros_like(value) if layer == 1 else None

    def keep(_, __, output):
        outputs.append(output)

    with hooks.tap(blocks, {"attention"}, nothing_added), torch.no_grad():
        # It runs after the hook of the tap.
        model.layers[1].self_attn.register_forward_hook(keep)
        model(input_ids=torch.tensor([[5, 3, 8, 1]]))
    (output,) = outputs
    assert type(output) is kind
    vectors, weights = output
    assert not vectors.any()
    # (sequences, heads, tokens, tokens)
    assert weights.shape == (1, 4, 4, 4)


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        ((2, 3, 8), ""),
        ((6, 8), ""),
        ((3, 2, 8), "a tensor of 3 × 2 × 8 for 2 × 3 tokens"),
        ((5, 8), "a tensor of 5 × 8 for 2 × 3 tokens"),
        ((6,), "a tensor of 6 for 2 × 3 tokens"),
        ((1, 2, 3, 8), "a tensor of 1 × 2 × 3 × 8 for 2 × 3 tokens"),
    ],
)
def test_other_shapes_than_a_vector_for_each_token_are_a_problem(shape, problem):
    tokens = hooks.RealTokens(torch.ones(2, 3, dtype=torch.bool))
    assert tokens.problem(torch.zeros(shape)) == problem
