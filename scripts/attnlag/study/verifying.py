"""The modules of a loaded model whose outputs are its adjustments."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch

from attnlag.errors import UserError
from attnlag.model import decoder
from attnlag.model.unexplained import unexplained_parts
from attnlag.study.checking import checked
from attnlag.study.inputs import evaluated, name_of, unwrapped


def check(
    model: torch.nn.Module, *, modules: Mapping[str, Any] | None = None, name: str | None = None
) -> pd.DataFrame:
    """Show which module's output is what attention adds to the residual stream, in each layer.

    It is the check with which `measure` begins: in a pass over a few tokens, block input +
    attention + MLP = block output. It needs no text and no tokenizer.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        With or without a head, on any device, also in a wrapper of PEFT, TransformerLens
        (`TransformerBridge`), nnsight or nnterp.
    modules : mapping, optional
        Paths of the blocks and sublayers to check in place of those that attnlag knows, as of
        `measure`.
    name : str, optional
        Name of the model, for messages.

    Returns
    -------
    pandas.DataFrame
        A row per layer: ``layer``; ``module``, the path of the module whose output is added, or
        several joined by +, missing if none is; ``factor``, by which the block multiplies the
        output; ``error``, the largest difference between both sides over the tokens, relative to
        the stream, 0 in half precision if the sum has the same bits, NaN if the block did not run;
        ``unexplained``, the part of the block that no known module explains: "attention", "mlp" or
        both, also the last one added if the block multiplies the sum before it returns it;
        "stream" if both are added, but not to the block's input, as where a module normalises the
        sum; "block" if it did not run; empty if the check is passed (``error`` of at most 1e-5).
        `measure` refuses a model with an unexplained part.

    Raises
    ------
    UserError
        If the model is none of transformers, does not run on tokens alone, has none of the known
        modules, or gives numbers that are not finite.

    Examples
    --------
    >>> import torch, transformers, attnlag
    >>> config = transformers.GPT2Config(n_layer=2, n_embd=32, n_head=2)
    >>> attnlag.check(transformers.GPT2LMHeadModel(config))[["layer", "module", "factor"]]
       layer              module  factor
    0      0  transformer.h.0.attn     1.0
    1      1  transformer.h.1.attn     1.0
    """
    config = checked({}, modules=modules)
    paths_given = config.modules_of("model")
    inside = unwrapped(model)
    name = name_of(inside, name)
    base_model = getattr(inside, "base_model", inside)
    decoder.vocabulary_of(base_model, name)
    with evaluated(inside):
        trials = []
        for trial in decoder.trials(base_model, paths_given, name):
            trials.append(trial)
            if trial.failure is None:
                break
        with_evidence = [trial for trial in trials if trial.evidence]
        if not with_evidence:
            failures = [f"{trial.layout} ({trial.failure})" for trial in trials]
            raise UserError(decoder.unknown(base_model, name, failures))
        parts = [unexplained_parts(base_model, trial, name) for trial in with_evidence]
    # The layout that explains most, where all fail.
    numbers = [sum(map(len, parts_of_layers)) for parts_of_layers in parts]
    best = numbers.index(min(numbers))
    # nnsight and nnterp are no modules.
    named = model if isinstance(model, torch.nn.Module) else inside
    return _table(named, with_evidence[best], parts[best])


def _table(named: torch.nn.Module, trial: decoder.Trial, parts: list[list[str]]) -> pd.DataFrame:
    """Return the table of a trial, with the paths of modules from ``named``."""
    path_of = {module: path for path, module in named.named_modules()}
    rows = []
    for layer, (block, unexplained) in enumerate(zip(trial.blocks, parts, strict=True)):
        paths = [path_of[module] for module in block.sublayers["attention"]]
        path = "+".join(paths).replace(f"{decoder.WRAPPED}.", "")
        ran = layer < len(trial.evidence)
        rows.append(
            {
                "layer": layer,
                "module": path if unexplained in ([], ["mlp"]) else None,
                "factor": 1.0 if block.scale is None else block.scale,
                "error": trial.evidence[layer].error if ran else math.nan,
                "unexplained": " and ".join(unexplained),
            }
        )
    return pd.DataFrame(rows)
