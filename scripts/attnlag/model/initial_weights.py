"""Models with weights as before any training, and the scale at which these are drawn."""

import copy
import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from attnlag.errors import UserError, as_user_error
from attnlag.model import hooks, loading
from attnlag.model.decoder import Decoder, decoder_of
from attnlag.model.folder import verify_folder
from attnlag.model.hooks import BlockModules
from attnlag.model.language_models import (
    RANGES,
    config_of,
    initial_range,
    new_model,
    with_fused_gelu,
)
from attnlag.model.settings import Running

log = logging.getLogger("attnlag")

# The standard deviation with which transformers draws weights unless a config states another.
DEFAULT_RANGE = 0.02

# The beginning of a scale that is a multiple of the model's own, as in ``own-x1.5``.
MULTIPLE_OF_OWN = "own-x"

# Names of the matrices whose outputs sublayers, or their experts, give.
OUTPUTS = (
    *("o_proj", "c_proj", "out_proj", "dense", "Wo", "wo", "down_proj", "fc2", "dense_4h_to_h"),
    *("fc_out", "w2", "output_linear", "output"),
)

# Largest relative difference of a matrix's standard deviation from that of one divided by depth.
DIVIDED_TOLERANCE = 0.1
# Number of tokens in the passes that show what a division does.
TOKENS = 8


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
    own = initial_weights["initializer_range"]
    origin = initial_weights["from"]
    drawn = range_at(scale, own)
    if scale == "default" and own is not None:
        origin = "transformers"
    return {"scale": scale, "initializer_range": drawn, "origin": origin}


def range_at(scale: str, own: float | None) -> float | None:
    """Return the standard deviation of the initial weights at a scale.

    Parameters
    ----------
    scale : str
        As in ``controls.random_weights.scales``.
    own : float, optional
        The model's own standard deviation; None if its config has none.

    Returns
    -------
    float, optional
        None if ``own`` is None. By depth it is that of the matrices that are not divided.
    """
    if own is None:
        return None
    if scale == "default":
        return DEFAULT_RANGE
    if scale.startswith(MULTIPLE_OF_OWN):
        return own * float(scale.removeprefix(MULTIPLE_OF_OWN))
    return own


@dataclass(frozen=True)
class UntrainedDecoder:
    """A model with the weights of one draw, ready for passes."""

    scale: str
    facts: Mapping[str, Any]  # what a record states of the draw
    decoder: Decoder | None  # None if it would be another draw
    left_out: str  # why: "" if there is a model


def untrained_decoders(
    folder: Path,
    settings: Running,
    *,
    scales: Sequence[str],
    seed: int,
    device: str,
    modules: Mapping[str, Any] | None = None,
    batch_tokens: int = 4096,
    longest: int = 0,
    head: bool = False,
) -> Iterator[UntrainedDecoder]:
    """Yield the model of a folder that ``fetch_model`` created, with new weights at each scale.

    Parameters
    ----------
    folder : Path
        Its config alone is used, and the record of its initial weights.
    settings : Running
        The precision, the implementation of attention, and whether activations are fused.
    scales, seed
        As of `draws`.
    device, modules, batch_tokens, longest, head
        As of ``loading.load_decoder``.

    Raises
    ------
    UserError
        If the folder is damaged, memory cannot hold the model in float32, the first scale cannot be
        drawn, or no layout of the blocks passes the check.
    """
    source = verify_folder(folder, "initial_weights")
    place = loading.choose_device(device)
    precision = loading.choose_dtype(folder, place, settings.dtype)
    loading.check_room_to_draw(folder, batch_tokens, longest)
    config = config_of(folder)
    if settings.fast:
        config = with_fused_gelu(config)
    attention = settings.attention_implementation
    name = source["name"]
    for draw in draws(config, scales, seed, attention=attention, modules=modules, name=name):
        facts = draw.facts(source["initial_weights"])
        decoder = None
        if not draw.left_out:
            model = draw.model if head else draw.model.base_model
            decoder = decoder_of(model.to(place, precision).eval(), modules, name)
        yield UntrainedDecoder(draw.scale, facts, decoder, draw.left_out)


def draws(
    original: Any,
    scales: Sequence[str],
    seed: int,
    *,
    attention: str = "auto",
    modules: Mapping[str, Any] | None = None,
    name: str = "NAME",
) -> Iterator[Draw]:
    """Yield models of a config with new weights at some scales.

    ``own`` is the standard deviation that the config states, ``default`` that of transformers, and
    ``own-x1.5`` 1.5 times the model's own. ``by-depth`` is the model's own, but for the matrices
    whose outputs are added to the stream, which are divided by the root of the number of these
    additions: √(2 × layers) where each layer has attention and an MLP, as in GPT-2 (Radford et al.
    2019). The models are as transformers initialises them under the seed, with the head, in
    float32, on the CPU, and without dropout, which no check of their blocks would pass.

    Raises
    ------
    UserError
        If transformers cannot build the model, or if the first scale cannot be drawn.
    """
    scale_of: dict[tuple[float | None, bool], str] = {}
    for scale in scales:
        config = copy.deepcopy(original)
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        own = initial_range(config.get_text_config())
        initial = range_at(scale, own)
        left_out = ""
        if scale.startswith(MULTIPLE_OF_OWN) and own is None:
            left_out = "the model's config states no standard deviation of initial weights"
        elif scale != "by-depth" and (initial, False) in scale_of:
            left_out = f"the same as {scale_of[initial, False]}"
        if left_out:
            if not scale_of:
                raise UserError(f"the scale {scale} of initial weights: {left_out}")
            yield Draw(scale, None, left_out)
            continue
        if initial != own:
            _state_range(config, initial)
        model = _drawn(config, seed, attention)
        divided = False
        if scale == "by-depth":
            try:
                divided = divide_outputs(model, decoder_of(model, modules, name).blocks)
            except UserError as error:
                if not scale_of:
                    raise
                yield Draw(scale, None, str(error))
                continue
            if (initial, divided) in scale_of:
                yield Draw(scale, None, f"the same as {scale_of[initial, divided]}")
                continue
        scale_of[initial, divided] = scale
        yield Draw(scale, model)


def _state_range(config: Any, initial: float | None) -> None:
    """Write a standard deviation of initial weights into a config, under each of its names."""
    for part, key in itertools.product((config, config.get_text_config()), RANGES):
        if hasattr(part, key):
            setattr(part, key, initial)


def _drawn(config: Any, seed: int, attention: str) -> Any:
    """Return a model as transformers initialises it under a seed, in float32 on the CPU."""
    implementation = None if attention == "auto" else attention
    kind = f"a model of the type '{config.model_type}' with random weights"
    with (
        as_user_error(f"transformers cannot build {kind}"),
        torch.random.fork_rng(devices=[]),
    ):
        # The generator of the CPU gives the same numbers on every machine.
        torch.manual_seed(seed)
        return new_model(config, torch.float32, attn_implementation=implementation).eval()


def divide_outputs(model: Any, blocks: Sequence[BlockModules]) -> bool:
    """Divide the matrices whose outputs blocks add to the stream, in place.

    The divisor is the root of the number of additions, √(2 × layers) if each block has two. A
    matrix that the architecture draws like that already stays as it is.

    Returns
    -------
    bool
        Whether any matrix was divided.

    Raises
    ------
    UserError
        If a sublayer has no output matrix, or normalises what it adds, so that dividing the matrix
        would change nothing.
    """
    factor = math.sqrt(sum(len(block.sublayers) for block in blocks))
    config = model.config.get_text_config()
    undivided: dict[int, torch.Tensor] = {}
    changed: dict[tuple[int, str], str] = {}
    for layer, block in enumerate(blocks):
        for sublayer, modules in block.sublayers.items():
            name = type(modules[0]).__name__
            matrices = _outputs(modules)
            if not matrices:
                fault = "normalises" if "norm" in name.lower() else "has no output matrix for"
                raise UserError(f"{name} {fault} what {sublayer} adds in layer {layer}")
            own = {}
            for path, matrix in matrices.items():
                if not _is_divided(path, matrix, config, factor):
                    own[id(matrix)] = matrix
            undivided |= own
            if len(own) == len(matrices):
                changed[layer, sublayer] = name
    if not undivided:
        return False
    before = _sizes_added(model, blocks)
    with torch.no_grad():
        for matrix in undivided.values():
            matrix /= factor
    after = _sizes_added(model, blocks)
    for (layer, sublayer), name in changed.items():
        size = before[layer, sublayer]
        # Midway between equal and divided, in logarithms.
        if after[layer, sublayer] > size / math.sqrt(factor):
            raise UserError(f"{name} normalises what {sublayer} adds in layer {layer}")
    return True


def _is_divided(path: str, matrix: torch.Tensor, config: Any, factor: float) -> bool:
    """Return whether an architecture draws an output matrix divided by depth."""
    # Mamba's family draws this matrix from a uniform distribution, divided or not as it states.
    rescaled = getattr(config, "rescale_prenorm_residual", None)
    if rescaled is not None and path.endswith("out_proj.weight"):
        return bool(rescaled)
    initial = initial_range(config)
    if initial is None:
        return False
    ratio = matrix.std().item() / (initial / factor)
    return abs(ratio - 1) < DIVIDED_TOLERANCE


def _sizes_added(model: Any, blocks: Sequence[BlockModules]) -> dict[tuple[int, str], float]:
    """Return the mean size of what each sublayer adds, in a pass over a few tokens."""
    added: dict[tuple[int, str], torch.Tensor] = {}
    handles = []
    for layer, block in enumerate(blocks):
        for sublayer, modules in block.sublayers.items():

            def add(_module: Any, _inputs: Any, output: Any, key: Any = (layer, sublayer)) -> None:
                added[key] = added.get(key, 0) + hooks.first_tensor(output)

            handles += [module.register_forward_hook(add) for module in modules]
    try:
        with torch.no_grad():
            hooks.forward(getattr(model, "base_model", model), torch.arange(1, 1 + TOKENS)[None])
    finally:
        for handle in handles:
            handle.remove()
    return {key: float(vectors.norm(dim=-1).mean()) for key, vectors in added.items()}


def _outputs(modules: Sequence[torch.nn.Module]) -> dict[str, torch.Tensor]:
    """Return the output matrices of a sublayer by path, those of its experts included."""
    found: dict[str, torch.Tensor] = {}
    for number, module in enumerate(modules):
        if isinstance(module, torch.nn.Linear):
            found[f"{number}.weight"] = module.weight
            continue
        for path, parameter in module.named_parameters():
            name = path.removesuffix(".weight").rpartition(".")[2]
            if parameter.dim() > 1 and name in OUTPUTS:
                found[f"{number}.{path}"] = parameter
    return found
