"""Models with weights as before any training, and the scale at which these are drawn."""

import copy
import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from attnlag.errors import UserError, as_user_error
from attnlag.model.decoder import decoder_of
from attnlag.model.hooks import BlockModules
from attnlag.model.language_models import RANGES, config_of, initial_range, new_model

log = logging.getLogger("attnlag")

# The standard deviation with which transformers draws weights unless a config states another.
DEFAULT_RANGE = 0.02

# Names of the matrices whose outputs sublayers, or their experts, give.
OUTPUTS = (
    *("o_proj", "c_proj", "out_proj", "dense", "Wo", "wo", "down_proj", "fc2", "dense_4h_to_h"),
    *("fc_out", "w2", "output_linear", "output"),
)


class Draw(NamedTuple):
    """The weights of a model drawn at one scale."""

    scale: str
    # Whole, with its language-model head, in float32 on the CPU; None if it would be another draw.
    model: Any
    # Why there is no model: "" if there is one.
    left_out: str = ""

    def facts(self, initial_weights: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a record states of the draw, given that of the model's own scale."""
        return facts_of(self.scale, initial_weights) | {"left_out": self.left_out}


def facts_of(scale: str, initial_weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record states of a scale, given the entry in ``source.json``."""
    own, origin = initial_weights["initializer_range"], initial_weights["from"]
    if scale == "default" and own is not None:
        own, origin = DEFAULT_RANGE, "transformers"
    return {"scale": scale, "initializer_range": own, "origin": origin}


def draws(
    original: Any,
    scales: Sequence[str],
    seed: int,
    *,
    attention: str = "auto",
    modules: Mapping[str, Any] | None = None,
    name: str = "NAME",
) -> Iterator[Draw]:
    """Yield models of a config, or of that in a folder, with new weights at some scales.

    ``own`` is the standard deviation that the config states, and ``default`` that of transformers.
    ``by-depth`` is the model's own, but for the matrices whose outputs are added to the stream,
    which are divided by √(2 × layers), as in GPT-2 (Radford et al. 2019). The models are as
    transformers initialises them under the seed, with the head, in float32, on the CPU, and without
    dropout, which no proof of their blocks would pass.
    """
    drawn: dict[tuple[float | None, bool], str] = {}
    for scale in scales:
        config = config_of(original) if isinstance(original, Path) else copy.deepcopy(original)
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        text = config.get_text_config()
        initial, divided, left_out = initial_range(text), False, ""
        model: Any = None
        if scale == "default" and initial is not None:
            initial = DEFAULT_RANGE
            for part, key in itertools.product((config, text), RANGES):
                if hasattr(part, key):
                    setattr(part, key, DEFAULT_RANGE)
        if (initial, False) not in drawn or scale == "by-depth":
            implementation = None if attention == "auto" else attention
            kind = f"a model of the type '{config.model_type}' with random weights"
            with (
                as_user_error(f"transformers cannot build {kind}"),
                torch.random.fork_rng(devices=[]),
            ):
                # The generator of the CPU gives the same numbers on every machine.
                torch.manual_seed(seed)
                model = new_model(config, torch.float32, attn_implementation=implementation).eval()
        if scale == "by-depth":
            try:
                divided = divide_outputs(decoder_of(model, modules, name).blocks)
            except UserError as error:
                if not drawn:
                    raise
                left_out = str(error)
        if (initial, divided) in drawn:
            left_out = left_out or f"the same as {drawn[initial, divided]}"
        drawn.setdefault((initial, divided), scale)
        yield Draw(scale, None if left_out else model, left_out)


def divide_outputs(blocks: Sequence[BlockModules]) -> bool:
    """Divide the matrices whose outputs blocks add to the stream by √(2 × layers), in place.

    Return whether they were divided: some architectures are drawn like that already.
    """
    factor = math.sqrt(2 * len(blocks))
    matrices = []
    for layer, block in enumerate(blocks):
        for sublayer, modules in block.sublayers.items():
            found = [matrix for module in modules for matrix in _outputs(module)]
            if not found:
                name = type(modules[0]).__name__
                fault = "normalises" if "norm" in name.lower() else "has no output matrix for"
                raise UserError(f"{name} {fault} what {sublayer} adds in layer {layer}")
            matrices += found
    outputs = {id(matrix) for matrix in matrices}
    others = (p for p in blocks[0].block.parameters() if p.dim() > 1 and id(p) not in outputs)
    spreads = sorted(matrix.std().item() for matrix in others)
    # Midway between equal and divided, in logarithms.
    if spreads and matrices[0].std().item() < spreads[len(spreads) // 2] / math.sqrt(factor):
        return False
    with torch.no_grad():
        for matrix in {id(matrix): matrix for matrix in matrices}.values():
            matrix /= factor
    return True


def _outputs(module: torch.nn.Module) -> list[torch.Tensor]:
    """Return the output matrices of a sublayer, those of its experts included."""
    if isinstance(module, torch.nn.Linear):
        return [module.weight]
    return [
        parameter
        for path, parameter in module.named_parameters()
        if parameter.dim() > 1 and path.removesuffix(".weight").rpartition(".")[2] in OUTPUTS
    ]
