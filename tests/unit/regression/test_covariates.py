"""The catalogue of covariates, and what is derived from an entry."""

import pytest
from designs import design_settings

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
    assert covariates.is_term(name) == bool(covariate)
    matching = [other for other in CATALOGUE if covariates.is_term(name, other)]
    assert matching == [covariate] * bool(covariate)


def test_an_unknown_covariate_is_an_error():
    with pytest.raises(ValueError, match="unknown covariates: \\['no_such'\\]"):
        covariates.shared_terms(design_settings(covariates=("no_such",)), {})
