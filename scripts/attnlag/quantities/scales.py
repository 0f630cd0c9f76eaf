"""The names of the scales of initial weights, see `initial_weights.draws`."""

import re

SCALES = ("own", "default", "by-depth")
MULTIPLE = re.compile(r"own-x(\d{1,3}(\.\d{1,3})?)")


def multiple_of_own(scale: str) -> float:
    """Return the factor of a scale that is a multiple of the model's own, 1 for another."""
    multiple = MULTIPLE.fullmatch(scale)
    return float(multiple[1]) if multiple else 1.0
