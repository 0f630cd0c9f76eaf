"""Language models of transformers: their classes and shapes, built or loaded without warnings."""

import contextlib
import copy
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attnlag.errors import UserError

# Names of the standard deviation of initial weights in the configs of transformers.
RANGES = ("initializer_range", "init_std")


def config_of(folder: Path) -> Any:
    """Return the config of a model in a folder."""
    from transformers import AutoConfig

    with quiet_transformers():
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def with_fused_gelu(config: Any) -> Any:
    """Return a config whose blocks compute the tanh approximation of GELU in one operation.

    ``gelu_new`` and ``gelu_pytorch_tanh`` are the same function: the first takes six operations in
    torch, and a fifth of the time of GPT-2. Norms differ by 2e-7.
    """
    fused = copy.deepcopy(config)
    for part in (fused, fused.get_text_config()):
        for key, value in list(vars(part).items()):
            if value == "gelu_new":
                setattr(part, key, "gelu_pytorch_tanh")
    return fused


def class_with_head(config: Any) -> Any:
    """Return the class of transformers for a model with its head; None if there is none.

    Most multimodal decoders are in a mapping of their own.
    """
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
    )

    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING and not config.is_encoder_decoder:
        return AutoModelForImageTextToText
    return None


def new_model(config: Any, dtype: Any = None, *, head: bool = True, **options: Any) -> Any:
    """Return a new model of a config, or its base model.

    Without ``dtype`` it has the precision of the config.

    Raise UserError if transformers has no causal language model of this type.
    """
    from transformers import AutoModel

    kind = class_with_head(config) if head else AutoModel
    if kind is None:
        raise UserError(
            f"transformers has no causal language model for {config.model_type}, expected a "
            "decoder-only language model"
        )
    with quiet_transformers():
        return kind.from_config(
            config, dtype=dtype or config.dtype, trust_remote_code=False, **options
        )


def hollow_model(config: Any, dtype: Any = None, *, head: bool = True) -> Any:
    """Return a `new_model` with shapes but without values or memory."""
    import torch

    with torch.device("meta"):
        return new_model(config, dtype, head=head)


def stored_model(kind: Any, folder: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Return the model in a folder, of a class of transformers, and what was found of its weights.

    The weights are read from safetensors, and no code of the model is run.
    """
    with quiet_transformers():
        return kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Suppress transformers' warnings and progress bars; errors are still raised."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        # One of its progress bars ignores the settings, but all of them use standard error.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def initial_range(text: Any) -> float | None:
    """Return the standard deviation of the initial weights that a config of a text model states."""
    return next((getattr(text, key) for key in RANGES if hasattr(text, key)), None)
