"""The catalogue of covariates, and what is derived from an entry."""

import re

import pytest

from attnlag.regression.design import covariates
from attnlag.regression.design.covariates import CATALOGUE


@pytest.mark.parametrize(
    ("name", "covariate"),
    [
        ("position_12", "position"),
        ("log_frequency", "log_frequency"),
        ("group_a b", "group"),
        ("previous_layer_lag_1", "previous_layer"),
        *((name, None) for name in ("lag_1", "position_", "position_x", "group_", "y")),
        ("log_frequencyx", None),
    ],
)
def test_a_term_belongs_to_one_covariate_by_its_name_or_to_none(name, covariate):
    assert bool(re.fullmatch(covariates.term_pattern(), name)) == bool(covariate)
    matching = [
        other for other in CATALOGUE if re.fullmatch(covariates.term_pattern([other]), name)
    ]
    assert matching == [covariate] * bool(covariate)
