"""Whether the data determine the coefficients of a layer, and if not, why."""

import numpy as np

from attnlag.regression import reasons
from attnlag.regression.covariates import layers_before
from attnlag.regression.moments.moments import PreparedMoments
from attnlag.regression.reasons import Reason

# A column whose variation relative to its mean is below this varies only by rounding.
MIN_VARIATION = 1e-12

# Log norms whose standard deviation is below this are regarded as equal. So are other outcomes
# below this times their root mean square.
# - bfloat16: the rounding error, where the model or its stored vectors have this precision.
# - Otherwise: what a normalisation without trained weights leaves. All norms after it equal the
#   square root of the width but for its epsilon.
MIN_SPREAD = {"bfloat16": 2**-8, "float16": 2**-10, "float32": 2**-10}

# A design whose scaled cross-products have a larger condition number has lost all precision.
MAX_CONDITION = 1e12

# Share of a term in the direction without variation, above which it is named as collinear.
MIN_COLLINEAR_SHARE = 0.01


def failure_reason(moments: PreparedMoments) -> Reason | None:
    """Return why there are too few rows, or which terms do not vary; None if neither holds."""
    if moments.n_obs == 0 and moments.above < layers_before(moments.names):
        return Reason(reasons.NO_LAYER_BEFORE)
    if moments.n_obs <= moments.k + moments.absorbed:
        facts = {
            "rows": moments.n_obs,
            "coefficients": moments.k,
            "absorbed": moments.absorbed,
        }
        return Reason(reasons.TOO_FEW_ROWS, facts)

    fixed_effects = moments.has_fixed_effects
    constant = _constant_terms(moments)
    if "y" in constant:
        return Reason(reasons.CONSTANT_OUTCOME, {"fixed_effects": fixed_effects})
    equal = _equal_but_for_rounding(moments)
    if equal is not None:
        return equal
    if constant:
        return Reason(reasons.CONSTANT_TERMS, {"terms": constant, "fixed_effects": fixed_effects})
    return None


def collinear(scaled: np.ndarray, names: list[str], *, fixed_effects: bool) -> Reason | None:
    """Return which terms are collinear, if any are.

    Parameters
    ----------
    scaled : (K, K) array
        Cross-products of the terms, each of which is scaled to have the square 1.
    names : list of str
        The terms.
    fixed_effects : bool
        Whether the means of documents are removed.
    """
    eigenvalues, vectors = np.linalg.eigh(scaled)
    if eigenvalues[-1] <= MAX_CONDITION * eigenvalues[0]:
        return None
    involved = np.flatnonzero(np.abs(vectors[:, 0]) > MIN_COLLINEAR_SHARE)
    terms = [names[place] for place in involved]
    return Reason(reasons.COLLINEAR, {"terms": terms, "fixed_effects": fixed_effects})


def _constant_terms(moments: PreparedMoments) -> list[str]:
    """Return the terms that vary by rounding only."""
    smallest = MIN_VARIATION * np.sqrt(moments.n_obs) * np.abs(moments.centre)
    if moments.squares is not None:
        # Removing the means of documents is a difference of sums, which has half the digits.
        smallest = np.maximum(smallest, np.sqrt(MIN_VARIATION) * _root_squares(moments))
    constant = []
    for term, size, bound in zip(moments.terms, moments.size[1:], smallest[1:], strict=True):
        if size <= bound:
            constant.append(term)
    return constant


def _equal_but_for_rounding(moments: PreparedMoments) -> Reason | None:
    """Return that an outcome, of this layer or the one before it, has equal values, if it has.

    The absolute error of a logarithm is the relative error of the number; other outcomes have an
    error relative to their size.
    """
    root_rows = np.sqrt(moments.n_obs)
    bound = MIN_SPREAD[moments.precision]
    min_spread = np.full(moments.p, bound)
    code = reasons.EQUAL_LOGARITHMS
    if not moments.outcome_is_logarithm:
        code = reasons.EQUAL_NUMBERS
        # Relative to the root mean square of each term.
        min_spread = bound * np.hypot(_root_squares(moments) / root_rows, moments.centre)
    spread = moments.size / root_rows
    for place, term in enumerate(moments.terms, start=1):
        is_outcome = term == "y" or layers_before([term]) > 0
        if is_outcome and spread[place] < min_spread[place]:
            facts = {
                "term": term,
                "fixed_effects": moments.has_fixed_effects,
                "bound": bound,
                "precision": moments.precision,
            }
            return Reason(code, facts)
    return None


def _root_squares(moments: PreparedMoments) -> np.ndarray:
    """Return the square root of Σ w² about the means of all rows, (p,)."""
    if moments.squares is None:
        return moments.size
    return np.sqrt(np.maximum(moments.squares, 0))
