"""Findings of interventions in words."""

from collections.abc import Sequence

from attnlag.errors import counted
from attnlag.regression.elasticities import Share


def causal_findings(found: Sequence[Share], *, name: str, alpha: float) -> str:
    """Return the share of the association of neighbouring tokens that is transmitted, in words.

    Parameters
    ----------
    found : sequence of Share
        One for each pair of sites.
    name : str
        Names of the model and the corpus.
    alpha : float
        Intervals cover 1 - ``alpha``.
    """
    lines = [f"{name}, interventions:"]
    lines += [f"  {_sentence(share, alpha)}" for share in found]
    if not found:
        lines.append("  no document has a token with a previous one")
    return "\n".join(lines) + "\n"


def _sentence(found: Share, alpha: float) -> str:
    """Return the sentence for one pair of sites."""
    level = f"{100 * (1 - alpha):g}% interval"
    sites = found.target_site
    if found.source_site != found.target_site:
        sites = f"{found.source_site} to {found.target_site}"
    layers = ", ".join(map(str, found.layers)) if len(found.layers) <= 5 else "all target layers"
    where = f"layer{'' if len(found.layers) == 1 else 's'} {layers}".replace("layers all", "all")
    spread = "mean"
    if len(found.layers) > 1:
        spread = f"mean of {_rounded(found.smallest, 3)}% to {_rounded(found.largest, 3)}%"
    one_percent = (
        f"{sites}: if the adjustments of a token grow by 1% in all preceding layers, that of the "
        f"next token changes by {_rounded(found.effect, 3)}% ({spread} in {where})"
    )
    if found.effect_error != found.effect_error:
        return f"{one_percent}; no interval with {counted(found.documents, 'document')}"
    if found.coefficient != found.coefficient:
        return f"{one_percent}; standard error {found.effect_error:.3f}"
    return (
        f"{one_percent}, whereas lag 1 is {found.coefficient:.2f} in the regression "
        f"{found.regression}: {_rounded(100 * found.share)}% of the association is transmitted "
        f"({level} "
        f"{_rounded(100 * found.low)}% to {_rounded(100 * found.high)}%, "
        f"{counted(found.documents, 'document')})"
    )


def _rounded(value: float, digits: int = 0) -> str:
    """Return a number with the given decimals; a number that rounds to zero has no sign."""
    return f"{round(value, digits) + 0.0:.{digits}f}"
