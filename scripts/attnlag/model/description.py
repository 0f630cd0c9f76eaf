"""The architecture of a model in words."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def parameter_count(model: "nn.Module") -> int:
    """Return the number of parameters, those that are tied counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def describe_architecture(model: "nn.Module") -> str:
    """Return the tree of a model's modules with parameter counts and shapes.

    Runs of blocks with the same structure take one line and show the content of one block.
    Tied parameters are counted where they come first.

    Parameters
    ----------
    model : torch.nn.Module
        May be on torch's meta device; only shapes are read.
    """
    owners: dict[int, str] = {}
    for name, parameter in model.named_parameters():
        owners[id(parameter)] = name

    def count(module: "nn.Module", prefix: str) -> int:
        named = module.named_parameters(prefix=prefix, remove_duplicate=False)
        return sum(p.numel() for name, p in named if owners[id(p)] == name)

    def shapes(module: "nn.Module", prefix: str) -> str:
        parts = []
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            size = " × ".join(str(length) for length in parameter.shape) or "scalar"
            own = f"{prefix}.{name}" if prefix else name
            owner = owners[id(parameter)]
            parts.append(f"{name} {size}" + ("" if owner == own else f" (tied to {owner})"))
        return ", ".join(parts)

    def structure(module: "nn.Module") -> tuple[Any, ...]:
        own = [(n, tuple(p.shape)) for n, p in module.named_parameters(recurse=False)]
        children = [(name, structure(child)) for name, child in module.named_children()]
        return type(module).__name__, tuple(own), tuple(children)

    rows: list[tuple[str, str, str]] = []

    def add(module: "nn.Module", prefix: str, depth: int) -> None:
        # remove_duplicate in named_children would hide a module that is used twice.
        children = [(n, c) for n, c in module._modules.items() if c is not None]
        position = 0
        while position < len(children):
            name, child = children[position]
            end = position + 1
            while (
                name.isdigit()
                and end < len(children)
                and children[end][0].isdigit()
                and structure(children[end][1]) == structure(child)
            ):
                end += 1
            run = children[position:end]
            path = f"{prefix}.{name}" if prefix else name
            counts = [count(c, f"{prefix}.{n}" if prefix else n) for n, c in run]
            label, note = f"{name}: {type(child).__name__}", shapes(child, path)
            if len(run) > 1:
                label = f"({name}-{run[-1][0]}) {len(run)} × {type(child).__name__}"
                note = f"{counts[0]:,} each"
            total = sum(counts)
            rows.append(("  " * depth + label, f"{total:,}" if total else "", note))
            add(child, path, depth + 1)
            position = end

    rows.append((type(model).__name__, f"{parameter_count(model):,}", shapes(model, "")))
    add(model, "", 1)
    rows.insert(0, ("module", "parameters", "shapes"))
    left, right = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"{tree:<{left}}  {number:>{right}}  {note}".rstrip() for tree, number, note in rows]
    return "\n".join(lines) + "\n"
