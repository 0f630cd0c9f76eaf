"""Forward hooks that change adjustments.

The hooks in attnlag.model.hooks only observe. These hooks replace the vector that a sublayer adds,
so that the rest of the forward pass depends on the new vector.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from attnlag.adjustments.sites import SITES
from attnlag.model.architectures import BlockModules
from attnlag.model.hooks import Hook, attached, first_tensor

Change = Callable[[int, str, torch.Tensor], torch.Tensor]
Receive = Callable[[int, str, torch.Tensor], object]


def _with_first(output: Any, value: torch.Tensor) -> Any:
    """Return a module's output with its first tensor replaced."""
    return (value, *output[1:]) if isinstance(output, tuple) else value


@contextmanager
def edited(
    blocks: Sequence[BlockModules],
    sites: Collection[str],
    change: Change,
    receive: Receive = lambda layer, site, added: None,
) -> Iterator[None]:
    """Change the adjustments in forward passes of this thread, and observe the results.

    Parameters
    ----------
    change : callable
        ``change(layer, site, added)`` returns the replacement of ``added``, whose last dimension
        is the width; sequences and tokens may share one dimension.
    receive : callable
        ``receive(layer, site, added)`` is called with the changed vectors. Later operations may
        overwrite them, so ``receive`` must copy what it keeps.
    """

    def of_part(layer: int, site: str, modules: int) -> Callable[..., Any]:
        earlier: list[torch.Tensor] = []

        def hook(_: torch.nn.Module, __: Any, output: Any) -> Any:
            output_of_module = first_tensor(output)
            if len(earlier) + 1 < modules:
                earlier.append(output_of_module.clone())
                return None
            # The last of several modules makes up for the change of their sum.
            added = sum(earlier, output_of_module)
            changed = change(layer, site, added)
            receive(layer, site, changed)
            value = output_of_module + (changed - added) if earlier else changed
            earlier.clear()
            return _with_first(output, value)

        return hook

    def of_block(layer: int, site: str, stream: list[torch.Tensor]) -> Callable[..., Any]:
        def hook(_: torch.nn.Module, __: Any, output: Any) -> Any:
            result = first_tensor(output)
            added = result - stream.pop()
            changed = change(layer, site, added)
            receive(layer, site, changed)
            return _with_first(output, result + (changed - added))

        return hook

    def begin(stream: list[torch.Tensor]) -> Callable[..., None]:
        def hook(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            # A copy, because the block may write into it.
            stream[:] = [(args[0] if args else kwargs["hidden_states"]).clone()]

        return hook

    hooks: list[Hook] = []
    for layer, block in enumerate(blocks):
        for site in sites:
            parts = SITES[site].parts
            if len(parts) == 1:
                modules = block.parts[parts[0]]
                hook = of_part(layer, site, len(modules))
                hooks += [(module.register_forward_hook, hook, {}) for module in modules]
                continue
            stream: list[torch.Tensor] = []
            before = block.block.register_forward_pre_hook
            hooks.append((before, begin(stream), {"with_kwargs": True}))
            hooks.append((block.block.register_forward_hook, of_block(layer, site, stream), {}))
    with attached(hooks):
        yield


def log_norm(added: torch.Tensor) -> torch.Tensor:
    """Return the log of the L2 norm of each vector; NaN if the norm is zero or not finite.

    A NaN has no gradient.
    """
    # A copy, because a block may write into the outputs of its sublayers.
    norm = torch.linalg.vector_norm(added.to(torch.float64, copy=True), dim=-1)
    usable = (norm > 0) & torch.isfinite(norm)
    logs = torch.where(usable, norm, 1.0).log()
    return torch.where(usable, logs, torch.nan)


def gates(
    sites: Collection[str], layers: int, shape: tuple[int, int], device: torch.device, dtype: Any
) -> dict[str, list[torch.Tensor]]:
    """Return gates of 1 for each site, layer, sequence and token, which are leaves of the graph."""
    return {
        site: [
            torch.ones(shape, device=device, dtype=dtype, requires_grad=True) for _ in range(layers)
        ]
        for site in sites
    }


def through(opened: Mapping[str, Sequence[torch.Tensor]]) -> Change:
    """Return the change that multiplies each adjustment by its gate."""

    def change(layer: int, site: str, added: torch.Tensor) -> torch.Tensor:
        if site not in opened:
            return added
        gate = opened[site][layer].to(device=added.device, dtype=added.dtype)
        return added * gate.reshape(*added.shape[:-1], 1)

    return change
