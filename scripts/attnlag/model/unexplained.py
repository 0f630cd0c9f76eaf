"""The parts of a block that its sublayers, as they are observed, do not explain."""

from typing import Any

import torch

from attnlag.model import decoder, half_precision, hooks, identity
from attnlag.model.hooks import BlockModules

# Parts of a block besides its sublayers: all of one that has not run, and the stream, where the
# sublayers are added to something else than the block's input, as where the sum is normalised.
WHOLE = "block"
STREAM = "stream"


def unexplained_parts(model: Any, trial: decoder.Trial, name: str) -> list[list[str]]:
    """Return the parts of each block that the layout of a trial does not explain.

    A sublayer is explained if what it gives is the difference between a vector that entered or left
    a module of the block before and another one. In half precision, whose rounding would hide a
    wrong module, none is.

    Parameters
    ----------
    model
        A base model.
    trial
        A layout that was tried.
    name
        The name of the model, for messages.

    Returns
    -------
    list of list of str
        Names of parts for each layer: of sublayers, `STREAM` or `WHOLE`; none if the block returns
        its input plus what its sublayers give.
    """
    parts = []
    for layer, block in enumerate(trial.blocks):
        if layer >= len(trial.evidence):
            parts.append([WHOLE])
            continue
        observation = trial.evidence[layer]
        complete = sorted(observation.sublayers) == sorted(block.sublayers)
        explained = complete and observation.holds
        parts.append([] if explained else _unexplained_parts(model, block, name))
    return parts


def _unexplained_parts(model: Any, block: BlockModules, name: str) -> list[str]:
    """Return the sublayers of a block that nothing in it is shown to add, or else `STREAM`."""
    mask = torch.ones(1, decoder.TOKENS, dtype=torch.bool)
    tokens = hooks.RealTokens(mask)
    vectors: list[torch.Tensor] = []

    def keep(value: Any) -> None:
        # Modules also get what is no vector of a token: masks, angles of positions, options.
        if isinstance(value, torch.Tensor) and not tokens.problem(value):
            vectors.append(tokens.vectors(value))

    def entering(_: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for value in (*args, *kwargs.values()):
            keep(value)

    def leaving(_: object, __: object, output: Any) -> None:
        keep(hooks.first_tensor(output))

    before: dict[str, int] = {}
    added: dict[str, torch.Tensor] = {}

    def receive(_: int, sublayer: str, value: torch.Tensor) -> None:
        # The vector that leaves the sublayer may or may not be among the vectors by now.
        before[sublayer] = len(vectors)
        added[sublayer] = block.as_added(sublayer, tokens.vectors(value))

    module_hooks: list[hooks.Hook] = []
    for module in block.block.modules():
        module_hooks.append((module.register_forward_pre_hook, entering, {"with_kwargs": True}))
        module_hooks.append((module.register_forward_hook, leaving, {}))
    with (
        hooks.attached(module_hooks),
        hooks.tap([block], block.sublayers, receive),
        torch.inference_mode(),
    ):
        decoder.run_short(model, name)
    explained = set()
    if vectors[0].dtype not in half_precision.DTYPES:
        for sublayer, count in before.items():
            if _is_added(added[sublayer], vectors[:count], vectors):
                explained.add(sublayer)
    unexplained = [sublayer for sublayer in block.sublayers if sublayer not in explained]
    return unexplained or [STREAM]


def _is_added(
    added: torch.Tensor, earlier: list[torch.Tensor], vectors: list[torch.Tensor]
) -> bool:
    """Return whether one of some vectors, (tokens, width), is an earlier one plus what is added."""
    sums = torch.stack([each.double() for each in vectors if each.shape == added.shape])
    for start in earlier:
        if start.shape != added.shape:
            continue
        gaps = (sums - start.double() - added.double()).norm(dim=-1)
        sizes = torch.maximum(sums.norm(dim=-1), start.double().norm(dim=-1))
        errors = gaps / sizes.clamp_min(torch.finfo(torch.float64).tiny)
        if (errors.amax(dim=-1) <= identity.BOUND).any():
            return True
    return False
