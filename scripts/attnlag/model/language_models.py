"""The class of transformers that builds a model with the head that predicts its tokens."""

from typing import Any


def class_with_head(config: Any) -> Any:
    """Return the class for the model of a config, head and all; None if there is none.

    Most decoders are in one list of transformers. Most of those that see images, too, are in
    another: they read text by itself as other decoders do.
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
