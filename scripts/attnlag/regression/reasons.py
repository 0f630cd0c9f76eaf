"""Why a layer has no estimates or no errors, as codes with their facts; `labels` words them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# A term needs the layer before, which the design lacks.
NO_LAYER_BEFORE = "no_layer_before"
# Facts: rows, terms, absorbed (means of documents).
TOO_FEW_ROWS = "too_few_rows"
# Facts of this and the next three: fixed_effects (whether document means are removed).
CONSTANT_OUTCOME = "constant_outcome"
# Facts: terms.
CONSTANT_TERMS = "constant_terms"
# Facts: term, bound, outcome_is_logarithm, precision.
EQUAL_BUT_FOR_ROUNDING = "equal_but_for_rounding"
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
