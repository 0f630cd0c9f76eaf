"""The class of transformers that builds a model with its language-model head."""

from typing import Any


def class_with_head(config: Any) -> Any:
    """Return the class for the model of a config with its head; None if there is none.

    Most decoders are in one mapping of transformers. Most multimodal decoders are in another; they
    accept text alone like other decoders.
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
