"""Terms of a regression: their names and the places of their values."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Place(NamedTuple):
    """The place of a term's value, relative to the outcome."""

    # 0 for the outcome's layer, 1 for the layer before it.
    layers_before: int
    # Number of tokens after the outcome; negative before it.
    offset: int


# Separates a term from the class of tokens that it is restricted to: lag_1|NOUN.
OF = "|"

# The dummy of a class: level|NOUN.
LEVEL = "level"


def class_term(term: str, label: str) -> str:
    """Return the name of a term, or of the ``level``, restricted to one class of tokens."""
    return f"{term}{OF}{label}"


def class_of(term: str) -> str:
    """Return the class of tokens that a term is restricted to; ``""`` for a term of all tokens."""
    whole, _, label = term.partition(OF)
    # The name of a group, in its dummy, may hold the separator.
    return label if is_lag_or_lead(whole) or whole == LEVEL else ""


def is_lag_or_lead(term: str) -> bool:
    """Return whether a term is a lag or a lead rather than a covariate."""
    return term.startswith(("lag_", "lead_"))


def lag_places(terms: Sequence[str]) -> list[int]:
    """Return the places of lags and leads among terms."""
    return [place for place, term in enumerate(terms) if is_lag_or_lead(term)]


def lags_among(terms: Iterable[str]) -> list[str]:
    """Return the lags among the terms of a regression, shortest first, followed by the leads."""
    lags = set(filter(is_lag_or_lead, terms))
    return sorted(lags, key=lambda term: (is_lead(term), distance(term)))


def nearest_lag(terms: Iterable[str]) -> str:
    """Return the shortest lag among terms, or else the shortest lead, or else lag 1."""
    return (lags_among(terms) or ["lag_1"])[0]


def is_lead(term: str) -> bool:
    """Return whether a lag or lead is a lead."""
    return term.startswith("lead_")


def distance(term: str) -> int:
    """Return the distance of a lag or lead in tokens."""
    return int(term.rpartition("_")[2])


def named(term: str) -> str:
    """Return a term in words: ``lag 1``."""
    return term.replace("_", " ")
