"""Why a layer has no estimates or no errors: codes with facts; `labels.STATUSES` has the words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# A term needs the layer before, which the design lacks.
NO_LAYER_BEFORE = "no_layer_before"
# Facts: rows, coefficients, absorbed (means of documents): their numbers.
TOO_FEW_ROWS = "too_few_rows"
# Facts of this and the next four: fixed_effects (whether document means are removed).
CONSTANT_OUTCOME = "constant_outcome"
# Facts: terms.
CONSTANT_TERMS = "constant_terms"
# Facts of both: term, bound, precision. Equal but for rounding are logarithms, or other numbers.
EQUAL_LOGARITHMS = "equal_logarithms"
EQUAL_NUMBERS = "equal_numbers"
# Facts: terms.
COLLINEAR = "collinear"
# Facts: terms, the lags and leads.
UNIDENTIFIED_HALF = "unidentified_half"
# Facts: clusters, unit.
TOO_FEW_CLUSTERS = "too_few_clusters"
# Facts: cluster.
COLLINEAR_WITHOUT_CLUSTER = "collinear_without_cluster"


@dataclass(frozen=True)
class Reason:
    """One of these codes, with its facts by name."""

    code: str
    facts: Mapping[str, Any] = field(default_factory=dict)
