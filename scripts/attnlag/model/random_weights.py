"""Random-weights twins of models."""

import copy
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attnlag.errors import UserError
from attnlag.model.folder import WEIGHTS_INDEX, share_weights, verify_folder
from attnlag.model.language_models import class_with_head, quiet_transformers
from attnlag.storage import memory

log = logging.getLogger("attnlag")


def from_random(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Fill ``folder`` with the random-weights twin of the model in a sibling folder."""
    original = folder.parents[1] / settings["of"]
    record = verify_folder(original)
    needed, free = 4 * record["parameters"], memory.free_memory()
    if needed > free:
        raise UserError(
            f"its weights need {memory.amount(needed)} in float32, but {memory.amount(free)} of "
            "memory are free; expected more memory, or a twin of a smaller model"
        )
    log.info("drawing the weights of a twin of %s with seed %d", settings["of"], settings["seed"])
    with quiet_transformers():
        drawn_model(original, settings["seed"]).save_pretrained(folder)
    share_weights(folder)
    for file in record["files"]:
        # The twin has its own config and weights; all other files are those of the original.
        if file not in ("config.json", WEIGHTS_INDEX) and not file.endswith(".safetensors"):
            shutil.copyfile(original / file, folder / file)
    return {"revision": None, "license": record.get("license"), "of_digest": record["digest"]}


def drawn_model(original: Any, seed: int, attention: str = "auto") -> Any:
    """Return a model of the same config with new weights, as transformers initialises it.

    It has its language-model head and is in float32, on the CPU. Equal seeds give equal weights,
    with the same versions of torch and transformers. The original is a config, or a Hugging Face
    folder, of which only the config is read.
    """
    import torch
    from transformers import AutoConfig

    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        config = copy.deepcopy(original)
        if isinstance(original, Path):
            config = AutoConfig.from_pretrained(original, trust_remote_code=False)
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        # The generator of the CPU gives the same numbers on every machine.
        torch.manual_seed(seed)
        return class_with_head(config).from_config(
            config,
            dtype=torch.float32,
            attn_implementation=None if attention == "auto" else attention,
            trust_remote_code=False,
        )
