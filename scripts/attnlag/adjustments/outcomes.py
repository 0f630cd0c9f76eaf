"""Catalogue of outcomes: the quantities that a regression can have as its outcome.

Sizes are regressed as logarithms. Quantities that may be negative, and angles and cosines, which
are bounded, are regressed without a transformation. The workflow imports this module at its start.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """A quantity of each token and layer."""

    name: str  # in the configuration and in the columns of its file
    label: str  # name of the regressed quantity
    unit: str  # of the coefficients of lags
    folder: str = "norms"  # of its files: "norms", "geometry", "centred" or "written"
    logarithm: bool = False  # whether its natural logarithm is regressed
    first_position: int = 0  # of a token with a value: 1 if the previous token is needed

    def columns(self, names: Iterable[str]) -> dict[str, str]:
        """Return the column of each layer in a file of this outcome."""
        suffix = "" if self.folder == "norms" else f".{self.name}"
        return {
            name.removesuffix(suffix): name
            for name in names
            if name.startswith("layer_") and name.endswith(suffix)
        }


OUTCOMES = {
    outcome.name: outcome
    for outcome in (
        Outcome("norm", "log norm", "log norm per log norm", logarithm=True),
        Outcome("relative", "log relative norm", "of log relative norms", logarithm=True),
        Outcome("parallel", "parallel part", "of parallel parts", folder="geometry"),
        Outcome(
            "orthogonal",
            "log orthogonal part",
            "of log orthogonal parts",
            folder="geometry",
            logarithm=True,
        ),
        Outcome("log_growth", "log growth", "of log growths", folder="geometry"),
        Outcome("angle", "angle", "of angles", folder="geometry"),
        Outcome(
            "cosine_previous",
            "cosine with the token before",
            "of cosines",
            folder="geometry",
            first_position=1,
        ),
        Outcome(
            "cosine_previous_centred",
            "centred cosine with the token before",
            "of centred cosines",
            folder="centred",
            first_position=1,
        ),
        Outcome(
            "self",
            "log norm of the own part",
            "log norm per log norm",
            folder="written",
            logarithm=True,
        ),
        Outcome(
            "shared",
            "log norm of the others' part",
            "log norm per log norm",
            folder="written",
            logarithm=True,
        ),
    )
}

# Quantities of the geometry that a pass measures, in the order of its columns.
OF_A_PASS = tuple(name for name, outcome in OUTCOMES.items() if outcome.folder == "geometry")

# Only means and random pairs include the parts as multiples of the stream's norm.
RELATIVE = ("parallel_relative", "orthogonal_relative")

# Only means include the log ratio of the norms of the next block's input and this block's.
STREAM_GROWTH = "stream_log_growth"


def of_logs() -> str:
    """Return the outcomes whose logarithm is regressed, in one line of Markdown."""
    return ", ".join(f"`{outcome.name}`" for outcome in OUTCOMES.values() if outcome.logarithm)
