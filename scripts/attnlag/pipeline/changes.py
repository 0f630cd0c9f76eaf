"""What differs between two mappings of settings, in words."""

from collections.abc import Iterator
from typing import Any

from attnlag.errors import shown


def changes(before: dict[str, Any], now: dict[str, Any], within: str = "") -> Iterator[str]:
    """Yield a line for each key that differs: ``"inference.alpha: 0.05 → 0.01"``."""
    for key in now | before:
        name = f"{within}{key}"
        old = before.get(key)
        new = now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from changes(old, new, f"{name}.")
        elif key not in before or key not in now:
            yield f"{name}: {'new' if key in now else 'removed'}"
        elif old != new:
            yield f"{name}: {shown(old)} → {shown(new)}"
