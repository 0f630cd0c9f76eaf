"""Terms of a regression: their names, and where their values come from."""

from collections.abc import Sequence
from typing import NamedTuple


class Cell(NamedTuple):
    """Where a term of a layer takes its value from, seen from the outcome.

    Attributes
    ----------
    layers_before : int
        0: the outcome's own layer; 1: the layer before it.
    offset : int
        Tokens after the outcome; negative: before it.
    """

    layers_before: int
    offset: int


# What stands between a term and the class of tokens that alone it is of: lag_1|NOUN.
OF = "|"


def of_class(term: str, one: str) -> str:
    """Return the name of a term, or of the ``level``, for one class of tokens alone."""
    return f"{term}{OF}{one}"


def class_of(term: str) -> str:
    """Return the class of tokens that alone a term is of; ``""`` for a term of all tokens."""
    return term.partition(OF)[2]


def is_lag(term: str) -> bool:
    """Return whether a term is a lag or a lead, and not a covariate."""
    return term.startswith(("lag_", "lead_"))


def lags_among(terms: Sequence[str]) -> list[str]:
    """Return the lags among the terms of a regression, nearest first, and then its leads."""
    found = {term for term in terms if is_lag(term)}
    return sorted(found, key=lambda term: (is_lead(term), distance(term)))


def is_lead(term: str) -> bool:
    """Return whether a lag or lead is a lead."""
    return term.startswith("lead_")


def distance(term: str) -> int:
    """Return how many tokens away a lag or lead is."""
    return int(term.rpartition("_")[2])


def named(term: str) -> str:
    """Return a term as a reader says it: ``lag 1``."""
    return term.replace("_", " ")
