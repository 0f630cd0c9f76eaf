"""Steps of training of a model's revisions."""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from attnlag.errors import shown

# Largest number of a step.
MAX_STEP = 10**12

EXPECTED = "expected a list, as in [step0, step64], or a mapping, as in {64: NAME}"


def step_in(name: str) -> int | None:
    """Return the last whole number in the last part of a name; None if it has none.

    A number before a letter is part of a word or a unit: ``step64-tokens3B`` is of step 64.
    """
    last_part = PurePath(name).name
    numbers = re.findall(r"(?<![\d.])\d+(?![\d.]*[^\W_])", last_part)
    return int(numbers[-1]) if numbers else None


def by_step(revisions: Any) -> Any:
    """Return revisions by their step of training, in the order of the steps.

    Parameters
    ----------
    revisions : list or mapping
        Names, of which each has its step or else its place in the list; or names by step.

    Raises
    ------
    ValueError
        If it is neither, is empty, has no steps as keys, or names a step twice.
    """
    if revisions is None or revisions == "null":
        return None
    if isinstance(revisions, Mapping):
        stated = [(_stated_step(key), name) for key, name in revisions.items()]
    elif isinstance(revisions, list):
        stated = [(_step_in_list(name, place), name) for place, name in enumerate(revisions)]
    else:
        raise ValueError(f"found {shown(revisions)}, {EXPECTED}")
    if not stated:
        raise ValueError(f"found {shown(revisions)}, expected at least one entry")
    names: dict[int, Any] = {}
    for step, name in stated:
        if step in names:
            raise ValueError(
                f"found {shown(names[step])} and {shown(name)}, both of step {step}, expected one "
                "of each step; a mapping, as in {64: NAME}, states the steps"
            )
        names[step] = name
    return dict(sorted(names.items()))


def _step_in_list(name: Any, place: int) -> int:
    """Return the step of a name in a list."""
    if not isinstance(name, str):
        raise ValueError(f"found {shown(name)} in the list, expected text (quotes make it text)")
    step = step_in(name)
    return place if step is None else _checked(step, name)


def _stated_step(key: Any) -> int:
    """Return the step that a key of a mapping states."""
    if isinstance(key, str) and key.isdecimal():
        key = int(key)
    if type(key) is not int:
        raise ValueError(f"found the key {shown(key)}, expected the number of a step")
    return _checked(key, key)


def _checked(step: int, found: Any) -> int:
    if not 0 <= step <= MAX_STEP:
        raise ValueError(f"found the step {shown(found)}, expected 0 to {MAX_STEP:,}")
    return step
