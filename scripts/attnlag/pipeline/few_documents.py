"""Notice about a corpus of few documents, given as soon as they are counted."""

from attnlag.errors import counted


def notice(documents: int, covariance: str) -> str | None:
    """Return the notice for a corpus of few documents, or None if there are enough."""
    # Imported here, so that a change in that module does not rerun the reading of the corpus.
    from attnlag.regression.limits import CLUSTERED, FEWEST_DOCUMENTS

    if covariance not in CLUSTERED or documents >= FEWEST_DOCUMENTS:
        return None
    lost = "document effects and " if documents == 1 else ""
    return (
        f"{counted(documents, 'document')}: too few to cluster errors by ({FEWEST_DOCUMENTS} are "
        f"needed), so they are HAC errors within sequences (Newey-West), without {lost}the "
        "half-panel correction; intervals say nothing about other texts"
    )
