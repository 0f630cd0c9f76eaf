"""The classes of transformers for language models, without its warnings."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any


def class_with_head(config: Any) -> Any:
    """Return the class of transformers for a model with its head; None if there is none.

    Most decoders are in one mapping. Most multimodal decoders are in another; they accept text
    alone like other decoders.
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
