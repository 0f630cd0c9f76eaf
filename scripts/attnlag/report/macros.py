"""The numbers that a paper states of a run, as macros of LaTeX: ``\\WithinLagOneMedian``."""

from collections.abc import Iterator, Sequence

import numpy as np

from attnlag.claims.numbers import number
from attnlag.report.regression_tables import RegressionTables

DIGITS = dict(enumerate("Zero One Two Three Four Five Six Seven Eight Nine".split()))


def numbers(regressions: Sequence[RegressionTables]) -> str:
    """Return a macro for each number, a line each.

    A macro's name begins with those of the model, the corpus and the site, where regressions differ
    in them, and of the regression. Medians are over the layers.
    """
    places = [regression.folder.parts[-4:] for regression in regressions]
    differing = [len(set(names)) > 1 for names in zip(*places, strict=True)]
    differing[-1] = True
    lines = []
    for regression, names in zip(regressions, places, strict=True):
        which = [name for name, differs in zip(names, differing, strict=True) if differs]
        for words, value in _of_regression(regression):
            text = value.replace("−", "$-$")
            lines.append(f"\\newcommand{{\\{macro_name(*which, *words)}}}{{{text}}}")
    return "\n".join(lines) + "\n"


def macro_name(*words: str) -> str:
    """Return the name of a macro, which has letters only: digits are spelt out."""
    spelt = "".join(
        f" {DIGITS[int(sign)]} " if sign in "0123456789" else sign for sign in " ".join(words)
    )
    letters = "".join(sign if sign.isascii() and sign.isalpha() else " " for sign in spelt)
    return "".join(word[0].upper() + word[1:] for word in letters.split())


def _of_regression(regression: RegressionTables) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the words of the name and the text of each number of a regression."""
    fitted = regression.fitted
    yield ("layers",), f"{len(fitted)}"
    if fitted.empty:
        return
    yield ("documents",), f"{int(fitted['n_documents'].max())}"
    yield ("rows",), f"{int(fitted['n_obs'].max()):,}"
    yield ("r squared",), number(fitted["r_squared"].median())
    for term in regression.terms:
        rows = regression.of_term(term)
        claim = regression.size_of(term)
        yield (term, "median"), number(claim.value)
        if np.isfinite(claim.low):
            yield (term, "low"), number(claim.low)
            yield (term, "high"), number(claim.high)
        yield (term, "layers present"), f"{int((rows['equivalence'] == 'present').sum())}"
        yield (term, "layers absent"), f"{int((rows['equivalence'] == 'absent').sum())}"
        if np.isfinite(permuted := regression.in_random_order(term)):
            yield (term, "random order"), number(permuted)
        if before := regression.before(term):
            yield (term, "before training low"), number(before.low)
            yield (term, "before training high"), number(before.high)
            yield (term, "same documents trained"), number(before.trained)
