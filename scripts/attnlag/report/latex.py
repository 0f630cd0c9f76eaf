"""What a paper needs in LaTeX: numbers as macros, and coefficients as a table."""

import re
from collections.abc import Iterator
from itertools import compress
from math import isfinite

import numpy as np
import pandas as pd

from attnlag.claims.numbers import number
from attnlag.claims.results import RegressionResults
from attnlag.claims.row import Row
from attnlag.claims.run import Claims, RunClaims
from attnlag.regression.labels import R_SQUARED, correction
from attnlag.regression.terms import named

# What LaTeX takes for commands, and characters that it lacks.
ESCAPES = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"±": r"$\pm$", "²": "$^2$", "−": "$-$"},
}

DIGITS = "Zero One Two Three Four Five Six Seven Eight Nine".split()


def numbers(run: RunClaims) -> str:
    """Return a macro for each number of each regression, a line each.

    Its name begins with those of the model, the corpus and the site, where regressions differ in
    them, and of the regression.
    """
    places = []
    for place, claims in run.analyses.items():
        if claims.one("fitted"):
            places.append(place)
    differing = [len(set(names)) > 1 for names in zip(*places, strict=True)]
    differing[-1] = True
    lines = []
    for place in places:
        which = list(compress(place, differing))
        for words, value in _numbers_of_regression(run.of(*place)):
            text = value.replace("−", "$-$")
            lines.append(f"\\newcommand{{\\{macro_name(*which, *words)}}}{{{text}}}")
    return "\n".join(lines) + "\n"


def macro_name(*words: str) -> str:
    """Return the name of a macro, which has letters only: digits are spelt out."""
    spelt = re.sub("[0-9]", lambda digit: f" {DIGITS[int(digit[0])]} ", " ".join(words))
    return "".join(word[0].upper() + word[1:] for word in re.findall("[A-Za-z]+", spelt))


def _numbers_of_regression(claims: Claims) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the words of the name and the text of each number of a regression."""
    for fitted in claims.all("fitted"):
        yield ("layers",), f"{fitted.above}"
        if fitted.above:
            yield ("documents",), f"{fitted.texts}"
            yield ("rows",), f"{fitted.value:,.0f}"
    for r_squared in claims.all("r_squared"):
        yield ("r squared",), number(r_squared.value)
    for lag in claims.all("lag"):
        yield from _numbers_of_lag(claims, lag)


def _numbers_of_lag(claims: Claims, lag: Row) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the numbers of a lag or lead and of its controls."""
    term = lag.subject
    yield (term, "median"), number(lag.value)
    if isfinite(lag.low):
        yield (term, "low"), number(lag.low)
        yield (term, "high"), number(lag.high)
    yield (term, "layers above"), f"{lag.above}"
    yield (term, "layers below"), f"{lag.below}"
    yield (term, "layers present"), f"{lag.above + lag.below}"
    yield (term, "layers absent"), f"{lag.within}"
    permuted = claims.one("random_order", term)
    if permuted:
        yield (term, "random order"), number(permuted.value)
    before = claims.one("untrained_extremes", term)
    if before:
        yield (term, "before training low"), number(before.baseline_low)
        yield (term, "before training high"), number(before.baseline_high)
    trained = claims.one("trained", term)
    if trained:
        yield (term, "same documents trained"), number(trained.value)


def in_latex(text: str) -> str:
    """Return Markdown as LaTeX: code, and characters that LaTeX interprets."""
    return "".join(map(_piece_in_latex, re.split("(`[^`]*`)", text)))


def _piece_in_latex(piece: str) -> str:
    plain = "".join(ESCAPES.get(sign, sign) for sign in piece.strip("`"))
    # LaTeX may break a long name after a slash, a dot, a hyphen or an underscore.
    breakable = re.sub(r"([/.-]|\\_)", r"\1\\allowbreak{}", plain)
    return rf"\texttt{{{breakable}}}" if piece.startswith("`") else plain


def coefficients(regression: RegressionResults) -> str:
    """Return the lags by layer, and R², as a table of LaTeX (booktabs)."""
    fits = regression.fits.set_index("layer")
    settings = regression.settings
    names = regression.folder.parts[-4:]
    level = rf"{100 * regression.coefficients['level'].iloc[0]:g}\% interval"
    columns: dict[tuple[str, str], pd.Series] = {}
    for term in regression.terms:
        rows = regression.estimated(term).set_index("layer").reindex(fits.index)
        cells = rows.select_dtypes("float").map(digits)
        head = named(term).capitalize()
        columns[head, "Estimate (SE)"] = cells["estimate"] + " (" + cells["std_error"] + ")"
        columns[head, level] = "[" + cells["conf_low"] + ", " + cells["conf_high"] + "]"
        small = rows["p_adjusted"] < 0.001
        columns[head, "$p$"] = cells["p_adjusted"].mask(small, "$<$0.001")
    columns["", "$R^2$"] = fits["r_squared"].map(digits)
    name = ", ".join(f"`{name}`" for name in names)
    caption = in_latex(
        f"Coefficients by layer: {name}. Standard errors in parentheses; intervals of one "
        f"coefficient alone; p-values: {correction(settings['adjust'])}; "
        f"{R_SQUARED[settings['fixed_effects']]}."
    )
    table = pd.DataFrame(columns).rename_axis(index=None)
    text = table.style.to_latex(
        column_format=f"r{'rcr' * len(regression.terms)}r",
        hrules=True,
        multicol_align="c",
        position_float="centering",
        caption=caption,
        label=f"tab:{':'.join(names)}",
    )
    small_letters = "\\centering\n\\scriptsize\n\\setlength{\\tabcolsep}{2.4pt}"
    return text.replace("\\centering", small_letters, 1)


def digits(value: float) -> str:
    """Return a number with three decimals, for LaTeX; dashes for a missing one."""
    if not np.isfinite(value):
        return "---"
    return f"{round(value, 3) + 0.0:.3f}".replace("-", "$-$")
