"""Terms of a regression by their names: lags, leads and covariates."""

from collections.abc import Sequence


def lags_among(terms: Sequence[str]) -> list[str]:
    """Return the lags among the terms of a regression, nearest first, and then its leads."""
    found = {term for term in terms if term.startswith(("lag_", "lead_"))}
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
