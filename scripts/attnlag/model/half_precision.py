"""What the check of sums needs in half precision, where rounding could hide a wrong module.

There an order of the additions, in the model's own precision, must give the output of a block bit
for bit, or the block, run again in float32, must keep to the bound of float32.
"""

import copy
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import torch
from torch.utils import _pytree

from attnlag.model import hooks
from attnlag.model.hooks import BlockModules

DTYPES = (torch.bfloat16, torch.float16)

# Bound on the error of a block that is not run again: the sum is its output bit for bit.
BOUND = 0.0


def adds_up(stream: torch.Tensor, added: Sequence[torch.Tensor], result: torch.Tensor) -> bool:
    """Return whether half-precision vectors, added in one order, are others bit for bit.

    All are (tokens, width). False in other precisions, and if nothing is added.
    """
    if result.dtype not in DTYPES or not added:
        return False
    one_by_one = reduce(operator.add, added, stream)
    at_once = stream + reduce(operator.add, added)
    if torch.equal(one_by_one.to(result.dtype), result):
        return True
    return torch.equal(at_once.to(result.dtype), result)


@contextmanager
def blocks_run_again(
    blocks: list[BlockModules],
    mask: torch.Tensor,
    evidence: list[Any],
    measure: Callable[[list[BlockModules], torch.Tensor], AbstractContextManager[Any]],
) -> Iterator[None]:
    """Run blocks again in float32 that do not add up bit for bit in a pass in half precision.

    Parameters
    ----------
    blocks : list of BlockModules
        Those of the pass within this context.
    mask : torch.Tensor
        (sequences, tokens), False for padding.
    evidence : list of identity.Evidence
        What the pass gives of each block once it has run. That of a block that runs again takes its
        place; it stays if the block cannot run in float32, or if the identity holds with a factor.
    measure : callable
        `identity.residual_identity`.
    """
    # The block that runs in half precision: its place in the evidence, the block, and a copy of its
    # arguments in float32.
    running: list[tuple[int, BlockModules, Any]] = []
    doubtful: list[tuple[int, BlockModules, Any]] = []

    def settle() -> None:
        """Keep the arguments of the block that has run if its sum does not hold."""
        for place, block, given in running:
            if place < len(evidence):
                found = evidence[place]
                if found.error > found.bound and found.scale is None:
                    doubtful.append((place, block, given))
        running.clear()

    def entering(block: BlockModules, _: torch.nn.Module, *given: Any) -> None:
        settle()
        if any(map(_is_half, _pytree.tree_leaves(given))):
            copies = _pytree.tree_map(_float32_copy, given)
            running.append((len(evidence), block, copies))

    module_hooks: list[hooks.Hook] = []
    for block in blocks:
        hook = partial(entering, block)
        module_hooks.append((block.block.register_forward_pre_hook, hook, {"with_kwargs": True}))
    with hooks.attached(module_hooks):
        yield
    settle()
    for place, block, given in doubtful:
        twin = copy.deepcopy(block)
        twin.block.float()
        with measure([twin], mask) as again:
            _run(twin.block, *given)
        if again.evidence:
            evidence[place] = replace(again.evidence[0], layer=evidence[place].layer)
        if not evidence[place].holds and evidence[place].scale is None:
            # The model is refused, whatever the other blocks would give.
            break


def _run(block: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Run a block, unless it cannot run."""
    with torch.inference_mode(), suppress(*hooks.FAILURES):
        block(*args, **kwargs)


def _is_half(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype in DTYPES


def _float32_copy(value: Any) -> Any:
    """Return a copy of floating-point numbers in float32, and anything else as it is."""
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        # A block may write into what it is given.
        return value.to(torch.float32, copy=True)
    return value
