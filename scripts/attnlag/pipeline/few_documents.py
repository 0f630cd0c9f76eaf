"""Notice about a corpus of few documents, given as soon as they are counted."""


def notice(documents: int, covariance: str) -> str | None:
    """Return the notice for a corpus of few documents, or None if there are enough.

    Parameters
    ----------
    documents : int
        Number of documents of the corpus.
    covariance : str
        Kind of standard errors of the regressions.
    """
    # Imported here, so that a change in that module does not rerun the reading of the corpus.
    from attnlag.regression.settings import CLUSTERED, FEWEST_DOCUMENTS

    if covariance not in CLUSTERED or documents >= FEWEST_DOCUMENTS:
        return None
    if documents == 1:
        return (
            "one document: there is nothing to cluster errors by, so they are HAC errors within "
            "sequences (Newey-West); there are no document effects and no half-panel correction"
        )
    return (
        f"{documents} documents: errors clustered by document need {FEWEST_DOCUMENTS}, so the "
        "regressions will be refused; ask for hac errors without the half-panel correction, or "
        "give more documents"
    )
