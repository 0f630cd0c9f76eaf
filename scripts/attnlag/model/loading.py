"""Loading a model: its devices, its precision, and whether it fits into memory.

Sizes come from the model's config and the headers of its weights files, so that a model that is
too large for this machine is refused before any weights are read.
"""

import logging
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

from attnlag.errors import UserError, amount, as_user_error, counted
from attnlag.model.decoder import Decoder, decoder_of
from attnlag.model.folder import stored_tensors, verify_folder
from attnlag.model.language_models import (
    class_with_head,
    config_of,
    hollow_model,
    stored_model,
    with_fused_gelu,
)
from attnlag.model.memory import free_memory
from attnlag.model.settings import Running

log = logging.getLogger("attnlag")

# Names in safetensors of the precisions in which a model can run.
STORED = {
    "F64": torch.float32,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}

# Bytes to leave free on each device besides weights and activations: in main memory for vectors
# that wait to be written, on a GPU for the workspace of kernels.
HEADROOM = 512 * 2**20


def choose_device(name: str) -> torch.device:
    """Return the device for ``auto``, ``cpu`` or ``cuda[:n]``.

    Raise UserError if the device is missing.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device: found {name}, but there is no such device here")
    return device


def load_model(
    folder: str | Path,
    device: torch.device,
    dtype: str,
    *,
    attention: str = "auto",
    batch_tokens: int = 4096,
    longest: int = 0,
    head: bool = False,
    fast: bool = False,
) -> torch.nn.Module:
    """Return the base model of a model, or with ``head`` all of it, ready for inference.

    On ``cuda`` without a number, a model that does not fit on one GPU is spread over all. Memory is
    reserved for a pass over ``batch_tokens``, or over the ``longest`` sequence if it has more.
    ``fast`` takes activations of one operation, see ``language_models.with_fused_gelu``.
    """
    folder = Path(folder)
    precision = choose_dtype(folder, device, dtype)
    base_model = hollow_model(config_of(folder), precision, head=head)
    places = place(folder.name, base_model, free_bytes(device), batch_tokens, longest)
    used = sorted(set(places.values()))
    if len(used) > 1:
        log.info("%s is spread over %s", folder.name, ", ".join(used))
    # Without a map the weights are loaded into main memory. With a map, transformers reads them
    # directly into each GPU, and accelerate moves the stream from one GPU to the next.
    device_map = None if device.type == "cpu" else places
    return load_base_model(folder, precision, device_map, attention, head, fast)


def load_decoder(
    folder: str | Path,
    settings: Running,
    *,
    device: str,
    modules: Mapping[str, Any] | None = None,
    batch_tokens: int = 4096,
    longest: int = 0,
    head: bool = False,
) -> Decoder:
    """Load a model from a folder that ``fetch_model`` created, and find its blocks.

    Parameters
    ----------
    folder : path
        Its files are compared with their record first.
    settings : Running
        The precision, the implementation of attention, and whether activations are fused.
    device : str
        As of `choose_device`.
    modules : mapping, optional
        Declared module paths of the model.
    batch_tokens, longest : int
        As of `load_model`.
    head : bool
        Whether the head of the model is loaded too.

    Raises
    ------
    UserError
        If the folder is damaged, the model does not fit into memory, or no layout of its blocks
        passes the check.
    """
    source = verify_folder(folder)
    model = load_model(
        folder,
        choose_device(device),
        settings.dtype,
        attention=settings.attention_implementation,
        batch_tokens=batch_tokens,
        longest=longest,
        head=head,
        fast=settings.fast,
    )
    return decoder_of(model, modules, source["name"])


def load_base_model(
    folder: Path,
    dtype: torch.dtype,
    device_map: Mapping[str, str] | None = None,
    attention: str = "auto",
    head: bool = False,
    fast: bool = False,
) -> torch.nn.Module:
    """Return the base model of a model, or with ``head`` all of it, on the devices of a map.

    Raise UserError if transformers cannot load the model, or if the checkpoint lacks weights.
    """
    config = config_of(folder)
    if fast:
        config = with_fused_gelu(config)
    # transformers refuses an implementation of attention that the architecture lacks.
    with as_user_error(f"{folder}: transformers cannot load the model", (ValueError, ImportError)):
        model, loading = stored_model(
            class_with_head(config) if head else AutoModel,
            folder,
            config=config,
            dtype=dtype,
            device_map=None if device_map is None else dict(device_map),
            attn_implementation=None if attention == "auto" else attention,
        )
    # Weights of the head may be left over.
    missing = sorted(loading["missing_keys"])
    if missing:
        raise UserError(
            f"{folder}: the checkpoint lacks {counted(len(missing), 'weight')} of "
            f"{type(model).__name__}, {missing[0]} the first; expected a complete model"
        )
    return model.eval()


def choose_dtype(folder: Path, device: torch.device, dtype: str) -> torch.dtype:
    """Return a precision by name; ``auto`` is float32 on CPU, that of most weights on CUDA.

    Raise UserError if most weights are stored in another precision than these.
    """
    if dtype != "auto":
        return getattr(torch, dtype)
    if device.type == "cpu":
        return torch.float32
    elements: Counter[str] = Counter()
    for _, kind, shape in stored_tensors(folder):
        elements[kind] += math.prod(shape)
    ((stored, _),) = elements.most_common(1)
    if stored not in STORED:
        raise UserError(
            f"{folder.name}: the checkpoint holds its weights as {stored}, expected a model in "
            "float32, bfloat16 or float16"
        )
    return STORED[stored]


def check_room_to_draw(folder: Path, batch_tokens: int = 4096, longest: int = 0) -> None:
    """Raise UserError if main memory cannot hold the model with new weights, in float32."""
    hollow = hollow_model(config_of(folder), torch.float32)
    place(folder.name, hollow, free_bytes(torch.device("cpu")), batch_tokens, longest)


def working_bytes(config: Any, tokens: int, dtype: torch.dtype) -> int:
    """Return an estimate of the bytes that a forward pass needs besides the weights.

    The estimate per token, rounded up from measured peaks, is twenty-four widths (the stream, its
    float32 copies in hooks, the inputs and outputs of a sublayer) and three widths of the MLP's
    inner layer. It excludes attention scores, which the usual implementation never stores whole.
    """
    text = config.get_text_config()
    width = text.hidden_size
    inner = max(getattr(text, "intermediate_size", None) or 0, 4 * width)
    return HEADROOM + tokens * (24 * width + 3 * inner) * dtype.itemsize


def free_bytes(device: torch.device) -> dict[str, int]:
    """Return the free bytes on each device that a model may use."""
    if device.type == "cpu":
        return {"cpu": free_memory()}
    count = torch.cuda.device_count()
    indices = range(count) if device.index is None else [device.index]
    return {f"cuda:{index}": torch.cuda.mem_get_info(index)[0] for index in indices}


def place(
    name: str, base_model: Any, free: Mapping[str, int], batch_tokens: int, longest: int = 0
) -> dict[str, str]:
    """Return the device of each part of a model, as a ``device_map`` of accelerate.

    A model is placed on one device if it fits, otherwise on several with whole blocks on each.

    Raise UserError if the model fits on no device and not on all together.
    """
    weights = base_model.get_memory_footprint()
    tokens = max(batch_tokens, longest)
    working = working_bytes(base_model.config, tokens, base_model.dtype)
    room = {device: size - working for device, size in free.items()}
    for device, most in room.items():
        if weights <= most:
            return {"": device}
    if len(room) > 1:
        from accelerate import infer_auto_device_map  # Not needed for a single device.

        blocks: set[str] = set()
        for module in base_model.modules():
            if isinstance(module, torch.nn.ModuleList):
                blocks.update(type(block).__name__ for block in module)
        limits: dict[Any, int] = {**dict(enumerate(room.values())), "cpu": 0}
        places: dict[str, Any] = infer_auto_device_map(
            base_model, max_memory=limits, no_split_module_classes=sorted(blocks)
        )
        if not {"cpu", "disk"}.intersection(places.values()):
            return {part: list(room)[index] for part, index in places.items()}
    on_devices = ", ".join(f"{amount(size)} on {device}" for device, size in free.items())
    precision = str(base_model.dtype).removeprefix("torch.")
    alone = ""
    fewer = "fewer tokens at a time"
    if longest > batch_tokens:
        alone = " (the longest sequence)"
        fewer = "shorter sequences (tokens.max_length)"
    raise UserError(
        f"the weights of {name} need {amount(weights)} in {precision} and a forward pass over "
        f"{counted(tokens, 'token')}{alone} about {amount(working)}, but the free memory is "
        f"{on_devices}; expected more, a smaller precision (bfloat16) or {fewer}"
    )
